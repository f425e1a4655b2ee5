//! The keyring in use: one place that everybody looks into, so that a rotation can replace it.

use std::sync::{Arc, PoisonError, RwLock};

use super::Keyring;

/// The keyring in use. Cheap to clone; all clones see a replacement.
#[derive(Clone, Debug)]
pub struct Keys(Arc<RwLock<Arc<Keyring>>>);

impl Keys {
    pub fn new(keyring: Keyring) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(keyring))))
    }

    /// The present keyring. Whoever opens what lies in a snapshot asks for it while they hold that
    /// snapshot: then it opens everything in there.
    pub fn get(&self) -> Arc<Keyring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on everybody gets this one.
    pub fn replace(&self, keyring: Keyring) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
    }
}
