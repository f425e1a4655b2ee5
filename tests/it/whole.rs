//! The whole life of runs, from a trigger to the end: actions, dispatch, runner, jail. `crash` adds a
//! real server process and its API.

mod crash;
mod declared;
mod faults;
mod filing;
mod gate;
mod guest_api;
mod guests;
mod images;
mod jail;
mod logs;
mod masks;
mod rig;
mod rotation;
mod runs;
mod sealing;
mod serial;
pub mod server;
mod terraform;
mod transitions;
