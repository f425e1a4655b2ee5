//! What the server says to others by itself: calls with bounds, tried again, each step written down.
//!
//! | file | what |
//! | --- | --- |
//! | [`answers`] | to those who called a declared task as their run task |
//! | [`run_tasks`] | requests to the run tasks of runs that are checked |
//! | [`webhooks`] | deliveries to webhooks |
//!
//! Must not know the store or the machine: what is due comes from an action, and what came back goes
//! into one.

pub mod answers;
pub mod run_tasks;
pub mod webhooks;

use std::sync::Arc;

use crate::{
    domain::network::{AllowList, Portless},
    egress::{Client, Policy, SystemResolver, Trust},
};

/// What others see of who calls them.
const USER_AGENT: &str = concat!("Airlock/", env!("CARGO_PKG_VERSION"));

/// Why nobody can be called.
#[derive(Debug, thiserror::Error)]
pub enum NoWayOut {
    #[error("outbound_allow: {0}")]
    List(#[from] crate::domain::network::HostError),
    #[error("the name of this release cannot be sent: {0}")]
    Name(#[from] hyper::header::InvalidHeaderValue),
}

/// The client for addresses that people with a say here entered, with what the operator allows them.
pub fn client(outbound_allow: &[String]) -> Result<Client, NoWayOut> {
    client_under(Policy::outbound, outbound_allow)
}

/// The client for addresses that came with a call: whoever sends one is not to look around in here.
pub fn client_for_calls(outbound_allow: &[String]) -> Result<Client, NoWayOut> {
    client_under(Policy::foreign, outbound_allow)
}

fn client_under(policy: fn(AllowList) -> Policy, outbound_allow: &[String]) -> Result<Client, NoWayOut> {
    let operator = AllowList::parse(outbound_allow, Portless::Any)?;
    Ok(Client::new(policy(operator), Arc::new(SystemResolver), Trust::of_host(), USER_AGENT)?)
}
