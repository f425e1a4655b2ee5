//! WASI guests: what they may, what ends them, what they leave. Every refusal has a control that
//! shows that the same guest gets through where the cap or the fence is not in the way.

mod caps;
mod code;
mod fetch;
mod files;
mod hosts;
mod life;
mod rig;
mod wat;

pub use rig::ARGUMENT;

pub const TESTS: &[&[crate::Test]] = &[life::TESTS, caps::TESTS, files::TESTS, code::TESTS, hosts::TESTS];
