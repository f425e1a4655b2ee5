//! `PLATFORM_PROJECT_ENTROPY`: random characters of a project that stay the same for ever. Programs
//! salt their hashes with them, so that a rotation of the master key must not change them: the key
//! that they come from is a record of its own.

use crate::{
    crypt::{Key, Keyring, Tagger},
    domain::StackId,
    store::{Error, Rows, record::LastingKey, tables as t},
};

use super::{Actions, missing, vault};

/// The key's name in its table.
const NAME: &str = "entropy";
/// Characters of an entropy, as programs know it.
const CHARS: usize = 56;

impl Actions {
    /// Makes the key where there is none yet.
    pub async fn make_entropy(&self) -> Result<(), Error> {
        if self.store.read()?.get(t::NAME_TO_KEY, NAME)?.is_some() {
            return Ok(());
        }
        let key = Key::random();
        self.system(move |tx, moment| {
            if tx.get(t::NAME_TO_KEY, NAME)?.is_some() {
                return Ok(());
            }
            let sealed = vault::lasting_key(NAME).seal(&moment.keys.get(), key.expose());
            Ok(tx.put(t::NAME_TO_KEY, NAME, &LastingKey { sealed })?)
        })
        .await
    }
}

/// What the tasks of a stack get.
pub(super) fn of(view: &impl Rows, keys: &Keyring, stack: StackId) -> Result<String, Error> {
    let row = view.get(t::NAME_TO_KEY, NAME)?.ok_or_else(|| missing("the key of the projects' entropies"))?;
    let mut tagger = Tagger::new(&vault::lasting_key(NAME).open_key(keys, &row.sealed)?);
    tagger.update(stack.to_string().as_bytes());
    Ok(hex::encode(tagger.tag()).chars().take(CHARS).collect())
}
