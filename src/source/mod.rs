//! Where the files of a workspace come from: git, or an upload.
//!
//! Owns which addresses are allowed, the script that fetches one inside a jail, how an archive is looked
//! through and unpacked, how one is made of what was fetched, and where links lead. Starts no process and
//! opens no connection by itself.
//!
//! Invariants: nothing of a source is ever executed or followed while it is fetched (no hooks, no
//! filters, no configuration of its own, no links out of its tree); a credential is never part of an
//! address, an argument, an error or a workspace.

pub mod archive;
pub mod git;
pub mod links;
pub mod upload;
