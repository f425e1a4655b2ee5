//! Run tasks from a trigger to the end: a real server, real runners, and a service that speaks the
//! public protocol over HTTP.

mod answers;
mod crash;
mod guests;
mod rig;
mod service;
mod stages;
mod time;
