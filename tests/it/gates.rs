//! Run tasks from a trigger to the end: a real server, real runners, and a service that speaks the
//! public protocol over HTTP.

mod again;
mod answers;
mod crash;
mod guests;
mod hooks;
mod hostile;
mod rig;
mod service;
mod shown;
mod sources;
mod stages;
mod time;
