//! The two files of a growing log: what is appended to the text, and the index entries before it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    LogFault, LogReader, Stream, at as fault,
    index::{self, Entry, WIDTH},
};
use crate::domain::limits;

/// Bytes that are written without waiting for more.
const LARGE: usize = 64 * limits::KIB as usize;

/// Gathers text for a moment, and writes it.
#[derive(Debug)]
pub(super) struct Appender {
    text: File,
    index: File,
    text_path: PathBuf,
    index_path: PathBuf,
    /// Text that is not written yet, and whose it is.
    pending: Vec<u8>,
    pieces: Vec<Piece>,
    /// The stream whose line is open at the end of the text.
    open_line: Option<Stream>,
    /// When something was last written; the first text is due at once.
    written_at: Option<Duration>,
    written: u64,
    line_ends: u64,
    index_bytes: u64,
}

/// Text of one stream that is pending.
#[derive(Clone, Copy, Debug)]
struct Piece {
    stream: Stream,
    /// When its first byte came.
    at: Duration,
    bytes: usize,
}

/// When what came at `since` is due.
pub(super) fn later(since: Duration) -> Duration {
    since + limits::LOG_FLUSH
}

impl Appender {
    /// Makes both files; they must not exist.
    pub(super) fn create(text: &Path, index: &Path) -> Result<Self, LogFault> {
        let make = |path| OpenOptions::new().append(true).create_new(true).open(path).map_err(fault(path));
        let mut index_file = make(index)?;
        index_file.write_all(&index::header()).map_err(fault(index))?;
        Ok(Self {
            text: make(text)?,
            index: index_file,
            text_path: text.to_path_buf(),
            index_path: index.to_path_buf(),
            pending: Vec::with_capacity(2 * LARGE),
            pieces: Vec::new(),
            open_line: None,
            written_at: None,
            written: 0,
            line_ends: 0,
            index_bytes: WIDTH as u64,
        })
    }

    pub(super) const fn open_line(&self) -> Option<Stream> {
        self.open_line
    }

    /// Bytes of text in the file.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Line ends in the file.
    pub(super) const fn line_ends(&self) -> u64 {
        self.line_ends
    }

    /// When something that is pending is to be written.
    pub(super) fn due(&self) -> Option<Duration> {
        self.pieces.first().map(|piece| self.written_at.map_or(piece.at, later))
    }

    /// Appends text that came at `at`. Much of it is written at once.
    pub(super) fn append(&mut self, at: Duration, stream: Stream, text: &[u8]) -> Result<(), LogFault> {
        let Some(last) = text.last() else { return Ok(()) };
        self.open_line = (*last != b'\n').then_some(stream);
        match self.pieces.last_mut() {
            Some(piece) if piece.stream == stream => piece.bytes += text.len(),
            _ => self.pieces.push(Piece { stream, at, bytes: text.len() }),
        }
        self.pending.extend_from_slice(text);
        if self.pending.len() >= LARGE { self.flush(at) } else { Ok(()) }
    }

    /// Ends an open line, so that another stream may follow.
    pub(super) fn end_line(&mut self) -> Result<(), LogFault> {
        let Some(open) = self.open_line else { return Ok(()) };
        let at = self.pieces.last().map(|piece| piece.at).or(self.written_at).unwrap_or_default();
        self.append(at, open, b"\n")
    }

    /// Writes what is pending: first the index, so that no text is ever without. What cannot be
    /// written whole is taken back and stays pending.
    pub(super) fn flush(&mut self, at: Duration) -> Result<(), LogFault> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (entries, line_ends) = self.entries();
        let written = (self.index.write_all(&entries).map_err(fault(&self.index_path)))
            .and_then(|()| self.text.write_all(&self.pending).map_err(fault(&self.text_path)));
        if let Err(fault) = written {
            // Should this fail too, `recover` has the same work to do.
            let _ = self.index.set_len(self.index_bytes).and(self.text.set_len(self.written));
            return Err(fault);
        }
        self.index_bytes += entries.len() as u64;
        self.written += self.pending.len() as u64;
        self.line_ends = line_ends;
        self.written_at = Some(at);
        self.pending.clear();
        self.pieces.clear();
        Ok(())
    }

    /// The index entries of what is pending, and the line ends that the text will have then.
    fn entries(&self) -> (Vec<u8>, u64) {
        let mut entries = Vec::with_capacity(self.pieces.len() * WIDTH);
        let (mut offset, mut line) = (self.written, self.line_ends);
        let mut rest = self.pending.as_slice();
        for piece in &self.pieces {
            let ms = u32::try_from(piece.at.as_millis()).unwrap_or(u32::MAX);
            let (mut text, after) = rest.split_at(piece.bytes);
            while !text.is_empty() {
                entries.extend(Entry { offset, line, ms, stream: piece.stream }.encode());
                let (part, others) = text.split_at(index::piece(text, limits::LOG_ENTRY_BYTES));
                offset += part.len() as u64;
                line += memchr::memchr_iter(b'\n', part).count() as u64;
                text = others;
            }
            rest = after;
        }
        (entries, line)
    }

    /// Makes the text durable. The index is not: it can be made from the text.
    pub(super) fn sync(&self) -> Result<(), LogFault> {
        if self.written == 0 {
            return Ok(());
        }
        self.text.sync_data().map_err(fault(&self.text_path))
    }

    /// What was written, to read.
    pub(super) fn reader(&self) -> Result<LogReader, LogFault> {
        LogReader::live(&self.text_path, &self.index_path)
    }

    pub(super) fn fault(&self, source: io::Error) -> LogFault {
        fault(&self.text_path)(source)
    }

    /// Swaps the file that the text goes to.
    #[cfg(test)]
    pub(super) fn swap_text(&mut self, file: &mut File) {
        std::mem::swap(&mut self.text, file);
    }
}
