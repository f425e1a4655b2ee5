//! What the server says to others by itself: calls with bounds, tried again, each step written down.
//!
//! | file | what |
//! | --- | --- |
//! | [`answers`] | to those who called a declared task as their run task |
//!
//! Must not know the store or the machine: what is due comes from an action, and what came back goes
//! into one.

mod answers;

use std::sync::Arc;

use crate::{
    domain::network::{AllowList, Portless},
    egress::{Client, SystemResolver, Trust},
};

pub use answers::answer;

/// Whom the server calls, and as whom it does; `allow` is what the operator lists beyond the usual.
///
/// Without certificate authorities on this host only `http` can be spoken, and whatever needs `https`
/// says so.
pub fn client(allow: &[String]) -> Result<Client, String> {
    let allow = AllowList::parse(allow, Portless::Any).map_err(|error| format!("outbound_allow: {error}"))?;
    let trust = Trust::of_host().map_err(|error| error.to_string())?;
    let name = concat!("Airlock/", env!("CARGO_PKG_VERSION"));
    Client::new(allow, Arc::new(SystemResolver), trust, name).map_err(|error| error.to_string())
}
