//! The web: axum and askama, and only here.
//!
//! Owns the pages' templates and view models ([`view`]) and the files they need ([`assets`]). Must
//! not know the store, the log's files, the machine or any process: it reads through queries and
//! changes through actions.

pub mod assets;
pub mod view;
