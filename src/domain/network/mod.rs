//! Hosts on a network: how they are written, lists of them, what was reached and what was refused.
//!
//! Owns the one spelling of a host, so that a list and a request cannot mean different things by the
//! same text. Knows no names' addresses: resolving is `egress`'s business.

mod host;
mod list;

use serde::{Deserialize, Serialize};

pub use host::{Destination, Host, HostError};
pub use list::{AllowList, Entry, Network, Portless};

use super::time::Timestamp;

/// One host and port that a run has talked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// As [`Host`] writes it; `others` for all that came after [`super::limits::HOSTS_RECORDED`].
    pub host: String,
    /// 0 for `others`.
    pub port: u16,
    /// HTTP requests and tunnels.
    pub requests: u64,
    /// Bytes from the host, as they came over the network.
    pub bytes_in: u64,
    /// Bytes to it.
    pub bytes_out: u64,
}

/// Something that a run tried and that was refused. The same thing tried again is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    pub what: Denied,
    /// What was tried, shortened, without control characters.
    pub tried: String,
    /// A sentence.
    pub reason: String,
    /// The first time.
    pub at: Timestamp,
    pub count: u64,
}

/// Which fence held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denied {
    /// The host and port are not on the list.
    Host,
    /// They are, but not the address that the name resolves to.
    Address,
    /// The request says two things at once, or asks for what is never done.
    Request,
    /// A bound was hit.
    Limit,
}

#[cfg(test)]
mod tests;
