//! The whole life of runs, from a trigger to the end: actions, dispatch, runner, jail; everything but
//! HTTP.

mod rig;
mod runs;
