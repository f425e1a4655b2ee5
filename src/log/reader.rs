//! Reading a log at any place, growing or finished.
//!
//! Every question is answered by a binary search in the index and by reading about as much text as
//! is answered with: the size of the log does not matter. Methods block on the file.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    LogFault, Stream,
    frames::{self, Frames},
    index::{self, Entry, WIDTH},
    utf8,
};
use crate::domain::limits;

/// Reads a log. All offsets are bytes of the text, all line numbers count from 1.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    text: Content,
    index: Content,
}

#[derive(Debug)]
enum Content {
    Plain(File),
    Packed(Frames),
}

/// A piece of a log for followers, of one stream. As a JSON string with some fields around it, it is
/// at most `limits::LOG_EVENT_BYTES` long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub offset: u64,
    /// Number of the line that the text begins in.
    pub line: u64,
    /// Milliseconds since the phase began.
    pub ms: u64,
    pub stream: Stream,
    pub text: String,
}

impl Chunk {
    /// Where the next one begins.
    pub fn end(&self) -> u64 {
        self.offset + self.text.len() as u64
    }
}

impl Content {
    fn len(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Packed(frames) => Ok(frames.len()),
        }
    }

    /// Reads from `offset`, at most `max` bytes and not beyond the end.
    fn read_at(&self, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let file = match self {
            Self::Packed(frames) => return frames.read_at(offset, max),
            Self::Plain(file) => file,
        };
        let there = file.metadata()?.len().saturating_sub(offset);
        let mut bytes = vec![0; max.min(usize::try_from(there).unwrap_or(usize::MAX))];
        let mut read = 0;
        while read < bytes.len() {
            match file.read_at(&mut bytes[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }
}

impl LogReader {
    /// A log in its two files, perhaps still growing.
    pub fn live(text: &Path, index: &Path) -> Result<Self, LogFault> {
        let open = |path: &Path| File::open(path).map(Content::Plain).map_err(super::at(path));
        let log = Self { path: text.to_path_buf(), text: open(text)?, index: open(index)? };
        log.known_version()
    }

    /// A log that [`compress`](super::compress()) made.
    pub fn finished(file: &Path) -> Result<Self, LogFault> {
        let (text, index) = File::open(file).and_then(frames::open).map_err(|source| fault(file, source))?;
        let log = Self { path: file.to_path_buf(), text: Content::Packed(text), index: Content::Packed(index) };
        log.known_version()
    }

    fn known_version(self) -> Result<Self, LogFault> {
        let header = self.index.read_at(0, WIDTH).map_err(|source| self.fault(source))?;
        if header.len() == WIDTH && header != index::header() {
            return Err(LogFault::Damaged { path: self.path, what: "its index is of no version known here" });
        }
        Ok(self)
    }

    fn fault(&self, source: io::Error) -> LogFault {
        fault(&self.path, source)
    }

    /// Bytes of text, now.
    pub fn len(&self) -> Result<u64, LogFault> {
        self.text.len().map_err(|source| self.fault(source))
    }

    pub fn is_empty(&self) -> Result<bool, LogFault> {
        Ok(self.len()? == 0)
    }

    /// The bytes from `offset`, at most `max` of them and not beyond the end.
    pub fn range(&self, offset: u64, max: usize) -> Result<Vec<u8>, LogFault> {
        self.text.read_at(offset, max).map_err(|source| self.fault(source))
    }

    /// The number of the line that `offset` is in; of the last for offsets beyond the end.
    pub fn line_of_offset(&self, offset: u64) -> Result<u64, LogFault> {
        let offset = offset.min(self.len()?);
        let entry = self.entry_at(offset)?.1;
        Ok(self.line_ends(entry, offset)? + 1)
    }

    /// Where a line begins; none beyond the last. The text after a last line end is no line.
    pub fn offset_of_line(&self, line: u64) -> Result<Option<u64>, LogFault> {
        let Some(ends_before) = line.checked_sub(1) else { return Ok(None) };
        if ends_before == 0 {
            return Ok(if self.is_empty()? { None } else { Some(0) });
        }
        // The line end before the line lies in the last piece that begins with fewer of them.
        let (_, entry) = self.last_entry(|entry| entry.line < ends_before)?;
        let mut missing = ends_before - entry.line;
        let mut at = entry.offset;
        loop {
            let block = self.range(at, limits::LOG_ENTRY_BYTES)?;
            if block.is_empty() {
                return Ok(None);
            }
            for line_end in memchr::memchr_iter(b'\n', &block) {
                missing -= 1;
                if missing == 0 {
                    let offset = at + line_end as u64 + 1;
                    return Ok((offset < self.len()?).then_some(offset));
                }
            }
            at += block.len() as u64;
        }
    }

    /// The piece that begins at `offset`; none at the end of what is there. It ends with a line or a
    /// character.
    pub fn chunk(&self, offset: u64) -> Result<Option<Chunk>, LogFault> {
        let len = self.len()?;
        if offset >= len {
            return Ok(None);
        }
        let (number, entry) = self.entry_at(offset)?;
        let next = number.map_or(Ok(None), |number| self.entry(number + 1))?.map_or(len, |next| next.offset.min(len));
        let there = usize::try_from(next - offset).unwrap_or(usize::MAX);
        let bytes = self.range(offset, there.min(limits::LOG_EVENT_BYTES))?;
        let start = utf8::next_boundary(&bytes, 0);
        let whole = start + utf8::whole(&bytes[start..]);
        let bytes = &bytes[start..whole];
        let text = &bytes[..index::piece(bytes, fitting(bytes))];
        if text.is_empty() {
            return Ok(None);
        }
        let offset = offset + start as u64;
        Ok(Some(Chunk {
            offset,
            line: self.line_ends(entry, offset)? + 1,
            ms: entry.ms.into(),
            stream: entry.stream,
            text: String::from_utf8_lossy(text).into_owned(),
        }))
    }

    /// Line ends before `offset`, which lies in the piece that begins with `entry`.
    fn line_ends(&self, entry: Entry, offset: u64) -> Result<u64, LogFault> {
        let (mut line, mut at) = (entry.line, entry.offset);
        while at < offset {
            let most = (offset - at).min(limits::LOG_ENTRY_BYTES as u64);
            let block = self.range(at, most as usize)?;
            if block.is_empty() {
                break;
            }
            line += memchr::memchr_iter(b'\n', &block).count() as u64;
            at += block.len() as u64;
        }
        Ok(line)
    }

    /// The entry of the piece that `offset` is in, and its number.
    pub(super) fn entry_at(&self, offset: u64) -> Result<(Option<u64>, Entry), LogFault> {
        self.last_entry(|entry| entry.offset <= offset)
    }

    /// The last entry for which `holds`, where it holds for a first part of them.
    fn last_entry(&self, holds: impl Fn(&Entry) -> bool) -> Result<(Option<u64>, Entry), LogFault> {
        let (mut low, mut high) = (0, self.entries()?);
        let mut last = (None, Entry::START);
        while low < high {
            let middle = u64::midpoint(low, high);
            // An entry that cannot be read is the torn end.
            match self.entry(middle)? {
                Some(entry) if holds(&entry) => {
                    last = (Some(middle), entry);
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        Ok(last)
    }

    /// How many entries there are, a torn one included.
    pub(super) fn entries(&self) -> Result<u64, LogFault> {
        let wide = self.index.len().map_err(|source| self.fault(source))? / WIDTH as u64;
        Ok(wide.saturating_sub(1))
    }

    /// At most so many entries from a number on, up to where one is torn.
    pub(super) fn entries_from(&self, number: u64, most: u64) -> Result<Vec<Entry>, LogFault> {
        let (at, bytes) = ((number + 1) * WIDTH as u64, most as usize * WIDTH);
        let bytes = self.index.read_at(at, bytes).map_err(|source| self.fault(source))?;
        Ok(bytes.chunks(WIDTH).map_while(Entry::decode).collect())
    }

    /// The entry of this number, counted from 0; none beyond the last or where it is torn.
    pub(super) fn entry(&self, number: u64) -> Result<Option<Entry>, LogFault> {
        let bytes = self.index.read_at((number + 1) * WIDTH as u64, WIDTH).map_err(|source| self.fault(source))?;
        Ok(Entry::decode(&bytes))
    }
}

/// Bytes of an event that are not its text.
const EVENT_FIELDS: usize = 256;

/// How much of `text` fits into an event when it is written as a JSON string.
fn fitting(text: &[u8]) -> usize {
    let mut room = limits::LOG_EVENT_BYTES - EVENT_FIELDS;
    let too_much = text.iter().position(|byte| {
        let cost = match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
            0..0x20 => 6,
            _ => 1,
        };
        let fits = cost <= room;
        room = room.saturating_sub(cost);
        !fits
    });
    too_much.unwrap_or(text.len())
}

fn fault(path: &Path, source: io::Error) -> LogFault {
    LogFault::Io { path: path.to_path_buf(), source }
}
