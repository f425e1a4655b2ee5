//! The command line, as people and scripts meet it: the real binary, its output, its exit codes.

mod client;
mod demo;
mod follow;
mod guest;
mod help;
mod login;
mod offline;
mod rig;
mod server;
