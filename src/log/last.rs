//! The last thing that one stream of a log says.

use super::{LogFault, LogReader, Stream, index::Entry};
use crate::domain::limits;

/// Bytes of the line that are looked at, from its end.
const BYTES: u64 = 16 * limits::KIB;
/// Entries of the index that are read at once.
const ENTRIES: u64 = 4_096;

impl LogReader {
    /// The last line of a stream that is not blank, whatever the others said after it: without control
    /// characters, blanks around it, and what is before its last 16 KiB.
    pub fn last_line(&self, of: Stream) -> Result<Option<String>, LogFault> {
        let (mut end, mut text) = (self.len()?, Vec::new());
        let mut above = self.entries()?;
        while above > 0 {
            let first = above.saturating_sub(ENTRIES);
            for entry in self.entries_from(first, above - first)?.into_iter().rev() {
                // Streams switch at line ends only: what another one said ends the line.
                if let Some(line) = last_of(&text).filter(|(_, begun)| *begun || entry.stream != of) {
                    return Ok(Some(line.0));
                }
                if entry.stream == of {
                    text.splice(0..0, self.end_of(entry, end, BYTES.saturating_sub(text.len() as u64))?);
                    if last_of(&text).is_none() {
                        text.clear();
                    }
                }
                end = entry.offset;
            }
            above = first;
        }
        Ok(last_of(&text).map(|(line, _)| line))
    }

    fn end_of(&self, entry: Entry, end: u64, most: u64) -> Result<Vec<u8>, LogFault> {
        let start = entry.offset.max(end.saturating_sub(most));
        self.range(start, usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX))
    }
}

/// The last line that is not blank, and whether it is known to be whole, or long enough.
fn last_of(text: &[u8]) -> Option<(String, bool)> {
    let lossy = String::from_utf8_lossy(text);
    let mut lines = lossy.split('\n').rev().map(plain);
    let line = lines.find(|line| !line.is_empty())?;
    let begun = lines.next().is_some() || text.len() as u64 >= BYTES;
    Some((line, begun))
}

fn plain(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}
