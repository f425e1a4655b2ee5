//! Finding many patterns at once.
//!
//! All patterns lie sorted in one arena, in buckets by their first four bytes. A [`Filter`] of
//! three-byte groups says which positions of a text are worth a look; it is asked for every second
//! position only. Both need nothing but the text at hand, so there is no automaton to build when a
//! pattern is added and none to carry along from one piece of a stream to the next.
//!
//! Invariants: a pattern has [`SHORTEST`] to [`LONGEST`] bytes; what is longer is cut into pieces
//! that overlap by one byte, so that the pieces found make one whole again.

use std::cmp::Ordering;

use zeroize::Zeroize;

/// Bytes of the shortest pattern: what the filter looks at.
pub(super) const SHORTEST: usize = 4;
/// Bytes of the longest piece. More is never held back, and no comparison is longer.
pub(super) const LONGEST: usize = 256;

#[derive(Clone, Copy)]
struct Span {
    at: usize,
    len: u16,
    /// The longest pattern that this one begins with, by its place; `NONE` without one.
    parent: u32,
}

const NONE: u32 = u32::MAX;

/// A set of byte strings.
#[derive(Default)]
pub(super) struct Patterns {
    arena: Vec<u8>,
    spans: Vec<Span>,
    /// Where each bucket begins in `spans`, and one more.
    buckets: Vec<u32>,
    /// The first three bytes of every pattern, sorted.
    heads: Vec<[u8; 3]>,
}

impl Drop for Patterns {
    fn drop(&mut self) {
        self.arena.zeroize();
        self.heads.zeroize();
    }
}

impl Patterns {
    /// Takes one pattern of any length. Nothing is found before [`Self::sort`].
    pub(super) fn add(&mut self, pattern: &[u8]) {
        if pattern.len() < SHORTEST {
            return;
        }
        let mut start = 0;
        while pattern.len() - start > LONGEST {
            self.add_piece(&pattern[start..start + LONGEST]);
            start += LONGEST - 1;
        }
        let start = start.min(pattern.len() - SHORTEST);
        self.add_piece(&pattern[start..]);
    }

    fn add_piece(&mut self, piece: &[u8]) {
        let at = self.arena.len();
        self.make_room(piece.len());
        self.arena.extend_from_slice(piece);
        self.spans.push(Span { at, len: piece.len() as u16, parent: NONE });
    }

    /// Grows without leaving a copy behind.
    fn make_room(&mut self, bytes: usize) {
        if self.arena.capacity() - self.arena.len() < bytes {
            let mut larger = Vec::with_capacity((self.arena.len() + bytes) * 2);
            larger.extend_from_slice(&self.arena);
            std::mem::replace(&mut self.arena, larger).zeroize();
        }
    }

    /// Makes what was added findable.
    pub(super) fn sort(&mut self) {
        let bits = (self.spans.len() * 4).next_power_of_two().clamp(1 << 10, 1 << 20).trailing_zeros();
        let arena = &self.arena;
        let bytes = |span: &Span| &arena[span.at..][..usize::from(span.len)];
        self.spans.sort_unstable_by(|a, b| {
            let (a, b) = (bytes(a), bytes(b));
            bucket(a, bits).cmp(&bucket(b, bits)).then_with(|| a.cmp(b))
        });
        self.spans.dedup_by(|b, a| bytes(a) == bytes(b));
        let mut above: Vec<u32> = Vec::new();
        for place in 0..self.spans.len() {
            let own = bytes(&self.spans[place]);
            while above.last().is_some_and(|parent| !own.starts_with(bytes(&self.spans[*parent as usize]))) {
                above.pop();
            }
            self.spans[place].parent = above.last().copied().unwrap_or(NONE);
            above.push(place as u32);
        }
        let mut buckets = vec![0_u32; (1 << bits) + 1];
        for span in &self.spans {
            buckets[bucket(bytes(span), bits) + 1] += 1;
        }
        for place in 1..buckets.len() {
            buckets[place] += buckets[place - 1];
        }
        self.heads = self.spans.iter().map(|span| [0, 1, 2].map(|i| bytes(span)[i])).collect();
        self.heads.sort_unstable();
        self.heads.dedup();
        self.buckets = buckets;
    }

    fn pattern(&self, place: usize) -> &[u8] {
        let span = self.spans[place];
        &self.arena[span.at..][..usize::from(span.len)]
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.spans.len()).map(|place| self.pattern(place))
    }

    /// The patterns that share the bucket of `text`'s first four bytes.
    fn near(&self, text: &[u8]) -> std::ops::Range<usize> {
        if self.spans.is_empty() || text.len() < SHORTEST {
            return 0..0;
        }
        let bucket = bucket(text, (self.buckets.len() - 1).trailing_zeros());
        self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize
    }

    /// The first place in `near` whose pattern is greater than `text`.
    fn after(&self, near: &std::ops::Range<usize>, text: &[u8]) -> usize {
        let (mut low, mut high) = (near.start, near.end);
        while low < high {
            let middle = low.midpoint(high);
            if self.pattern(middle).cmp(text) == Ordering::Greater { high = middle } else { low = middle + 1 }
        }
        low
    }

    /// Length of the longest pattern that `text` begins with.
    ///
    /// Every such pattern sorts before `text`, and is therefore the last pattern that does, or one
    /// that this begins with.
    pub(super) fn longest(&self, text: &[u8]) -> Option<usize> {
        let near = self.near(text);
        if near.is_empty() {
            return None;
        }
        let after = self.after(&near, text);
        if after == near.start {
            return None;
        }
        let last = self.pattern(after - 1);
        if text.starts_with(last) {
            return Some(last.len());
        }
        let common = last.iter().zip(text).take_while(|(a, b)| a == b).count();
        let mut span = self.spans[after - 1];
        while usize::from(span.len) > common {
            span = *self.spans.get(span.parent as usize)?;
        }
        Some(usize::from(span.len))
    }

    /// Whether a pattern begins with all of `text` and goes on.
    pub(super) fn goes_on(&self, text: &[u8]) -> bool {
        if text.len() < SHORTEST {
            let place = self.heads.partition_point(|head| head.as_slice() < text);
            return self.heads.get(place).is_some_and(|head| head.starts_with(text));
        }
        let near = self.near(text);
        let after = self.after(&near, text);
        after < near.end && self.pattern(after).starts_with(text)
    }
}

fn bucket(text: &[u8], bits: u32) -> usize {
    let head = u32::from_le_bytes([text[0], text[1], text[2], text[3]]);
    (head.wrapping_mul(0x9E37_79B1) >> (32 - bits)) as usize
}

/// Where a pattern may begin. No pattern's beginning is missed; some say yes for nothing.
#[derive(Clone)]
pub(super) struct Filter {
    bits: Vec<u64>,
    shift: u32,
}

/// Bits of the largest filter, as a power of two.
const MOST_BITS: u32 = 23;

impl Filter {
    /// Room for `patterns`, so that few places are looked at for nothing.
    pub(super) fn new(patterns: usize) -> Self {
        let bits = (patterns * 64).next_power_of_two().clamp(1 << 16, 1 << MOST_BITS).trailing_zeros();
        Self { bits: vec![0; 1 << (bits - 6)], shift: 32 - bits }
    }

    /// Whether it has too little room for `patterns` to be of use.
    pub(super) fn is_full(&self, patterns: usize) -> bool {
        patterns * 16 > self.bits.len() * 64 && self.bits.len() < 1 << (MOST_BITS - 6)
    }

    /// Takes the beginning (four bytes or more) of a pattern.
    pub(super) fn add(&mut self, head: &[u8]) {
        for group in head[..SHORTEST].windows(3) {
            let slot = self.slot(u32::from_le_bytes([group[0], group[1], group[2], 0]));
            self.bits[slot >> 6] |= 1 << (slot & 63);
        }
    }

    #[inline]
    fn slot(&self, group: u32) -> usize {
        ((group & 0x00FF_FFFF).wrapping_mul(0x9E37_79B1) >> self.shift) as usize
    }

    #[inline]
    fn has(&self, group: u32) -> bool {
        let slot = self.slot(group);
        self.bits[slot >> 6] >> (slot & 63) & 1 == 1
    }

    /// The first position from `from` on where a pattern may begin; all of the last bytes are such
    /// positions. A pattern that begins at an even distance from `from` is seen by its second group,
    /// one at an odd distance by its first.
    #[inline]
    pub(super) fn next(&self, text: &[u8], from: usize) -> usize {
        let mut at = from;
        while let Some(window) = text.get(at + 1..).and_then(<[u8]>::first_chunk::<8>) {
            // Three groups of one load: their look-ups do not wait for each other.
            let window = u64::from_le_bytes(*window);
            let [first, second, third] = [0, 16, 32].map(|bits| self.has((window >> bits) as u32));
            if first | second | third {
                return at
                    + if first {
                        0
                    } else if second {
                        2
                    } else {
                        4
                    };
            }
            at += 6;
        }
        at
    }
}
