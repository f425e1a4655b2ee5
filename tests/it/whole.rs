//! The whole life of runs, from a trigger to the end: actions, dispatch, runner, jail. `crash` adds a
//! real server process and its API.

mod contexts;
mod crash;
mod declared;
mod declared_guests;
mod faults;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../jail/guests/fetch.rs"]
mod fetch;
mod filing;
pub mod gate;
mod guest_api;
mod guests;
mod images;
mod jail;
mod logs;
mod masks;
mod mounts;
mod pins;
mod python;
pub mod rig;
mod rotation;
mod runs;
mod sealing;
mod serial;
pub mod server;
pub mod terraform;
mod transitions;
