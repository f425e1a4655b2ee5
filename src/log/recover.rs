//! Bringing a log in order whose writer died.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    LogFault, at as fault,
    index::{self, Entry, WIDTH},
    utf8,
};
use crate::domain::limits;

/// Makes the index fit the text, whatever is missing of it. Text that the index had lost gets the
/// time and the stream of what came before it; half a character at the end of the text is cut off.
pub fn recover(text: &Path, index: &Path) -> Result<(), LogFault> {
    let text_file = OpenOptions::new().read(true).write(true).open(text).map_err(fault(text))?;
    let text_bytes = cut_half_character(&text_file).map_err(fault(text))?;
    let mut index_file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(index).map_err(fault(index))?;
    let mut good = good_entries(&mut index_file, text_bytes).map_err(fault(index))?;
    if good.is_empty() {
        index_file.set_len(0).and_then(|()| index_file.rewind()).map_err(fault(index))?;
        index_file.write_all(&index::header()).map_err(fault(index))?;
    } else {
        let bytes = ((good.len() + 1) * WIDTH) as u64;
        let cut = index_file.set_len(bytes).and_then(|()| index_file.seek(SeekFrom::Start(bytes)));
        cut.map_err(fault(index))?;
    }
    let missing = missing_entries(&text_file, text_bytes, good.pop()).map_err(fault(text))?;
    let bytes: Vec<u8> = missing.iter().flat_map(|entry| entry.encode()).collect();
    index_file.write_all(&bytes).map_err(fault(index))
}

/// Bytes of the text, without half a character at its end.
fn cut_half_character(text: &File) -> io::Result<u64> {
    let bytes = text.metadata()?.len();
    let mut tail = vec![0; bytes.min(4) as usize];
    let from = bytes - tail.len() as u64;
    text.read_exact_at(&mut tail, from)?;
    let start = utf8::next_boundary(&tail, 0);
    let whole = from + (start + utf8::whole(&tail[start..])) as u64;
    if whole < bytes {
        text.set_len(whole)?;
    }
    Ok(whole)
}

/// The entries up to the first that is torn or does not fit the text.
fn good_entries(index: &mut File, text_bytes: u64) -> io::Result<Vec<Entry>> {
    let mut bytes = Vec::new();
    index.read_to_end(&mut bytes)?;
    let mut good: Vec<Entry> = Vec::new();
    if bytes.get(..WIDTH) != Some(&index::header()[..]) {
        return Ok(good);
    }
    for entry in bytes[WIDTH..].chunks_exact(WIDTH).map_while(Entry::decode) {
        let follows = match good.last() {
            None => entry.offset == 0 && entry.line == 0,
            Some(last) => entry.offset > last.offset && entry.line >= last.line,
        };
        if !follows || entry.offset >= text_bytes {
            break;
        }
        good.push(entry);
    }
    Ok(good)
}

/// The entries that the text needs after the `last` good one.
fn missing_entries(text: &File, text_bytes: u64, last: Option<Entry>) -> io::Result<Vec<Entry>> {
    let mut missing = Vec::new();
    let mut next = last.unwrap_or(Entry::START);
    let mut is_there = last.is_some();
    let mut block = vec![0; limits::LOG_ENTRY_BYTES + 1];
    while next.offset < text_bytes {
        if !is_there {
            missing.push(next);
        }
        is_there = false;
        let most = block.len().min((text_bytes - next.offset) as usize);
        text.read_exact_at(&mut block[..most], next.offset)?;
        let piece = index::piece(&block[..most], limits::LOG_ENTRY_BYTES).max(1);
        next.offset += piece as u64;
        next.line += memchr::memchr_iter(b'\n', &block[..piece]).count() as u64;
    }
    Ok(missing)
}
