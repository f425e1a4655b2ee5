//! The life cycle of a run, pure: [`step()`] takes a run, an event and nothing else, and answers with
//! the run after it and the effects that must happen in the same transaction.
//!
//! Knows no clock, no store, no process. What the present allows is decided here and nowhere else;
//! who may ask for it is [`crate::domain::Role`]'s business, and what else hangs on it (locks, other
//! runs of the stack) is looked up by the actions, which then send the event that fits.
//!
//! Invariants, each held by the walk over all reachable states in the tests:
//! - nothing leaves a terminal state;
//! - a waiting state never has an open workspace: `unconfirmed` is entered only with a sealed one;
//! - a chain is started only when no other chain of the run is alive;
//! - every way out of `unconfirmed` but `confirmed`, `replan_requested` and the checks before applying
//!   destroys the seal;
//! - while outside checks are called no chain is alive and no workspace is open; without any attached
//!   nothing is sealed that otherwise would not be, save for hooks that wait for the end;
//! - a run that got as far as initializing and ends finished, failed or stopped ends after its
//!   `after_run` hooks, and as what they were told. What is applied is finished whatever is said about
//!   it afterwards, so there they run before `post_apply` is called.

mod chain;
mod effect;
mod event;
mod pick;
mod step;

pub use chain::{Chain, Shape};
pub use effect::Effect;
pub use event::{ChainEnd, Event, StageEnd, Workspace};
pub use pick::{Candidate, Pick, pick};
pub use step::{LOST, LOST_UNKNOWN, Lost, NotNow, Run, Stepped, step};

#[cfg(test)]
mod tests;
