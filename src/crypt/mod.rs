//! Keys and secrets.
//!
//! Owns: the master key and its file ([`MasterKey`]), what is derived from it ([`Key`], [`Purpose`]),
//! encryption of small records ([`Keyring`], [`Keys`], [`Sealed`]), of results under a key that somebody
//! else holds ([`seal_under`], [`write_file_under`]), of long streams in chunks ([`ChunkCipher`]),
//! digests ([`Hasher`]), redaction ([`redact`]), signatures of run tasks ([`signature()`]) and random
//! tokens.
//!
//! Must not know: records, tables, requests, workspaces. Callers name a record by an
//! [`AssociatedData`] and keep the bytes.
//!
//! Invariants
//! - Every primitive comes from aws-lc-rs: AES-256-GCM, HKDF-SHA256, HMAC-SHA256, HMAC-SHA512, SHA-256, the
//!   operating system's randomness.
//! - No key encrypts records of two owners: each record has a key of its own, derived from the
//!   master key for its purpose, owner and field; random nonces therefore never run short.
//! - Nothing that holds a key or a plaintext shows it in `Debug`, and all of it is overwritten
//!   when dropped.
//! - What does not verify is not returned, not even in part.

mod blob;
mod chunk;
mod file;
mod hash;
mod key;
mod keyring;
mod keys;
mod master;
mod rotation;
mod secret;
mod signature;
mod token;
mod under;

pub use blob::{AssociatedData, NotSealed, Sealed};
pub use chunk::{ChunkCipher, Position, TAG_BYTES};
pub use file::{FileUnderError, read_file_under, write_file_under};
pub use hash::{Hasher, LongTagger, Tagger, digest, redact, same};
pub use key::{Key, Purpose, WrongKeyLength};
pub use keyring::{Keyring, OpenError};
pub use keys::Keys;
pub use master::{MasterKey, MasterKeyError, MasterKeyId};
pub use rotation::{begin_rotation, finish_rotation, load_keyring};
pub use secret::Secret;
pub use signature::{is_signed, signature, webhook_signatures};
pub use token::{random_bytes, random_token};
pub use under::{Unauthentic, open_under, seal_under};
