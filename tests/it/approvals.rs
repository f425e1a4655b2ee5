//! Reviews and the policies that count them: people who approve, reject, and try to get around it.

mod authors;
pub mod crash;
mod hostile;
mod plans;
mod policies;
mod reviews;
pub mod rig;
