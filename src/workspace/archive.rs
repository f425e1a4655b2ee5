//! The archive inside a sealed file: entries of one tree, depth first.
//!
//! An own format, because the archive never leaves this program and the common one does not fit:
//! the `tar` crate writes neither sparse files nor extended attributes, its paths are whole paths
//! (which have to be taken apart and checked again), and it copies every byte once more. Here an
//! entry has one *name*, a directory opens a level and `LEAVE` closes it; so there is no path that
//! could lead anywhere, and both sides walk with directory descriptors.
//!
//! Numbers are big endian. A name is `length (u8) | bytes`.
//!
//! | tag | entry | fields |
//! | --- | --- | --- |
//! | 0 | end | |
//! | 1 | directory | name, mode (u16), mtime (i64 s, u32 ns), attributes; its entries follow up to … |
//! | 2 | leave | |
//! | 3 | file | name, mode, mtime, size (u64), link number (u32, 0 none), attributes, extents |
//! | 4 | symbolic link | name, mtime, target: length (u16), bytes |
//! | 5 | hard link | name, link number of a file that came before |
//!
//! Attributes: `name | length (u32) | value`, ended by an empty name. Extents: `hole (u64) | length
//! (u64) | bytes`, ended by two zeros; the file's size follows from its field. Owners are not kept,
//! nor set-uid and set-gid bits, nor attributes outside `user.`. A symbolic link with several names
//! becomes several links.

use super::Fault;

/// Bytes of one extended attribute's value (the kernel's own limit).
pub(super) const ATTRIBUTE_BYTES: usize = 64 * 1024;
/// Bytes of a symbolic link's target (`PATH_MAX`).
pub(super) const TARGET_BYTES: usize = 4_096;
/// The permission bits that are kept.
pub(super) const MODE: u32 = 0o1777;

pub(super) mod tag {
    pub(crate) const END: u8 = 0;
    pub(crate) const DIRECTORY: u8 = 1;
    pub(crate) const LEAVE: u8 = 2;
    pub(crate) const FILE: u8 = 3;
    pub(crate) const SYMLINK: u8 = 4;
    pub(crate) const LINK: u8 = 5;
}

/// Where an archive goes to.
pub(super) trait Output {
    /// Room for more bytes, never empty.
    fn space(&mut self) -> Result<&mut [u8], Fault>;

    /// The first `bytes` of that room were filled.
    fn advance(&mut self, bytes: usize);

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let space = self.space()?;
            let now = space.len().min(bytes.len());
            space[..now].copy_from_slice(&bytes[..now]);
            self.advance(now);
            bytes = &bytes[now..];
        }
        Ok(())
    }
}

/// Where an archive comes from.
pub(super) trait Input {
    /// The next 1 to `most` bytes; a fault at the end.
    fn piece(&mut self, most: usize) -> Result<&[u8], Fault>;

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.exactly(&mut bytes)?;
        Ok(bytes)
    }

    fn exactly(&mut self, mut bytes: &mut [u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let piece = self.piece(bytes.len())?;
            let (now, rest) = bytes.split_at_mut(piece.len());
            now.copy_from_slice(piece);
            bytes = rest;
        }
        Ok(())
    }

    fn vector(&mut self, bytes: usize) -> Result<Vec<u8>, Fault> {
        let mut vector = vec![0; bytes];
        self.exactly(&mut vector)?;
        Ok(vector)
    }
}
