//! Integration tests: one binary, so that everything is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says by failing")]

mod cli;
mod direction;
mod gallery;
mod runner;
mod whole;
