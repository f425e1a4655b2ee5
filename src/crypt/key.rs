//! 32 bytes that encrypt, and how more of them are derived.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    hkdf,
};

use super::{Secret, random_bytes};

/// Bytes of every key.
pub(super) const KEY_BYTES: usize = 32;

/// A 256-bit key.
#[derive(Clone)]
pub struct Key(Secret<[u8; KEY_BYTES]>);

/// Bytes that cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has {KEY_BYTES} bytes, this has {0}")]
pub struct WrongKeyLength(pub usize);

/// What a derived key is for. Two purposes never share a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A sensitive variable of a stack or a context.
    Variable,
    /// A mounted file.
    File,
    /// A credential for a source.
    Credential,
    /// A token to another system: commit statuses, notifications.
    Token,
    /// A key that signs or checks messages: webhooks, run tasks.
    SigningKey,
    /// A version of managed state.
    State,
    /// Plan JSON, sensitive outputs, carried variables: what a run left that is not for all eyes.
    RunResult,
    /// Masks that a run added.
    Masks,
    /// A wrapped key: of a run's sealed workspace, of a chain.
    DataKey,
    /// The key of [`super::redact`], by stack.
    Redaction,
    /// The key that authenticates compiled guests.
    CompiledGuest,
    /// The private key of a certificate that Airlock made itself.
    TlsKey,
    /// What people scan to sign in with a second factor.
    SecondFactor,
}

impl Purpose {
    /// The word that goes into derivations. It must never change.
    const fn label(self) -> &'static str {
        match self {
            Self::Variable => "variable",
            Self::File => "file",
            Self::Credential => "credential",
            Self::Token => "token",
            Self::SigningKey => "signing-key",
            Self::State => "state",
            Self::RunResult => "run-result",
            Self::Masks => "masks",
            Self::DataKey => "data-key",
            Self::Redaction => "redaction",
            Self::CompiledGuest => "compiled-guest",
            Self::TlsKey => "tls-key",
            Self::SecondFactor => "second-factor",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Key {
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Secret::new(bytes))
    }

    /// A new random key.
    pub fn random() -> Self {
        Self::new(random_bytes())
    }

    pub fn from_slice(bytes: &[u8]) -> Result<Self, WrongKeyLength> {
        bytes.try_into().map(Self::new).map_err(|_| WrongKeyLength(bytes.len()))
    }

    /// The bytes, for a pipe or a wrapping.
    pub const fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose()
    }

    /// The bytes in the form in which specs carry keys.
    pub fn to_secret(&self) -> Secret<Vec<u8>> {
        Secret::new(self.expose().to_vec())
    }

    /// HKDF-SHA256 (RFC 5869) of this key: a key for one purpose and one context.
    #[must_use]
    pub fn derive(&self, purpose: Purpose, context: &[u8]) -> Self {
        self.expand(b"airlock derive v1", &[purpose.label().as_bytes(), context])
    }

    /// HKDF-SHA256 with a salt and framed parts as info.
    #[must_use]
    pub fn expand(&self, salt: &[u8], parts: &[&[u8]]) -> Self {
        let info = framed(parts);
        let mut bytes = [0; KEY_BYTES];
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
            .extract(self.expose())
            .expand(&[&info], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut bytes))
            .expect("32 bytes are one block of HKDF-SHA256");
        Self::new(bytes)
    }

    pub(super) fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.expose()).expect("a key of AES-256-GCM has 32 bytes"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Parts, each behind its length (u64, big endian): no two lists give the same bytes.
pub(super) fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_contexts_never_share_a_key() {
        let key = Key::new([7; 32]);
        let variable = key.derive(Purpose::Variable, b"a");
        assert_eq!(variable.expose(), key.derive(Purpose::Variable, b"a").expose());
        assert_ne!(variable.expose(), key.derive(Purpose::Variable, b"b").expose());
        assert_ne!(variable.expose(), key.derive(Purpose::File, b"a").expose());
        assert_ne!(variable.expose(), Key::new([8; 32]).derive(Purpose::Variable, b"a").expose());
        assert_ne!(framed(&[b"ab", b"c"]), framed(&[b"a", b"bc"]));
    }

    #[test]
    fn a_derived_key_is_the_same_in_every_release() {
        let derived = Key::new([7; 32]).derive(Purpose::Variable, b"stack_1");
        assert_eq!(hex::encode(derived.expose()), "afb331960d3e7531d33b5be0b4f0622540b435049833cfc55a4546f9cb0f01dc");
    }

    #[test]
    fn a_key_has_32_bytes_and_is_not_shown() {
        assert_eq!(Key::from_slice(&[1; 31]).unwrap_err().to_string(), "a key has 32 bytes, this has 31");
        assert_eq!(format!("{:?}", Key::new([0x41; 32])), "Key(…)");
    }
}
