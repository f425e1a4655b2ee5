//! Run tasks through their doors: our API, HCP Terraform's, and Airlock as a run task of others.

mod api;
mod calls;
mod each_other;
pub mod outside;
mod pytfe;
