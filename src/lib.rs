//! Airlock: stacks whose every change is planned, sealed, confirmed and applied; tasks that nobody
//! needs to trust.
//!
//! # The map, in reading order
//!
//! Three kinds of process, one binary. The **server** speaks HTTP, keeps the store, decides what
//! runs next, and executes nothing. For every uninterrupted chain of phases it starts a **runner**
//! ([`runner`]), which owns the sandbox and the log and outlives the server. The runner forks the
//! **jail**, in which the commands run.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`domain`] | the nouns and their rules; pure |
//! | [`crypt`] | master key, data keys, chunked sealing, [`crypt::Secret`] |
//! | [`mask`] | what is secret, and the streaming masker |
//! | [`log`] | the text and the index of each phase: written, read, followed, compressed |
//! | [`protocol`] | what server and runner say to each other |
//! | [`runner`] | one chain: its phases in order, the log, the managed state, the records |
//! | [`runner::native`] | the jail: a root of its own, no privileges, exact limits, no survivors |
//! | [`vendor`] | what terraform, opentofu and custom commands run, and how plans are read |
//! | [`source`] | git addresses and fetching, uploaded archives |
//! | [`workspace`] | the tree that a run works in: made, sealed while the run waits, opened, erased |
//!
//! Who may use whom is a table in `tests/it/direction.rs`.

pub mod crypt;
pub mod domain;
pub mod log;
pub mod mask;
pub mod protocol;
pub mod runner;
pub mod source;
pub mod vendor;
pub mod workspace;
