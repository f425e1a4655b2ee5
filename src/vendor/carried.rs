//! Variables that a phase hands to later ones through `$AIRLOCK_ENV`.

use std::collections::BTreeMap;

use crate::domain::{EnvName, limits, verdict::bytes};

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The last line of a name wins.
    pub variables: BTreeMap<EnvName, String>,
    /// Lines that were left out, by number and reason, never by what they hold.
    pub warnings: Vec<String>,
}

/// More was written to `$AIRLOCK_ENV` than is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {} were written to $AIRLOCK_ENV", bytes(limits::CARRIED_BYTES as u64))]
pub struct TooMuchCarried;

/// Reads the content of `$AIRLOCK_ENV`: `NAME=value` lines.
pub fn carried(content: &[u8]) -> Result<Carried, TooMuchCarried> {
    let _ = content;
    unimplemented!()
}
