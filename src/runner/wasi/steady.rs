//! What guests see of files, the same on every machine.
//!
//! A file system has its own mind about numbers of files, the order of a directory, its size, and the
//! time at which a workspace was unpacked. What a guest does with any of them takes fuel.

use super::clock::FROZEN;
use crate::protocol::GuestClock;

/// The least number of a file that a guest sees. All of them have 18 decimal digits and between 59 and
/// 60 bits: to print one, or to count with it, takes the same fuel.
const LEAST_INODE: u64 = 600_000_000_000_000_000;
const INODES: u64 = 400_000_000_000_000_000;

/// A file's number as guests see it.
pub fn inode(inode: u64) -> u64 {
    LEAST_INODE + inode % INODES
}

/// What every directory takes, as most file systems say.
pub const DIRECTORY_BYTES: u64 = 4_096;

/// The time at which every file was made, read and changed; none where a guest's clock is real.
pub fn time(clock: GuestClock) -> Option<std::time::Duration> {
    match clock {
        GuestClock::Frozen => Some(FROZEN),
        GuestClock::Real => None,
    }
}

/// Bytes of a directory's entry before its name: cookie of the next entry, number of the file, length of
/// the name, kind.
const HEAD_BYTES: usize = 24;

/// A directory as preview 1 hands it over: by name, behind the two entries that every directory has.
pub struct Listing {
    bytes: Vec<u8>,
    /// Where each entry begins.
    begins: Vec<usize>,
}

struct Entry<'a> {
    inode: u64,
    kind: [u8; 4],
    name: &'a [u8],
}

impl Listing {
    /// Out of entries in any order. One that is cut off counts as none.
    pub fn new(given: &[u8]) -> Self {
        let mut entries = entries(given);
        entries.sort_unstable_by_key(|entry| (entry.name != b".", entry.name != b"..", entry.name));
        let (mut bytes, mut begins) = (Vec::with_capacity(given.len()), Vec::with_capacity(entries.len()));
        for (next, entry) in (1_u64..).zip(&entries) {
            begins.push(bytes.len());
            bytes.extend(next.to_le_bytes());
            bytes.extend(inode(entry.inode).to_le_bytes());
            bytes.extend((entry.name.len() as u32).to_le_bytes());
            bytes.extend(entry.kind);
            bytes.extend(entry.name);
        }
        Self { bytes, begins }
    }

    /// The entries from a cookie on, as far as there is room: the last one may be cut off.
    pub fn part(&self, cookie: u64, room: usize) -> &[u8] {
        let begin = usize::try_from(cookie).ok().and_then(|cookie| self.begins.get(cookie));
        let rest = &self.bytes[begin.copied().unwrap_or(self.bytes.len())..];
        &rest[..rest.len().min(room)]
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

fn entries(mut bytes: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() {
        let [_, _, _, _, _, _, _, _, i0, i1, i2, i3, i4, i5, i6, i7, n0, n1, n2, n3, kind @ ..] = *head;
        let length = u32::from_le_bytes([n0, n1, n2, n3]) as usize;
        let Some((name, rest)) = rest.split_at_checked(length) else { break };
        entries.push(Entry { inode: u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]), kind, name });
        bytes = rest;
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_file_is_as_long_whatever_it_is() {
        for number in [0, 1, 1 << 30, INODES - 1, INODES, u64::MAX] {
            let shown = inode(number);
            assert_eq!((shown.to_string().len(), shown.ilog2()), (18, 59), "{number}");
        }
    }

    fn entry(next: u64, number: u64, name: &str) -> Vec<u8> {
        let length = (name.len() as u32).to_le_bytes();
        [&next.to_le_bytes()[..], &number.to_le_bytes(), &length, &[3, 0, 0, 0], name.as_bytes()].concat()
    }

    #[test]
    fn a_directory_is_listed_by_name_whatever_order_it_has() {
        let given = [entry(9, 1, ".."), entry(4, 2, "long name"), entry(5, 3, "B"), entry(7, 4, "."), entry(2, 5, "a")];
        let names = [(".", 4), ("..", 1), ("B", 3), ("a", 5), ("long name", 2)];
        let shown: Vec<_> = (1..).zip(names).map(|(next, (name, number))| entry(next, inode(number), name)).collect();
        let listing = Listing::new(&given.concat());
        assert_eq!(listing.part(0, usize::MAX), shown.concat());
        for (cookie, rest) in (0..).zip((0..=5).map(|from| shown[from..].concat())) {
            assert_eq!(listing.part(cookie, usize::MAX), rest, "{cookie}");
            assert_eq!(listing.part(cookie, 30), &rest[..rest.len().min(30)], "{cookie}");
        }
        assert_eq!(listing.part(u64::MAX, 100), [0_u8; 0]);
    }

    #[test]
    fn an_entry_that_is_cut_off_is_none() {
        let whole = entry(1, 1, "a");
        for cut in [1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 3] {
            let given = [&whole[..], &entry(2, 2, "torn")[..cut]].concat();
            assert_eq!(Listing::new(&given).part(0, usize::MAX), entry(1, inode(1), "a"), "{cut}");
        }
    }
}
