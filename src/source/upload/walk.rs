//! The one walk through an archive.

use std::{collections::BTreeMap, io::Read};

use super::{
    UploadError, UploadInfo,
    stream::Stream,
    tree::{NAMES_BYTES, Tree},
};
use crate::{
    archive::{Entry, Reader, What},
    domain::Digest,
};

/// Where entries go. Paths are normalized, and their directories have been made before.
pub trait Sink {
    fn directory(&mut self, path: &[u8], mode: u32) -> Result<(), UploadError>;
    /// Begins a file; its content follows.
    fn file(&mut self, path: &[u8], replaces: bool) -> Result<(), UploadError>;
    fn content(&mut self, piece: &[u8]) -> Result<(), UploadError>;
    fn file_ends(&mut self, mode: u32, modified: u64) -> Result<(), UploadError>;
    fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), UploadError>;
    fn hard_link(&mut self, path: &[u8], target: &[u8], replaces: bool) -> Result<(), UploadError>;
}

/// Bytes that may follow the archive's end: padding.
const PADDING_BYTES: usize = 1 << 20;

/// Mode of directories that no entry named.
const IMPLIED_MODE: u32 = 0o755;

pub fn walk(archive: impl Read, sink: &mut impl Sink) -> Result<UploadInfo, UploadError> {
    let mut entries = Reader::new(Stream::new(archive), NAMES_BYTES as u64);
    let mut tree = Tree::default();
    while let Some(entry) = entries.next_entry()? {
        take(&entry, &mut entries, &mut tree, sink)?;
    }
    let (digest, size) = finish(entries)?;
    if tree.entries == 0 {
        return Err(UploadError::Empty);
    }
    tree.check_symlinks()?;
    Ok(UploadInfo { digest, size, entries: tree.entries, unpacked: tree.unpacked })
}

/// Reads what follows the end, so that the digest covers it and a cut is noticed.
fn finish<R: Read>(mut entries: Reader<Stream<R>>) -> Result<(Digest, u64), UploadError> {
    let mut rest = vec![0; PADDING_BYTES];
    let filled = entries.fill(&mut rest)?;
    if filled == PADDING_BYTES || rest[..filled].iter().any(|byte| *byte != 0) {
        return Err(UploadError::TrailingData);
    }
    Ok(entries.into_stream().finish())
}

fn take<R: Read>(
    entry: &Entry,
    entries: &mut Reader<R>,
    tree: &mut Tree,
    sink: &mut impl Sink,
) -> Result<(), UploadError> {
    let Some(place) = tree.add(&entry.name, &entry.what)? else { return Ok(()) };
    for directory in &place.implied {
        sink.directory(directory, IMPLIED_MODE)?;
    }
    match &entry.what {
        What::Directory => sink.directory(&place.path, entry.mode),
        What::File { size } => {
            sink.file(&place.path, place.replaces)?;
            entries.content(*size, |piece| sink.content(piece))?;
            sink.file_ends(entry.mode, entry.modified)
        }
        What::Symlink { target } => sink.symlink(&place.path, target),
        What::HardLink { .. } => {
            let target = place.target.as_deref().unwrap_or_default();
            sink.hard_link(&place.path, target, place.replaces)
        }
        // The tree has refused them.
        What::Sparse | What::Special { .. } => Ok(()),
    }
}

/// Throws everything away but the beginnings of some files.
#[derive(Debug)]
pub struct Looking<'a> {
    wanted: &'a [&'a str],
    /// Bytes of each that are kept.
    most: usize,
    found: BTreeMap<String, Vec<u8>>,
    /// The file that is being read, if it is wanted.
    reading: Option<String>,
}

impl<'a> Looking<'a> {
    pub fn new(wanted: &'a [&'a str], most: usize) -> Self {
        Self { wanted, most, found: BTreeMap::new(), reading: None }
    }

    pub fn found(self) -> Vec<(String, Vec<u8>)> {
        self.found.into_iter().collect()
    }

    fn forget(&mut self, path: &[u8]) {
        self.found.retain(|name, _| name.as_bytes() != path);
    }
}

impl Sink for Looking<'_> {
    fn directory(&mut self, _: &[u8], _: u32) -> Result<(), UploadError> {
        Ok(())
    }
    fn file(&mut self, path: &[u8], _: bool) -> Result<(), UploadError> {
        self.reading = self.wanted.iter().find(|name| name.as_bytes() == path).map(|name| (*name).to_owned());
        if let Some(name) = &self.reading {
            self.found.insert(name.clone(), Vec::new());
        }
        Ok(())
    }
    fn content(&mut self, piece: &[u8]) -> Result<(), UploadError> {
        if let Some(kept) = self.reading.as_ref().and_then(|name| self.found.get_mut(name)) {
            let room = self.most.saturating_sub(kept.len());
            kept.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        Ok(())
    }
    fn file_ends(&mut self, _: u32, _: u64) -> Result<(), UploadError> {
        self.reading = None;
        Ok(())
    }
    fn symlink(&mut self, path: &[u8], _: &[u8]) -> Result<(), UploadError> {
        self.forget(path);
        Ok(())
    }
    fn hard_link(&mut self, path: &[u8], target: &[u8], _: bool) -> Result<(), UploadError> {
        self.forget(path);
        let found = std::str::from_utf8(target).ok().and_then(|target| self.found.get(target)).cloned();
        if let Some((name, content)) = self.wanted.iter().find(|name| name.as_bytes() == path).zip(found) {
            self.found.insert((*name).to_owned(), content);
        }
        Ok(())
    }
}
