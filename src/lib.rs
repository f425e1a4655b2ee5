//! Airlock: stacks whose every change is planned, sealed, confirmed and applied; tasks that nobody
//! needs to trust.
//!
//! # The map, in reading order
//!
//! Three kinds of process, one binary. The **server** speaks HTTP, keeps the store, decides what
//! runs next, and executes nothing. For every uninterrupted chain of phases it starts a **runner**,
//! which owns the sandbox and the log and outlives the server. The runner forks the **jail**, in
//! which the commands run.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`domain`] | the nouns and their rules; pure |
//! | [`config`] | one immutable configuration from file, environment and flags |
//! | [`machine`] | the life cycle of a run; pure |
//! | [`protocol`] | what server and runner say to each other |
//! | [`crypt`] | master key, data keys, chunked encryption, [`crypt::Secret`] |
//! | [`store`] | every table, record and transaction |
//! | [`auth`] | who somebody is, and the [`auth::Permit`] that they may do one thing |
//! | [`actions`] | use cases that change something: one verb, one transaction |
//! | [`guest`] | what a file of WebAssembly is, and the guests that come with the binary |
//! | [`runner`] | the process that carries out a chain: the jail, the log, limits, the state endpoint |
//! | [`egress`] | the one way out: lists, resolution, forward proxy, client |
//! | [`http`] | pages, API, events |
//! | [`app`] | the composition root |
//! | [`cli`] | the command line |
//! | [`live`] | bells: numbers that say "look again" |
//! | [`source`] | git addresses and fetches, uploads |
//! | [`workspace`] | the tree that a run works in, open or sealed |
//! | [`mask`] | the streaming masker: no secret reaches a log |
//! | [`log`] | log files: written, followed, paged, compressed |
//! | [`manifest`] | `.airlock/config.yaml` and its relatives: declared tasks, runtime configuration |
//! | [`dispatch`] | the server's side of runners: start, adopt, listen, chores |
//! | [`scheduler`] | what happens without anybody asking |
//! | [`queries`] | use cases that read |
//! | [`vendor`] | terraform, opentofu, custom: the commands of each phase, and what plans say |
//!
//! Who may use whom is a table in `tests/it/direction.rs`.

pub mod actions;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod crypt;
pub mod dispatch;
pub mod domain;
pub mod egress;
pub mod guest;
pub mod http;
pub mod live;
pub mod log;
pub mod machine;
pub mod manifest;
pub mod mask;
pub mod protocol;
pub mod queries;
pub mod runner;
pub mod scheduler;
pub mod source;
pub mod store;
pub mod vendor;
pub mod workspace;
