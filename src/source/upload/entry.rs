//! One entry after the other out of an unzipped stream. Format: POSIX ustar and pax, with GNU's long
//! names.

use std::io::Read;

use tar::{EntryType, Header};

use super::{
    UploadError,
    error::shown,
    stream::Stream,
    tree::{NAMES_BYTES, PATH_BYTES},
};

/// Bytes that may follow the archive's end: padding.
const PADDING_BYTES: usize = 1 << 20;

/// Bytes of one extended header.
const EXTENDED_BYTES: u64 = 64 * 1024;

const BLOCK: usize = 512;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// An entry as its headers describe it.
#[derive(Debug)]
pub struct Entry {
    pub name: Vec<u8>,
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: u64,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Directory,
    File { size: u64 },
    Symlink { target: Vec<u8> },
    HardLink { target: Vec<u8> },
}

/// Reads entries. After a file its content must be read: [`Entries::content`].
pub struct Entries<R> {
    stream: Stream<R>,
    /// Bytes of extended headers so far.
    extended: usize,
    /// The last entry, for errors.
    last: String,
    buffer: Vec<u8>,
}

/// What extended headers say about the entry that follows them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<R: Read> Entries<R> {
    pub fn new(archive: R) -> Self {
        Self {
            stream: Stream::new(archive),
            extended: 0,
            last: "its beginning".to_owned(),
            buffer: vec![0; PIECE_BYTES],
        }
    }

    /// The next entry; none at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, UploadError> {
        let mut extended = Extended::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            match header.entry_type() {
                EntryType::GNULongName => extended.name = Some(until_nul(self.extended_data(&header)?)),
                EntryType::GNULongLink => extended.target = Some(until_nul(self.extended_data(&header)?)),
                EntryType::XHeader => {
                    let data = self.extended_data(&header)?;
                    self.read_pax(&data, &mut extended)?;
                }
                EntryType::XGlobalHeader => {
                    self.extended_data(&header)?;
                }
                kind => {
                    let entry = self.entry(&header, kind, extended)?;
                    self.last = shown(&entry.name);
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The content of the file that was just returned, piece by piece.
    pub fn content(
        &mut self,
        mut size: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), UploadError>,
    ) -> Result<(), UploadError> {
        let mut padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        while size > 0 {
            let piece = &mut self.buffer[..usize::try_from(size).unwrap_or(usize::MAX).min(PIECE_BYTES)];
            self.stream.fill_exactly(piece, &self.last)?;
            size -= piece.len() as u64;
            take(piece)?;
        }
        // The last file of an archive may lack its padding.
        while padding > 0 {
            let filled = self.stream.fill(&mut self.buffer[..padding as usize], &self.last)?;
            padding = if filled == 0 { 0 } else { padding - filled as u64 };
        }
        Ok(())
    }

    /// Reads what follows the end, so that the digest covers it and a cut is noticed.
    pub fn finish(mut self) -> Result<(crate::domain::Digest, u64), UploadError> {
        let mut rest = vec![0; PADDING_BYTES];
        let filled = self.stream.fill(&mut rest, &self.last)?;
        if filled == PADDING_BYTES || rest[..filled].iter().any(|byte| *byte != 0) {
            return Err(UploadError::TrailingData);
        }
        Ok(self.stream.finish())
    }

    fn header(&mut self) -> Result<Option<Header>, UploadError> {
        let mut header = Header::new_old();
        let filled = self.stream.fill(header.as_mut_bytes(), &self.last)?;
        let bytes = header.as_bytes();
        if filled == 0 || (filled == BLOCK && bytes.iter().all(|byte| *byte == 0)) {
            return Ok(None);
        }
        if filled < BLOCK {
            return Err(UploadError::CutOff { after: self.last.clone() });
        }
        let sum = |range: &[u8]| range.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sum = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
        match header.cksum() {
            Ok(stated) if stated == sum => Ok(Some(header)),
            _ => Err(self.damaged("its next header is not one of tar")),
        }
    }

    fn entry(&self, header: &Header, kind: EntryType, extended: Extended) -> Result<Entry, UploadError> {
        let name = extended.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = || {
            extended
                .target
                .clone()
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default()
        };
        let special = |what| Err(UploadError::Special { entry: shown(&name), what });
        if extended.sparse || kind == EntryType::GNUSparse {
            return Err(UploadError::Sparse { entry: shown(&name) });
        }
        let what = match kind {
            // The oldest format marks directories by their name alone.
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => What::Directory,
            EntryType::Regular | EntryType::Continuous => What::File {
                size: match extended.size {
                    Some(size) => size,
                    None => header.entry_size().map_err(|_| self.damaged("a size is not a number"))?,
                },
            },
            EntryType::Directory => What::Directory,
            EntryType::Symlink => What::Symlink { target: target() },
            EntryType::Link => What::HardLink { target: target() },
            EntryType::Char => return special("character device"),
            EntryType::Block => return special("block device"),
            EntryType::Fifo => return special("named pipe"),
            _ => return special("thing of an unknown kind"),
        };
        Ok(Entry { name, mode: header.mode().unwrap_or(0o644), modified: header.mtime().unwrap_or_default(), what })
    }

    fn extended_data(&mut self, header: &Header) -> Result<Vec<u8>, UploadError> {
        let size = header.entry_size().map_err(|_| self.damaged("a size is not a number"))?;
        self.extended = self.extended.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).saturating_add(BLOCK);
        if size > EXTENDED_BYTES || self.extended > NAMES_BYTES {
            return Err(self.damaged("its extended headers are too large"));
        }
        let mut data = Vec::new();
        self.content(size, &mut |piece| {
            data.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(data)
    }

    /// Records of the form `LENGTH KEY=VALUE\n`.
    fn read_pax(&self, mut data: &[u8], extended: &mut Extended) -> Result<(), UploadError> {
        let wrong = || self.damaged("an extended header is not one of pax");
        while !data.is_empty() {
            let blank = data.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length: usize =
                std::str::from_utf8(&data[..blank]).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
            let record = data.get(blank + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
            data = &data[length..];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => extended.name = Some(value.to_vec()),
                b"linkpath" => extended.target = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
                    extended.size = Some(size);
                }
                _ if key.starts_with(b"GNU.sparse.") => extended.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn damaged(&self, why: &str) -> UploadError {
        UploadError::Damaged { after: self.last.clone(), why: why.to_owned() }
    }
}

/// GNU's long names end with a NUL; nothing longer than a path needs to be looked at.
fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end.min(PATH_BYTES + 1));
    name
}
