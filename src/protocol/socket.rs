//! What is said on `control.sock`.

use serde::{Deserialize, Serialize};

/// What the server asks a runner, one JSON line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Ask the phase to stop; kill it after the grace period.
    Stop,
    /// Kill it now.
    Kill,
}

/// What a runner tells everybody who is connected, one JSON line each: only how far things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bell {
    /// Bytes of `records`.
    pub records: u64,
    /// The present phase's number; 0 before the first.
    pub phase: u32,
    /// Bytes of its log.
    pub log: u64,
}
