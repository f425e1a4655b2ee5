//! The master key in use, and those that are on their way out.

use super::{AssociatedData, Key, MasterKey, MasterKeyId, Purpose, Sealed, Secret, Unauthentic};

/// Encrypts with the present master key, decrypts with any that it holds.
#[derive(Debug)]
pub struct Keyring {
    present: MasterKey,
    previous: Vec<MasterKey>,
}

/// Why a record was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("{what} is encrypted with the master key {id}, which is not loaded (loaded: {loaded})")]
    UnknownKey { what: String, id: MasterKeyId, loaded: String },
    #[error("{what} {source}")]
    Unauthentic { what: String, source: Unauthentic },
    #[error("{what} is no key")]
    NotAKey { what: String },
}

impl Keyring {
    pub const fn new(present: MasterKey) -> Self {
        Self { present, previous: Vec::new() }
    }

    /// The same keyring that also opens what `previous` encrypted.
    #[must_use]
    pub fn with_previous(mut self, previous: MasterKey) -> Self {
        if previous.id() != self.present.id() {
            self.previous.push(previous);
        }
        self
    }

    /// The same keyring with nothing but its present key.
    #[must_use]
    pub fn without_previous(&self) -> Self {
        Self::new(self.present.clone())
    }

    pub const fn present(&self) -> MasterKeyId {
        self.present.id()
    }

    /// Whether a rotation is under way: records may still need the previous key.
    pub const fn is_rotating(&self) -> bool {
        !self.previous.is_empty()
    }

    pub fn seal(&self, data: AssociatedData<'_>, plaintext: &[u8]) -> Sealed {
        Sealed::seal(&self.present, data, plaintext)
    }

    pub fn open(&self, data: AssociatedData<'_>, sealed: &Sealed) -> Result<Secret<Vec<u8>>, OpenError> {
        let master = self.find(sealed.key_id()).ok_or_else(|| OpenError::UnknownKey {
            what: data.to_string(),
            id: sealed.key_id(),
            loaded: self.loaded(),
        })?;
        sealed.open(master, data).map_err(|source| OpenError::Unauthentic { what: data.to_string(), source })
    }

    /// A new random key together with its wrapping.
    pub fn new_data_key(&self, data: AssociatedData<'_>) -> (Key, Sealed) {
        let key = Key::random();
        let wrapped = self.wrap_key(data, &key);
        (key, wrapped)
    }

    pub fn wrap_key(&self, data: AssociatedData<'_>, key: &Key) -> Sealed {
        self.seal(data, key.expose())
    }

    pub fn unwrap_key(&self, data: AssociatedData<'_>, wrapped: &Sealed) -> Result<Key, OpenError> {
        Key::from_slice(self.open(data, wrapped)?.expose()).map_err(|_| OpenError::NotAKey { what: data.to_string() })
    }

    /// The id of the key that new records are encrypted with.
    pub const fn present_id(&self) -> MasterKeyId {
        self.present.id()
    }

    /// Whether a record is still encrypted with another key than the present one.
    pub fn needs_rewrap(&self, sealed: &Sealed) -> bool {
        sealed.key_id() != self.present.id()
    }

    /// The same record under the present key.
    pub fn rewrap(&self, data: AssociatedData<'_>, sealed: &Sealed) -> Result<Sealed, OpenError> {
        Ok(self.seal(data, self.open(data, sealed)?.expose()))
    }

    /// A key that is not stored because it can be derived. A rotation changes it.
    pub fn derive(&self, purpose: Purpose, context: &[u8]) -> Key {
        self.present.derive(purpose, context)
    }

    fn find(&self, id: MasterKeyId) -> Option<&MasterKey> {
        std::iter::once(&self.present).chain(&self.previous).find(|key| key.id() == id)
    }

    fn loaded(&self) -> String {
        let ids: Vec<_> =
            std::iter::once(&self.present).chain(&self.previous).map(|key| key.id().to_string()).collect();
        ids.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: AssociatedData<'_> = AssociatedData { kind: Purpose::DataKey, owner: "run_1", field: "workspace" };

    fn master(byte: u8) -> MasterKey {
        MasterKey::from_key(Key::new([byte; 32]))
    }

    #[test]
    fn a_wrapped_data_key_comes_back() {
        let keyring = Keyring::new(master(1));
        let (key, wrapped) = keyring.new_data_key(DATA);
        assert_eq!(keyring.unwrap_key(DATA, &wrapped).unwrap().expose(), key.expose());
        let not_a_key = keyring.seal(DATA, b"short");
        assert!(matches!(keyring.unwrap_key(DATA, &not_a_key), Err(OpenError::NotAKey { .. })));
    }

    #[test]
    fn rotating_rewraps_and_then_the_old_key_can_go() {
        let old = Keyring::new(master(1));
        let sealed = old.seal(DATA, b"secret");
        assert!(!old.needs_rewrap(&sealed));

        let both = Keyring::new(master(2)).with_previous(master(1));
        assert!(both.is_rotating() && both.needs_rewrap(&sealed));
        assert_eq!(both.open(DATA, &sealed).unwrap().expose(), b"secret");
        let moved = both.rewrap(DATA, &sealed).unwrap();
        assert!(!both.needs_rewrap(&moved));

        let new = Keyring::new(master(2));
        assert_eq!(new.open(DATA, &moved).unwrap().expose(), b"secret");
        let refused = new.open(DATA, &sealed).unwrap_err();
        assert!(matches!(refused, OpenError::UnknownKey { id, .. } if id == old.present()));
        assert!(refused.to_string().starts_with("data-key `workspace` of run_1 is encrypted with the master key k"));
    }

    #[test]
    fn a_record_of_another_owner_is_refused_by_name() {
        let keyring = Keyring::new(master(1));
        let sealed = keyring.seal(DATA, b"secret");
        let other = AssociatedData { owner: "run_2", ..DATA };
        assert_eq!(
            keyring.open(other, &sealed).unwrap_err().to_string(),
            "data-key `workspace` of run_2 does not verify: it is damaged, belongs to something else, or its key is another one"
        );
    }

    #[test]
    fn a_keyring_shows_ids_only() {
        let shown = format!("{:?}", Keyring::new(master(0x41)));
        assert!(!shown.contains("65, 65") && !shown.contains("AAAA") && !shown.contains("4141"), "{shown}");
    }
}
