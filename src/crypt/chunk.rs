//! A long stream encrypted in chunks: the STREAM construction (Hoang, Reyhanitabar, Rogaway,
//! Vizár 2015) over AES-256-GCM.
//!
//! Nonce = prefix (7) | chunk number (u32, big endian) | flag (0 more follow, 1 last, 2 the
//! header's own tag). A chunk that was cut off, moved, repeated or taken from another stream does
//! not verify, because its place is part of its nonce; so is being the last one.
//!
//! The key must belong to this one stream.

use std::fmt;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use super::{Key, Unauthentic};

/// Bytes by which a chunk grows.
pub const TAG_BYTES: usize = 16;

/// Encrypts and decrypts the chunks of one stream. Can be shared by threads.
pub struct ChunkCipher {
    key: LessSafeKey,
    prefix: [u8; 7],
    aad: Vec<u8>,
}

/// Where a chunk stands in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Counted from 0.
    pub number: u32,
    pub last: bool,
}

impl ChunkCipher {
    /// `aad` is bound to every chunk: the stream's header.
    pub fn new(key: &Key, prefix: [u8; 7], aad: Vec<u8>) -> Self {
        Self { key: key.cipher(), prefix, aad }
    }

    /// Encrypts a chunk in place; its tag goes behind it.
    pub fn seal(&self, at: Position, chunk: &mut Vec<u8>) {
        self.key
            .seal_in_place_append_tag(self.nonce(at.number, u8::from(at.last)), Aad::from(&self.aad), chunk)
            .expect("a chunk is far below AES-GCM's 64 GiB");
    }

    /// Decrypts a chunk in place and returns it without its tag.
    pub fn open<'a>(&self, at: Position, chunk: &'a mut [u8]) -> Result<&'a mut [u8], Unauthentic> {
        self.key
            .open_in_place(self.nonce(at.number, u8::from(at.last)), Aad::from(&self.aad), chunk)
            .map_err(|_| Unauthentic)
    }

    /// A tag over the associated data alone: whoever makes another one has another key or header.
    pub fn tag(&self) -> [u8; TAG_BYTES] {
        self.key
            .seal_in_place_separate_tag(self.nonce(0, 2), Aad::from(&self.aad), &mut [])
            .expect("nothing is far below AES-GCM's 64 GiB")
            .as_ref()
            .try_into()
            .expect("the tag of AES-GCM has 16 bytes")
    }

    fn nonce(&self, number: u32, flag: u8) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..7].copy_from_slice(&self.prefix);
        nonce[7..11].copy_from_slice(&number.to_be_bytes());
        nonce[11] = flag;
        Nonce::assume_unique_for_key(nonce)
    }
}

impl fmt::Debug for ChunkCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkCipher(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_opens_only_in_its_place() {
        let cipher = ChunkCipher::new(&Key::new([5; 32]), [1; 7], b"header".to_vec());
        let here = Position { number: 3, last: false };
        let mut sealed = b"chunk".to_vec();
        cipher.seal(here, &mut sealed);
        let open = |cipher: &ChunkCipher, at| cipher.open(at, &mut sealed.clone()).map(|chunk| chunk.to_vec());
        assert_eq!(open(&cipher, here).unwrap(), b"chunk");
        assert_eq!(open(&cipher, Position { number: 2, last: false }), Err(Unauthentic));
        assert_eq!(open(&cipher, Position { number: 3, last: true }), Err(Unauthentic));
        let other_header = ChunkCipher::new(&Key::new([5; 32]), [1; 7], b"Header".to_vec());
        assert_eq!(open(&other_header, here), Err(Unauthentic));
        assert_ne!(other_header.tag(), cipher.tag());
    }

    #[test]
    fn a_chunk_too_short_for_a_tag_is_refused() {
        let cipher = ChunkCipher::new(&Key::new([5; 32]), [1; 7], Vec::new());
        assert_eq!(cipher.open(Position { number: 0, last: true }, &mut [0; 15]), Err(Unauthentic));
    }
}
