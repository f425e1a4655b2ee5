//! Reviews and the policies that count them: people who approve, reject, and try to get around it.

pub mod crash;
mod plans;
mod policies;
mod reviews;
pub mod rig;
