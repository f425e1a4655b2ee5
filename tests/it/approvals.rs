//! Reviews and the policies that count them: people who approve, reject, and try to get around it.

mod plans;
mod policies;
mod reviews;
mod rig;
