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
//! | to begin with | what it owns |
//! | --- | --- |
//! | [`domain`] | the nouns and their rules; pure |
//! | [`machine`] | the life cycle of a run as one function, [`machine::step()`]; pure |
//! | [`protocol`] | what server and runner say to each other, through files of a chain's directory |
//!
//! | the server | what it owns |
//! | --- | --- |
//! | [`store`] | every table, record and transaction |
//! | [`auth`] | who somebody is, and the [`auth::Permit`] that they may do one thing |
//! | [`actions`] | use cases that change something: one verb, one transaction; every state of a run changes in `actions/life.rs` |
//! | [`policy`] | what policies in Rego are asked and answer, and the child that evaluates them |
//! | [`queries`] | use cases that read |
//! | [`dispatch`] | the server's side of runners: start, adopt, listen, chores |
//! | [`scheduler`] | what happens without anybody asking: recovery, slots, expiry |
//! | [`outbound`] | what the server says to others by itself: requests to run tasks, answers to those whose run task it is, deliveries to webhooks |
//! | [`live`] | bells: numbers that say "look again" |
//! | [`http`] | pages, API, events |
//!
//! | the runner | what it owns |
//! | --- | --- |
//! | [`runner`] | the process that carries out a chain: the jail, the WASI engine in it, the log, limits, the state endpoint |
//! | [`vendor`] | terraform, opentofu, custom: the commands of each phase, and what plans say |
//! | [`source`] | git addresses and fetches, uploads |
//! | [`archive`] | tar as strangers write it: entries with bounded names |
//! | [`image`] | archives of other roots: walked, unpacked, shown to jails |
//! | [`workspace`] | the tree that a run works in, open or sealed |
//! | [`mask`] | the streaming masker: no secret reaches a log |
//! | [`log`] | log files: written, followed, paged, compressed |
//! | [`guest`] | what a file of WebAssembly is, and the guests that come with the binary |
//! | [`egress`] | the one way out: lists, resolution, forward proxy, client |
//!
//! | both, and around them | what it owns |
//! | --- | --- |
//! | [`crypt`] | master key, data keys, chunked encryption, [`crypt::Secret`] |
//! | [`manifest`] | `.airlock/config.yaml` and its relatives: declared tasks, runtime configuration |
//! | [`config`] | one immutable configuration from file, environment and flags |
//! | [`app`] | the composition root |
//! | [`cli`] | the command line |
//!
//! To follow one run: `actions/trigger.rs` makes it, `actions/claim` gives it a slot,
//! `dispatch` starts its runner, `runner/chain` carries out the phases, `actions/progress.rs` takes
//! what the runner wrote, [`machine::step()`] says what that means, `actions/decide.rs` waits for a person.
//!
//! Who may use whom is a table in `tests/it/direction.rs`.

pub mod actions;
pub mod app;
pub mod archive;
pub mod auth;
pub mod cli;
pub mod config;
pub mod crypt;
pub mod dispatch;
pub mod domain;
pub mod egress;
pub mod guest;
pub mod http;
pub mod image;
pub mod live;
pub mod log;
pub mod machine;
pub mod manifest;
pub mod mask;
pub mod outbound;
pub mod policy;
pub mod protocol;
pub mod queries;
pub mod runner;
pub mod scheduler;
pub mod source;
pub mod store;
pub mod vendor;
pub mod workspace;
