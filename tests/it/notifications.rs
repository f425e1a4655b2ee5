//! Who is told of changes of state: webhooks, notification policies, messages to people.

mod crash;
mod inbox;
mod policies;
pub mod rig;
mod webhooks;
