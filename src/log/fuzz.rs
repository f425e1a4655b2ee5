//! Logs out of any bytes, read in every way there is: the entry for fuzzers.

use std::{fs, path::Path, time::Duration};

use super::{
    LogReader, LogWriter, Stream, compress,
    index::{self, Entry, WIDTH},
    recover,
};
use crate::{domain::limits, mask::MaskSet};

/// Bytes of one piece of output at most, and how often it may be said: lines longer than any bound
/// come out of few bytes.
const PIECE: usize = 64;
const AGAIN: usize = 1_500;

/// The first byte says what the others are. `dir` is empty, and is left with files in it.
pub fn fuzz(dir: &Path, bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    match how % 4 {
        0 => finished(dir, rest),
        1 => torn(dir, rest, true),
        2 => torn(dir, rest, false),
        _ => whole(dir, rest),
    }
}

/// A log of these pieces of output, as a runner writes it, and its whole text.
pub fn written(dir: &Path, bytes: &[u8]) -> (LogReader, String) {
    let (text, index) = (dir.join("text"), dir.join("index"));
    let masks = MaskSet::new([b"hunter2-hunter2".as_slice()], false);
    let mut log = LogWriter::create(&text, &index, masks, limits::MIB).expect("a fresh directory");
    let (mut rest, mut at) = (bytes, Duration::ZERO);
    while let Some(([how, len, again], after)) = rest.split_first_chunk() {
        let (piece, after) = after.split_at(after.len().min(usize::from(*len) % PIECE));
        let again = if *again > 250 { AGAIN } else { usize::from(again / 64) };
        let stream = [Stream::Stdout, Stream::Stderr, Stream::Airlock][usize::from(how % 3)];
        at += Duration::from_millis(u64::from(how / 3));
        log.write(at, stream, &piece.repeat(again + 1)).expect("it is written");
        rest = after;
    }
    let summary = log.finish(at).expect("it ends");
    let content = fs::read_to_string(&text).expect("a log is UTF-8");
    assert_eq!(summary.bytes, content.len() as u64);
    assert!(!content.contains("hunter2-hunter2"));
    (reopened(dir), content)
}

/// The log that [`written`] left in a directory.
pub fn reopened(dir: &Path) -> LogReader {
    LogReader::live(&dir.join("text"), &dir.join("index")).expect("it can be read")
}

/// Any bytes as the file of a finished log: refused or read, and never more than that.
fn finished(dir: &Path, bytes: &[u8]) {
    let file = dir.join("finished");
    fs::write(&file, bytes).expect("a fresh directory");
    if let Ok(log) = LogReader::finished(&file) {
        walk(&log);
    }
}

/// A text with an index that does not belong to it; `entries`: of well-formed entries.
fn torn(dir: &Path, bytes: &[u8], entries: bool) {
    let Some((len, rest)) = bytes.split_first() else { return };
    let (of_index, of_text) = rest.split_at(rest.len().min(usize::from(*len)));
    let (text, index) = (dir.join("text"), dir.join("index"));
    let mut content = String::from_utf8_lossy(of_text).into_owned().into_bytes();
    // What a dead writer leaves may end within a character.
    content.truncate(content.len() - content.len().min(usize::from(len % 3)));
    let mut head = index::header().to_vec();
    match entries {
        true => head.extend(of_index.chunks_exact(4).flat_map(entry)),
        false => head.extend(of_index),
    }
    fs::write(&text, &content).and_then(|()| fs::write(&index, head)).expect("a fresh directory");
    recover(&text, &index).expect("it is brought in order");
    let log = LogReader::live(&text, &index).expect("it is in order");
    walk(&log);
    let kept = log.len().expect("its length") as usize;
    assert!(kept <= content.len() && kept + 3 >= content.len(), "{kept} of {}", content.len());
    assert!(std::str::from_utf8(&content[..kept]).is_ok());
}

fn entry(bytes: &[u8]) -> [u8; WIDTH] {
    let stream = [Stream::Stdout, Stream::Stderr, Stream::Airlock][usize::from(bytes[2] % 3)];
    Entry { offset: bytes[0].into(), line: bytes[1].into(), ms: bytes[3].into(), stream }.encode()
}

/// What a writer wrote reads the same while it grows and when it is packed.
fn whole(dir: &Path, bytes: &[u8]) {
    let (log, content) = written(dir, bytes);
    let packed = dir.join("packed");
    compress(&dir.join("text"), &dir.join("index"), &packed).expect("it is packed");
    let packed = LogReader::finished(&packed).expect("it can be read");
    for log in [&log, &packed] {
        assert_eq!(walk(log), content);
        let rows = log.tail_lines(limits::LOG_LINE_BYTES).expect("its rows").rows;
        let last = rows.last().map(|row| row.text.as_str()).unwrap_or_default();
        assert!(content.trim_end_matches('\n').ends_with(last.trim_end_matches('\n')), "{last}");
    }
    let lines = content.lines().count() as u64;
    for line in [1, 2, lines / 2, lines, lines + 1] {
        let (one, other) = (log.offset_of_line(line), packed.offset_of_line(line));
        let offset = one.expect("it is counted");
        assert_eq!(offset, other.expect("it is counted"));
        assert_eq!(offset.is_some(), (1..=lines).contains(&line), "line {line} of {lines}");
        if let Some(offset) = offset {
            assert_eq!(log.line_of_offset(offset).expect("it is counted"), line);
        }
    }
}

/// Every piece in order, each where the last ended; what they say together.
fn walk(log: &LogReader) -> String {
    let len = log.len().unwrap_or(0);
    let (mut at, mut said) = (0, String::new());
    while let Ok(Some(chunk)) = log.chunk(at) {
        assert!(chunk.offset >= at && chunk.end() > at, "{chunk:?} at {at}");
        assert!(chunk.text.len() <= limits::LOG_EVENT_BYTES);
        at = chunk.end();
        said.push_str(&chunk.text);
        if at > limits::MIB * 4 {
            break;
        }
    }
    for at in [0, 1, len / 2, len, len + 1] {
        let _ = (log.line_of_offset(at), log.offset_of_line(at), log.lines_before(at, 10), log.range(at, 100));
    }
    let _ = (log.lines_from(1, 10), log.search("a", 0, 10), log.tail_lines(10));
    said
}
