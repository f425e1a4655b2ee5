//! Digests, and hashes that need a key.

use std::fmt;

use aws_lc_rs::{
    aead::{Aad, LessSafeKey, Nonce},
    constant_time, digest as sha2, hmac,
};

use super::Key;
use crate::domain::Digest;

/// SHA-256 of what comes in pieces.
#[derive(Clone)]
pub struct Hasher(sha2::Context);

impl Hasher {
    pub fn new() -> Self {
        Self(sha2::Context::new(&sha2::SHA256))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    pub fn digest(self) -> Digest {
        Digest::from_bytes(self.finish())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher(…)")
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// HMAC-SHA256 of what comes in pieces.
pub struct Tagger(hmac::Context);

impl Tagger {
    pub fn new(key: &Key) -> Self {
        Self(hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose())))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn tag(self) -> [u8; 32] {
        self.0.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
    }
}

impl fmt::Debug for Tagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tagger(…)")
    }
}

/// A tag over long content, made as fast as memory is read: AES-GCM's own tag over each piece, under
/// a key that is the content's alone, and HMAC-SHA256 over those. Where pieces end is a part of it.
pub struct LongTagger {
    pieces: LessSafeKey,
    number: u64,
    tags: Tagger,
}

impl LongTagger {
    /// `salt` must be another one for whatever else is tagged under the key; `about` is tagged, too.
    pub fn new(key: &Key, salt: &[u8; 16], about: &[&[u8]]) -> Self {
        let mut own = Tagger::new(key);
        own.update(b"airlock long content 1");
        own.update(salt);
        let own = Key::new(own.tag());
        let mut tags = Tagger::new(&own);
        for part in about {
            tags.update(&(part.len() as u64).to_be_bytes());
            tags.update(part);
        }
        Self { pieces: own.cipher(), number: 0, tags }
    }

    /// The next piece, below 4 GiB.
    pub fn update(&mut self, piece: &[u8]) {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.number.to_be_bytes());
        self.number += 1;
        let tag = self
            .pieces
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(piece), &mut [])
            .expect("a piece is far below AES-GCM's bounds");
        self.tags.update(tag.as_ref());
    }

    pub fn tag(self) -> [u8; 32] {
        self.tags.tag()
    }
}

impl fmt::Debug for LongTagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LongTagger(…)")
    }
}

/// SHA-256.
pub fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.digest()
}

/// What stands for a sensitive value: `hmac:` and 8 hexadecimal digits (HMAC-SHA256, cut short).
///
/// Equal values give equal hashes under one key, so that people see *that* a secret changes. Short
/// enough that it does not serve to guess the value by trying, even for somebody with the key.
pub fn redact(key: &Key, value: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), value);
    format!("hmac:{}", hex::encode(&tag.as_ref()[..4]))
}

/// Whether two byte strings are equal, in a time that does not depend on where they differ.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_does_not_depend_on_the_pieces() {
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.digest(), digest(b"abc"));
        // FIPS 180-4, the first example.
        assert_eq!(digest(b"abc").digits(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_redacted_value_shows_only_whether_it_is_the_same() {
        let key = Key::new([1; 32]);
        let shown = redact(&key, b"hunter2");
        assert_eq!(shown.len(), "hmac:1a2b3c4d".len());
        assert_eq!(shown, redact(&key, b"hunter2"));
        assert_ne!(shown, redact(&key, b"hunter3"));
        assert_ne!(shown, redact(&Key::new([2; 32]), b"hunter2"));
    }

    #[test]
    fn comparing_says_what_plain_comparing_says() {
        assert!(same(b"", b"") && same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd") && !same(b"abc", b"ab"));
    }
}
