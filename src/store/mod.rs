//! The store: every table, every record, every transaction. Nothing else names redb.
//!
//! - [`tables`] shows all tables on one screen;
//! - [`Store::read`] gives a snapshot, [`Store::write`] runs an action in the writer's next commit;
//! - records ([`record`]) carry a version byte; the whole file carries a schema number
//!   ([`migrate`]).
//!
//! An **action** is a closure that may run more than once: it reads, may refuse, then writes. The
//! writer drains waiting actions into one durable transaction; a refused action that has written
//! nothing does not disturb its neighbours; anything else that goes wrong aborts the batch, and each
//! member then runs alone. Nothing of the outside world may happen inside an action.
//!
//! Invariants: one writer; every commit is durable and quick to repair; no read transaction lives
//! across an await.

mod fault;
pub mod layers;
pub mod migrate;
mod open;
mod read;
pub mod record;
mod renew;
mod rows;
pub mod tables;
mod write;
mod writer;

pub use fault::{Error, Fault};
pub use open::{Backend, Store};
pub use read::{Find, Snapshot};
pub use rows::{Flow, Order, Rows, View};
pub use write::Tx;

#[cfg(test)]
mod tests;
