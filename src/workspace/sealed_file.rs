//! The bytes of a sealed file, version 1.
//!
//! ```text
//! header  "ALSEALED" | version (u16) | nonce prefix (7)
//!         | run (16) | stack (16)                       the numbers behind the ids
//!         | length (u8), commit in ASCII                 0: none
//!         | length (u8), plan digest (32)                0: none
//!         | tag (16) over all of it
//! chunk   length (u32; its highest bit: the last one) | AES-256-GCM( one zstd frame ) | tag (16)
//! ```
//!
//! The header is the associated data of its tag and of every chunk. A chunk's nonce holds its number
//! and whether it is the last ([`ChunkCipher`]). The key is HKDF-SHA256 of the key in the run's
//! record with the erase secret as salt: without either of them nothing opens.
//!
//! Chunks are compressed one by one, each up to 1 MiB: that costs some 1 % of size at level 1 (whose
//! window is 512 KiB) and lets all cores work, for sealing as for opening.

use std::{
    io::{self, Read},
    path::Path,
};

use super::{Binding, Fault, SealTerms};
use crate::{
    crypt::{ChunkCipher, Key, TAG_BYTES},
    domain::{CommitSha, Digest, RunId, StackId},
};

const MAGIC: &[u8; 8] = b"ALSEALED";
pub(super) const VERSION: u16 = 1;
/// Marks the last chunk in its length.
pub(super) const LAST: u32 = 1 << 31;
pub(super) const ERASE_BYTES: usize = 32;

/// What a file says about itself. Nothing of it is believed before its tag was checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) prefix: [u8; 7],
    pub(super) binding: Binding,
}

/// The cipher of one sealed file.
pub(super) fn cipher(record_key: &Key, erase: &[u8; ERASE_BYTES], header: &Header) -> ChunkCipher {
    let key = record_key.expand(erase, &[b"airlock workspace", &VERSION.to_be_bytes()]);
    ChunkCipher::new(&key, header.prefix, header.to_bytes())
}

impl Header {
    /// Everything but the tag.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.prefix);
        bytes.extend_from_slice(&self.binding.run.number().to_be_bytes());
        bytes.extend_from_slice(&self.binding.stack.number().to_be_bytes());
        push_short(&mut bytes, self.binding.commit.as_ref().map_or(b"", |commit| commit.as_str().as_bytes()));
        let plan = self.binding.plan.as_ref().map(|plan| hex::decode(plan.digits()).expect("a digest is hexadecimal"));
        push_short(&mut bytes, plan.as_deref().unwrap_or_default());
        bytes
    }

    /// Reads a header with its tag; `path` is for faults.
    pub(super) fn read(from: &mut impl Read, path: &Path) -> Result<(Self, [u8; TAG_BYTES]), Fault> {
        let not_sealed = || Fault::NotSealed { path: path.into() };
        let short = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Truncated { path: path.into(), chunks: 0 },
            _ => Fault::io("read", path, error),
        };
        if read_array(from).map_err(short)? != *MAGIC {
            return Err(not_sealed());
        }
        match u16::from_be_bytes(read_array(from).map_err(short)?) {
            VERSION => {}
            version if version > VERSION => return Err(Fault::Newer { path: path.into(), version }),
            _ => return Err(not_sealed()),
        }
        let prefix = read_array(from).map_err(short)?;
        let run = RunId::from_number(u128::from_be_bytes(read_array(from).map_err(short)?));
        let stack = StackId::from_number(u128::from_be_bytes(read_array(from).map_err(short)?));
        let commit = match read_short(from).map_err(short)? {
            text if text.is_empty() => None,
            text => {
                Some(String::from_utf8(text).ok().and_then(|text| CommitSha::new(text).ok()).ok_or_else(not_sealed)?)
            }
        };
        let plan = match read_short(from).map_err(short)? {
            bytes if bytes.is_empty() => None,
            bytes => Some(Digest::from_bytes(bytes.try_into().map_err(|_| not_sealed())?)),
        };
        let tag = read_array(from).map_err(short)?;
        Ok((Self { prefix, binding: Binding { run, stack, commit, plan } }, tag))
    }

    /// Refuses a file that says it is somebody else's.
    pub(super) fn check(&self, terms: &SealTerms) -> Result<(), Fault> {
        let (found, expected) = (&self.binding, &terms.binding);
        let another = |what, found: String, expected: String| {
            Err(Fault::Another { path: terms.paths.sealed.clone(), what, found, expected })
        };
        if found.run != expected.run {
            return another("run", found.run.to_string(), expected.run.to_string());
        }
        if found.stack != expected.stack {
            return another("stack", found.stack.to_string(), expected.stack.to_string());
        }
        if found.commit != expected.commit {
            return another("commit", shown(found.commit.as_ref()), shown(expected.commit.as_ref()));
        }
        if found.plan != expected.plan {
            return another("plan", shown(found.plan.as_ref()), shown(expected.plan.as_ref()));
        }
        Ok(())
    }
}

fn shown(value: Option<&impl ToString>) -> String {
    value.map_or_else(|| "none".into(), ToString::to_string)
}

fn push_short(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.push(u8::try_from(field.len()).expect("commits and digests are shorter than 256 bytes"));
    bytes.extend_from_slice(field);
}

fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_short(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let [length] = read_array(from)?;
    let mut bytes = vec![0; usize::from(length)];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
