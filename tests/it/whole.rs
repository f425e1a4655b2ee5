//! The whole life of runs, from a trigger to the end: actions, dispatch, runner, jail. `crash` adds a
//! real server process and its API.

mod crash;
mod declared;
mod faults;
mod gate;
mod guest_api;
mod guests;
mod jail;
mod logs;
mod masks;
pub mod rig;
mod rotation;
mod runs;
mod sealing;
mod serial;
pub mod server;
mod terraform;
mod transitions;
