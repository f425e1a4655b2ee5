//! The one file that a finished log is kept in.
//!
//! A zstd file in the seekable format: the text in independent frames of `limits::LOG_FRAME_BYTES`,
//! then two skippable frames. `zstd -d` gives the text. All numbers are little-endian u32.
//!
//! | part | bytes |
//! | --- | --- |
//! | text | frames |
//! | index | magic `0x184D2A50`, bytes that follow, number of frames, their sizes, frames of the index file |
//! | seek table | magic `0x184D2A5E`, bytes that follow; per frame its size and the size of what is in it (the index counts as one frame with nothing in it); number of frames, one zero byte, magic `0x8F92EAB1` |

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use std::sync::{Mutex, PoisonError};

use crate::domain::limits;

pub(super) const INDEX_MAGIC: u32 = 0x184D_2A50;
pub(super) const TABLE_MAGIC: u32 = 0x184D_2A5E;
pub(super) const FOOTER_MAGIC: u32 = 0x8F92_EAB1;
const FOOTER: u64 = 9;
/// Frames that a file may claim to have: more would be a log of 1 TiB.
const MOST_FRAMES: u32 = 1 << 22;

/// Where a frame lies and what is in it.
#[derive(Clone, Copy, Debug)]
struct Frame {
    at: u64,
    bytes: u32,
    /// Offset of its content in the whole content.
    from: u64,
    holds: u32,
}

/// One content in frames.
#[derive(Debug)]
pub(super) struct Frames {
    file: Arc<File>,
    all: Vec<Frame>,
    len: u64,
    /// The frame that was decoded last.
    last: Mutex<Option<(usize, Arc<Vec<u8>>)>>,
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The text and the index of a finished log.
pub(super) fn open(file: File) -> io::Result<(Frames, Frames)> {
    let file = Arc::new(file);
    let end = file.metadata()?.len();
    let mut footer = [0; FOOTER as usize];
    file.read_exact_at(&mut footer, end.checked_sub(FOOTER).ok_or_else(|| damaged("it is too short"))?)?;
    let count = number(&footer, 0);
    if number(&footer, 5) != FOOTER_MAGIC || footer[4] != 0 || !(1..MOST_FRAMES).contains(&count) {
        return Err(damaged("it does not end as a finished log does"));
    }
    let table_bytes = u64::from(count) * 8 + FOOTER;
    let table_at = end.checked_sub(table_bytes + 8).ok_or_else(|| damaged("its seek table is too long"))?;
    let table = read(&file, table_at, table_bytes + 8)?;
    if number(&table, 0) != TABLE_MAGIC || u64::from(number(&table, 4)) != table_bytes {
        return Err(damaged("its seek table does not begin where it should"));
    }
    let sizes = (0..count as usize).map(|i| (number(&table, 8 + i * 8), number(&table, 12 + i * 8)));
    let mut text: Vec<_> = sizes.collect();
    let index_bytes = text.pop().filter(|(_, holds)| *holds == 0).ok_or_else(|| damaged("it has no index"))?.0;
    let index_at = table_at.checked_sub(index_bytes.into()).ok_or_else(|| damaged("its index is too long"))?;
    let text = Frames::new(&file, 0, text)?;
    if text.end() != index_at {
        return Err(damaged("its frames do not fill it"));
    }
    let index = open_index(&file, index_at, index_bytes)?;
    Ok((text, index))
}

fn open_index(file: &Arc<File>, at: u64, bytes: u32) -> io::Result<Frames> {
    let head = read(file, at, 12)?;
    let count = number(&head, 8);
    if number(&head, 0) != INDEX_MAGIC
        || u64::from(number(&head, 4)) + 8 != u64::from(bytes)
        || u64::from(count) * 8 > bytes.into()
    {
        return Err(damaged("its index does not begin as one"));
    }
    let table = read(file, at + 12, u64::from(count) * 8)?;
    let sizes = (0..count as usize).map(|i| (number(&table, i * 8), number(&table, i * 8 + 4))).collect();
    Frames::new(file, at + 12 + u64::from(count) * 8, sizes)
}

fn read(file: &File, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes as usize];
    file.read_exact_at(&mut buffer, at)?;
    Ok(buffer)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

impl Frames {
    fn new(file: &Arc<File>, mut at: u64, sizes: Vec<(u32, u32)>) -> io::Result<Self> {
        let mut len = 0;
        let mut frames = Vec::with_capacity(sizes.len());
        for (bytes, holds) in sizes {
            let most = limits::LOG_FRAME_BYTES;
            if holds == 0 || holds as usize > most || bytes as usize > 2 * most {
                return Err(damaged("one of its frames has an impossible size"));
            }
            frames.push(Frame { at, bytes, from: len, holds });
            at += u64::from(bytes);
            len += u64::from(holds);
        }
        Ok(Self { file: Arc::clone(file), all: frames, len, last: Mutex::new(None) })
    }

    fn end(&self) -> u64 {
        self.all.last().map_or(0, |frame| frame.at + u64::from(frame.bytes))
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads from `offset`, at most `max` bytes and not beyond the end.
    pub(super) fn read_at(&self, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let end = self.len.min(offset.saturating_add(max as u64));
        let mut out = Vec::with_capacity(end.saturating_sub(offset) as usize);
        let mut at = offset;
        while at < end {
            let number = self.all.partition_point(|frame| frame.from <= at) - 1;
            let content = self.decode(number)?;
            let from = (at - self.all[number].from) as usize;
            let to = content.len().min(from + (end - at) as usize);
            out.extend_from_slice(&content[from..to]);
            at += (to - from) as u64;
        }
        Ok(out)
    }

    fn decode(&self, number: usize) -> io::Result<Arc<Vec<u8>>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((decoded, content)) = &*last
            && *decoded == number
        {
            return Ok(Arc::clone(content));
        }
        let frame = self.all[number];
        let packed = read(&self.file, frame.at, frame.bytes.into())?;
        let content = zstd::bulk::decompress(&packed, frame.holds as usize)
            .map_err(|_| damaged("one of its frames cannot be decoded"))?;
        if content.len() != frame.holds as usize {
            return Err(damaged("one of its frames is too short"));
        }
        let content = Arc::new(content);
        *last = Some((number, Arc::clone(&content)));
        Ok(content)
    }
}
