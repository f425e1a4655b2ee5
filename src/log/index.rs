//! The index: one fixed-width entry per piece of text, at most `limits::LOG_ENTRY_BYTES` of it.
//!
//! Version 1, little-endian. A header as wide as an entry, then entries in the order of the text:
//!
//! | bytes | header | entry |
//! | --- | --- | --- |
//! | 0–7 | `airlkidx` | offset of the piece in the text |
//! | 8–15 | u16 version, u16 bytes of an entry, zeros | line ends in the text before it |
//! | 16–19 | zeros | milliseconds since the phase began |
//! | 20 | 0 | stream: 0 stdout, 1 stderr, 2 Airlock |
//! | 21 | 0 | 0 |
//! | 22–23 | check | check: FNV-1a of bytes 0–21, folded to 16 bits |

use super::Stream;

/// Bytes of the header and of each entry.
pub(super) const WIDTH: usize = 24;
const MAGIC: [u8; 8] = *b"airlkidx";
const VERSION: u16 = 1;

/// What is known of the text from `offset` to the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: u64,
    /// Line ends before it.
    pub(super) line: u64,
    pub(super) ms: u32,
    pub(super) stream: Stream,
}

impl Entry {
    /// What holds where there is no entry.
    pub(super) const START: Self = Self { offset: 0, line: 0, ms: 0, stream: Stream::Stdout };

    pub(super) fn encode(self) -> [u8; WIDTH] {
        let mut bytes = [0; WIDTH];
        bytes[0..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.line.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.ms.to_le_bytes());
        bytes[20] = match self.stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
            Stream::Airlock => 2,
        };
        checked(bytes)
    }

    /// The entry; none if these bytes are not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; WIDTH] = bytes.try_into().ok()?;
        let stream = match bytes[20] {
            0 => Stream::Stdout,
            1 => Stream::Stderr,
            2 => Stream::Airlock,
            _ => return None,
        };
        let number = |from: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[from + i]));
        let ms = u32::from_le_bytes(std::array::from_fn(|i| bytes[16 + i]));
        (checked(bytes) == bytes).then(|| Self { offset: number(0), line: number(8), ms, stream })
    }
}

pub(super) fn header() -> [u8; WIDTH] {
    let mut bytes = [0; WIDTH];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[10] = WIDTH as u8;
    checked(bytes)
}

fn checked(mut bytes: [u8; WIDTH]) -> [u8; WIDTH] {
    let hash = bytes[..WIDTH - 2]
        .iter()
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let check = (hash >> 16) as u16 ^ hash as u16;
    bytes[WIDTH - 2..].copy_from_slice(&check.to_le_bytes());
    bytes
}

/// How much of `text` the next entry stands for: as many whole lines, or else whole characters, as
/// fit into `most` bytes.
pub(super) fn piece(text: &[u8], most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    match memchr::memrchr(b'\n', &text[..most]) {
        Some(line_end) => line_end + 1,
        None => super::utf8::boundary(text, most),
    }
}
