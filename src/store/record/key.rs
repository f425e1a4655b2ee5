//! Keys of the installation that no master key's rotation may change.

use serde::{Deserialize, Serialize};

use crate::crypt::Sealed;

/// Made at random once, and from then on only sealed anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastingKey {
    pub sealed: Sealed,
}
