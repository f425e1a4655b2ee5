//! Integration tests: one binary, so that everything is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says by failing")]

mod api_access;
mod api_binary;
mod api_document;
mod api_environment;
mod api_events;
mod api_input;
mod api_log;
mod api_permissions;
mod api_refusals;
mod api_runs;
mod api_source;
mod api_stacks;
mod api_state;
mod approvals;
mod browser;
mod bundled;
mod cli;
mod clients;
mod compat;
mod contexts;
mod direction;
mod fetched;
mod gallery;
mod gates;
mod git;
mod notifications;
mod pages;
mod policies;
mod run_tasks;
mod runner;
mod server;
mod whole;
