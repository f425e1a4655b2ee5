//! An encrypted record: bytes for a row of the store, and what they are bound to.
//!
//! Version 1: `version (1) | master key id (4) | nonce (12) | ciphertext | tag (16)`. Version, key
//! id, kind, owner and field are associated data, each behind its length. The key is derived from
//! the master key for this kind, owner and field.

use std::fmt;

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Key, MasterKey, MasterKeyId, Purpose, Secret, TAG_BYTES, Unauthentic, key::framed, random_bytes};

const VERSION: u8 = 1;
const NONCE_AT: usize = 1 + MasterKeyId::BYTES;
const TEXT_AT: usize = NONCE_AT + NONCE_LEN;

/// Which record a ciphertext belongs to. It opens as nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssociatedData<'a> {
    pub kind: Purpose,
    /// The row that it belongs to, by its id.
    pub owner: &'a str,
    /// Which of the owner's values: a variable's name, a column.
    pub field: &'a str,
}

/// An encrypted record. Safe to store and to show.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

/// Bytes that are no encrypted record of a version that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    #[error("an encrypted record has at least {least} bytes, this has {bytes}", least = TEXT_AT + TAG_BYTES)]
    Short { bytes: usize },
    #[error("an encrypted record of version {version}; this release reads version {VERSION}")]
    Version { version: u8 },
}

impl Sealed {
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, NotSealed> {
        match bytes.first() {
            Some(&version) if version != VERSION => Err(NotSealed::Version { version }),
            _ if bytes.len() < TEXT_AT + TAG_BYTES => Err(NotSealed::Short { bytes: bytes.len() }),
            _ => Ok(Self(bytes)),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The master key that it was encrypted with.
    pub fn key_id(&self) -> MasterKeyId {
        MasterKeyId::from_bytes(self.0[1..NONCE_AT].try_into().expect("a record's length was checked"))
    }

    pub(super) fn seal(master: &MasterKey, data: AssociatedData<'_>, plaintext: &[u8]) -> Self {
        Self::seal_with_nonce(master, data, plaintext, random_bytes())
    }

    pub(super) fn open(&self, master: &MasterKey, data: AssociatedData<'_>) -> Result<Secret<Vec<u8>>, Unauthentic> {
        let nonce = Nonce::try_assume_unique_for_key(&self.0[NONCE_AT..TEXT_AT]).map_err(|_| Unauthentic)?;
        let (ciphertext, tag) = self.0[TEXT_AT..].split_at(self.0.len() - TEXT_AT - TAG_BYTES);
        let mut plaintext = vec![0; ciphertext.len()];
        record_key(master, data)
            .cipher()
            .open_separate_gather(nonce, Aad::from(bound(self.key_id(), data)), ciphertext, tag, &mut plaintext)
            .map_err(|_| Unauthentic)?;
        Ok(Secret::new(plaintext))
    }

    fn seal_with_nonce(master: &MasterKey, data: AssociatedData<'_>, plaintext: &[u8], nonce: [u8; NONCE_LEN]) -> Self {
        let id = master.id();
        let mut bytes = Vec::with_capacity(TEXT_AT + plaintext.len() + TAG_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plaintext);
        let tag = record_key(master, data)
            .cipher()
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound(id, data)),
                &mut bytes[TEXT_AT..],
            )
            .expect("AES-GCM takes 64 GiB at once");
        bytes.extend_from_slice(tag.as_ref());
        Self(bytes)
    }
}

fn record_key(master: &MasterKey, data: AssociatedData<'_>) -> Key {
    master.derive(data.kind, &framed(&[b"record", data.owner.as_bytes(), data.field.as_bytes()]))
}

fn bound(id: MasterKeyId, data: AssociatedData<'_>) -> Vec<u8> {
    let kind = data.kind.to_string();
    framed(&[
        b"airlock record",
        &[VERSION],
        id.as_bytes(),
        kind.as_bytes(),
        data.owner.as_bytes(),
        data.field.as_bytes(),
    ])
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}, {} bytes)", self.key_id(), self.0.len())
    }
}

impl fmt::Display for AssociatedData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` of {}", self.kind, self.field, self.owner)
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserializer.deserialize_byte_buf(Bytes)?;
        Self::from_bytes(bytes).map_err(de::Error::custom)
    }
}

/// Takes bytes as bytes, or as a list of numbers where a format has no bytes.
struct Bytes;

impl<'de> de::Visitor<'de> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an encrypted record")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: AssociatedData<'_> = AssociatedData { kind: Purpose::Variable, owner: "stack_1", field: "TOKEN" };

    fn master() -> MasterKey {
        MasterKey::from_key(Key::new([7; 32]))
    }

    #[test]
    fn a_record_opens_only_as_itself() {
        let sealed = Sealed::seal(&master(), DATA, b"hunter2");
        assert_eq!(sealed.open(&master(), DATA).unwrap().expose(), b"hunter2");
        for other in [
            AssociatedData { kind: Purpose::File, ..DATA },
            AssociatedData { owner: "stack_2", ..DATA },
            AssociatedData { field: "TOKEN2", ..DATA },
            AssociatedData { owner: "stack_1T", field: "OKEN", ..DATA },
        ] {
            assert_eq!(sealed.open(&master(), other), Err(Unauthentic), "{other}");
        }
    }

    #[test]
    fn every_byte_of_a_record_counts() {
        let sealed = Sealed::seal(&master(), DATA, b"hunter2");
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 0x80;
            let opened = Sealed::from_bytes(bytes).ok().and_then(|sealed| sealed.open(&master(), DATA).ok());
            assert_eq!(opened, None, "byte {at}");
        }
        assert_eq!(Sealed::from_bytes(vec![1; 32]), Err(NotSealed::Short { bytes: 32 }));
        assert_eq!(Sealed::from_bytes(vec![2; 99]), Err(NotSealed::Version { version: 2 }));
    }

    #[test]
    fn a_record_travels_through_compact_and_readable_formats() {
        let sealed = Sealed::seal(&master(), DATA, b"hunter2");
        let compact = rmp_serde::to_vec(&sealed).unwrap();
        assert_eq!(compact.len(), sealed.as_bytes().len() + 2);
        assert_eq!(rmp_serde::from_slice::<Sealed>(&compact).unwrap(), sealed);
        let readable = serde_json::to_string(&sealed).unwrap();
        assert_eq!(serde_json::from_str::<Sealed>(&readable).unwrap(), sealed);
    }

    #[test]
    fn version_1_keeps_its_bytes() {
        let sealed = Sealed::seal_with_nonce(&master(), DATA, b"hunter2", [9; 12]);
        assert_eq!(
            hex::encode(sealed.as_bytes()),
            "01f061dc4909090909090909090909090967cf60f244c7b4c3b85844f0ade656d8974b1718a45a63"
        );
    }
}
