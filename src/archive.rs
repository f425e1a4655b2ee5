//! Tar as strangers write it: entries with bounded names, contents in pieces. Format: POSIX ustar and
//! pax, with GNU's long names.
//!
//! Knows no paths and writes nothing: what an entry may be, and where it goes, is decided by those
//! who read ([`crate::source::upload`], [`crate::image`]).

use std::io::{self, Read};

use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Bytes that are read at once.
const PIECE: usize = 64 << 10;
/// Bytes of one extended header.
const EXTENDED_BYTES: u64 = 64 << 10;
/// Extended headers in a row.
const EXTENDED: u32 = 16;
/// Bytes of a path: what is left of the kernel's 4 096 is for the directory that it will lie in.
pub const PATH_BYTES: usize = 3_072;
/// Characters of a name that people are shown.
const SHOWN_CHARS: usize = 200;

/// An entry as its headers describe it.
#[derive(Debug)]
pub struct Entry {
    pub name: Vec<u8>,
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: u64,
    pub what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub enum What {
    Directory,
    File {
        size: u64,
    },
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    /// A file with holes that are not stored.
    Sparse,
    Special {
        what: &'static str,
    },
}

/// Why a stream gives no further entry, and after which one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive cannot be read after `{after}`: {error}")]
    Read { after: String, error: io::Error },
    #[error("the archive is cut off after `{after}`")]
    CutOff { after: String },
    #[error("the archive is damaged after `{after}`: {why}")]
    Damaged { after: String, why: &'static str },
}

type Result<T> = std::result::Result<T, ArchiveError>;

/// Reads entries. After a file its content must be read: [`Reader::content`].
pub struct Reader<R> {
    stream: R,
    /// The last entry, for errors.
    last: String,
    /// Bytes that were read.
    at: u64,
    /// Bytes of extended headers that may still come.
    extended: u64,
    piece: Vec<u8>,
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("last", &self.last).field("at", &self.at).finish_non_exhaustive()
    }
}

/// What extended headers say about the entry that follows them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<R: Read> Reader<R> {
    /// Of a stream whose extended headers come to `extended` bytes at most.
    pub fn new(stream: R, extended: u64) -> Self {
        Self { stream, last: "its beginning".to_owned(), at: 0, extended, piece: vec![0; PIECE] }
    }

    /// How many bytes were read: after an entry of a file that is where its content begins.
    pub const fn at(&self) -> u64 {
        self.at
    }

    pub fn into_stream(self) -> R {
        self.stream
    }

    /// The next entry; none at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut extended = Extended::default();
        for _ in 0..EXTENDED {
            let Some(header) = self.header()? else { return Ok(None) };
            match header.entry_type() {
                EntryType::GNULongName => extended.name = Some(until_nul(self.data(&header)?)),
                EntryType::GNULongLink => extended.target = Some(until_nul(self.data(&header)?)),
                EntryType::XHeader => {
                    let data = self.data(&header)?;
                    self.read_pax(&data, &mut extended)?;
                }
                EntryType::XGlobalHeader => drop(self.data(&header)?),
                kind => {
                    let entry = self.entry(&header, kind, extended)?;
                    self.last = shown(&entry.name);
                    return Ok(Some(entry));
                }
            }
        }
        Err(self.damaged("an entry has too many extended headers"))
    }

    /// The content of the file that was just returned, piece by piece.
    pub fn content<E: From<ArchiveError>>(
        &mut self,
        size: u64,
        mut take: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut piece = std::mem::take(&mut self.piece);
        let read = self.content_through(&mut piece, size, &mut take);
        self.piece = piece;
        read
    }

    fn content_through<E: From<ArchiveError>>(
        &mut self,
        piece: &mut [u8],
        size: u64,
        take: &mut impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
            let filled = self.fill(&mut piece[..most])?;
            if filled < most {
                return Err(self.cut_off().into());
            }
            take(&piece[..most])?;
            left -= most as u64;
        }
        // The last file of an archive may lack its padding.
        let padding = (BLOCK - usize::try_from(size % BLOCK as u64).unwrap_or_default()) % BLOCK;
        self.fill(&mut piece[..padding])?;
        Ok(())
    }

    /// Fills as much of `buffer` as there is of what follows, whatever it is.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read { after: self.last.clone(), error }),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }

    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        let filled = self.fill(header.as_mut_bytes())?;
        let block = header.as_bytes();
        if filled == 0 || (filled == BLOCK && block.iter().all(|byte| *byte == 0)) {
            return Ok(None);
        }
        if filled < BLOCK {
            return Err(self.cut_off());
        }
        let sum = |range: &[u8]| range.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sum = sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..]);
        match header.cksum() {
            Ok(stated) if stated == sum => Ok(Some(header)),
            _ => Err(self.damaged("its next header is not one of tar")),
        }
    }

    fn entry(&self, header: &Header, kind: EntryType, extended: Extended) -> Result<Entry> {
        let name = extended.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = || {
            let plain = || header.link_name_bytes().map(std::borrow::Cow::into_owned);
            extended.target.clone().or_else(plain).unwrap_or_default()
        };
        let what = match kind {
            _ if extended.sparse || kind == EntryType::GNUSparse => What::Sparse,
            // The oldest format marks directories by their name alone.
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => What::Directory,
            EntryType::Regular | EntryType::Continuous => What::File {
                size: match extended.size {
                    Some(size) => size,
                    None => self.size_of(header)?,
                },
            },
            EntryType::Directory => What::Directory,
            EntryType::Symlink => What::Symlink { target: target() },
            EntryType::Link => What::HardLink { target: target() },
            EntryType::Char => What::Special { what: "character device" },
            EntryType::Block => What::Special { what: "block device" },
            EntryType::Fifo => What::Special { what: "named pipe" },
            _ => What::Special { what: "thing of an unknown kind" },
        };
        Ok(Entry { name, mode: header.mode().unwrap_or(0o644), modified: header.mtime().unwrap_or_default(), what })
    }

    fn size_of(&self, header: &Header) -> Result<u64> {
        header.entry_size().map_err(|_| self.damaged("a size is not a number"))
    }

    /// What an extended header says.
    fn data(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = self.size_of(header)?;
        let left = self.extended.checked_sub(size.saturating_add(BLOCK as u64));
        let (true, Some(left)) = (size <= EXTENDED_BYTES, left) else {
            return Err(self.damaged("its extended headers are too large"));
        };
        self.extended = left;
        let mut data = Vec::new();
        self.content(size, |piece| {
            data.extend_from_slice(piece);
            Ok::<_, ArchiveError>(())
        })?;
        Ok(data)
    }

    /// Records of the form `LENGTH KEY=VALUE\n`.
    fn read_pax(&self, mut data: &[u8], extended: &mut Extended) -> Result<()> {
        let wrong = || self.damaged("an extended header is not one of pax");
        while !data.is_empty() {
            let blank = data.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = number(&data[..blank]).and_then(|length| usize::try_from(length).ok()).ok_or_else(wrong)?;
            let record = data.get(blank + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
            data = &data[length..];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => extended.name = Some(value.to_vec()),
                b"linkpath" => extended.target = Some(value.to_vec()),
                b"size" => extended.size = Some(number(value).ok_or_else(wrong)?),
                _ if key.starts_with(b"GNU.sparse.") => extended.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn cut_off(&self) -> ArchiveError {
        ArchiveError::CutOff { after: self.last.clone() }
    }

    fn damaged(&self, why: &'static str) -> ArchiveError {
        ArchiveError::Damaged { after: self.last.clone(), why }
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// GNU's long names end with a NUL; nothing longer than a path needs to be looked at.
fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end.min(PATH_BYTES + 1));
    name
}

/// A name for people: bounded, no control characters.
pub fn shown(name: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(name).chars().flat_map(escaped).take(SHOWN_CHARS).collect();
    if text.is_empty() { ".".to_owned() } else { text }
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}
