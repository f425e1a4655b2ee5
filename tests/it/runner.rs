//! The runner: the real binary, hand-written specifications, no server.

mod flow;
mod limits;
mod managed_state;
mod process;
mod secrets;
mod start;
mod trial;
mod way_out;
