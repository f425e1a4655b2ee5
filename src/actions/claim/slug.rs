//! What a build hook's result is known by, and what it is encrypted under.

use super::{Reading, declared::Told};
use crate::{
    crypt::{Key, Keyring, Purpose, Secret, Tagger},
    domain::{Digest, run::SourceVersion},
    protocol::{SlugPlace, Variable},
};

/// Encrypts what build hooks leave. A rotation of the master key changes it, and builds begin anew.
pub(super) fn key(keys: &Keyring) -> Secret<Vec<u8>> {
    encrypting(keys).to_secret()
}

fn encrypting(keys: &Keyring) -> Key {
    keys.derive(Purpose::DataKey, b"slugs")
}

impl Reading<'_> {
    /// Where the result of the task's build is kept: one for each source, declaration, root and set of
    /// variables. None where it is not known what the source is.
    pub(super) fn slug_of(&self, told: &Told, variables: &[Variable]) -> Option<SlugPlace> {
        let source = match &self.run.source {
            SourceVersion::Git { commit, .. } => commit.as_ref()?.to_string(),
            SourceVersion::Upload { digest } => digest.to_string(),
        };
        let root = serde_json::to_vec(&self.root_of(told).ok()?).ok()?;
        let mut tagger = Tagger::new(&encrypting(&self.keys));
        let mut add = |part: &[u8]| {
            tagger.update(&(part.len() as u64).to_be_bytes());
            tagger.update(part);
        };
        for part in [self.stack.id.to_string().as_bytes(), source.as_bytes(), told.declared.as_bytes(), &root[..]] {
            add(part);
        }
        for variable in variables {
            add(variable.name.as_str().as_bytes());
            add(variable.value.expose().as_bytes());
        }
        Some(SlugPlace {
            dir: self.actions.setup.data.join("cache").join("slugs"),
            of: Digest::from_bytes(tagger.tag()),
        })
    }
}
