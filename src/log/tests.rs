mod following;
mod keeping;
mod reading;
mod writing;

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;

use super::{
    Chunk, LogReader, LogWriter, Page, Stream, Summary, compress,
    index::{Entry, WIDTH},
};
use crate::{domain::limits, mask::MaskSet};

/// A phase's files in a directory of their own.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn text(&self) -> PathBuf {
        self.dir.path().join("01-performing.log")
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join("01-performing.idx")
    }

    fn packed(&self) -> PathBuf {
        self.dir.path().join("01-performing.log.zst")
    }

    fn writer(&self) -> LogWriter {
        self.writer_with(&[], limits::OUTPUT_BYTES)
    }

    fn writer_with(&self, secrets: &[&str], limit: u64) -> LogWriter {
        let masks = MaskSet::new(secrets.iter().map(|secret| secret.as_bytes()), false);
        LogWriter::create(&self.text(), &self.index(), masks, limit).unwrap()
    }

    fn content(&self) -> String {
        fs::read_to_string(self.text()).unwrap()
    }

    fn live(&self) -> LogReader {
        LogReader::live(&self.text(), &self.index()).unwrap()
    }

    fn finished(&self) -> LogReader {
        compress(&self.text(), &self.index(), &self.packed()).unwrap();
        LogReader::finished(&self.packed()).unwrap()
    }

    fn entries(&self) -> Vec<Entry> {
        let bytes = fs::read(self.index()).unwrap();
        bytes[WIDTH..].chunks(WIDTH).map(|entry| Entry::decode(entry).unwrap()).collect()
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Writes pieces of one stream, 60 ms apart, and ends the log.
fn written(files: &Files, pieces: &[&[u8]]) -> Summary {
    let mut log = files.writer();
    for (n, piece) in pieces.iter().enumerate() {
        log.write(ms(n as u64 * 60), Stream::Stdout, piece).unwrap();
    }
    log.finish(ms(pieces.len() as u64 * 60)).unwrap()
}

/// A log of `lines` lines of both streams with text of several lengths.
fn varied(files: &Files, lines: usize) -> String {
    let mut log = files.writer();
    for n in 0..lines {
        let stream = if n % 7 == 0 { Stream::Stderr } else { Stream::Stdout };
        let text = format!("{n} {}\n", "wörd ".repeat(n * n % 40));
        log.write(ms(n as u64 * 9), stream, text.as_bytes()).unwrap();
    }
    log.finish(ms(lines as u64 * 9)).unwrap();
    files.content()
}

fn texts(page: &Page) -> Vec<&str> {
    page.rows.iter().map(|row| row.text.as_str()).collect()
}

fn all_chunks(log: &LogReader, from: u64) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut at = from;
    while let Some(chunk) = log.chunk(at).unwrap() {
        at = chunk.end();
        chunks.push(chunk);
    }
    chunks
}
