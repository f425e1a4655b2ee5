//! Rows of a log: its end, what is before, what is around a line, what contains a word.

use memchr::memmem;

use super::{LogFault, LogReader, Stream, index::Entry, utf8};
use crate::domain::limits;

/// A line, or a part of one longer than `limits::LOG_LINE_BYTES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub line: u64,
    pub offset: u64,
    /// Milliseconds since the phase began.
    pub ms: u64,
    pub stream: Stream,
    /// Without its line end.
    pub text: String,
    /// Whether it does not begin its line.
    pub continued: bool,
}

/// Neighbouring rows, at most `limits::LOG_PAGE_BYTES` of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The text that the rows stand for is `start..end`.
    pub start: u64,
    pub end: u64,
    pub rows: Vec<Row>,
}

/// What one search came upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// One row a line, with the text around the first place in it.
    pub rows: Vec<Row>,
    /// Where to go on; none at the end of the text.
    pub next: Option<u64>,
}

/// Bytes of a found line that are shown before and after the place.
const AROUND: usize = 2 * limits::KIB as usize;
/// Bytes that a search reads at once.
const BLOCK: usize = limits::MIB as usize;

impl LogReader {
    /// The last `n` rows.
    pub fn tail_lines(&self, n: usize) -> Result<Page, LogFault> {
        self.lines_before(self.len()?, n)
    }

    /// The last `n` rows of the text before `offset`.
    pub fn lines_before(&self, offset: u64, n: usize) -> Result<Page, LogFault> {
        let end = offset.min(self.len()?);
        if end == 0 || n == 0 {
            return Ok(Page { start: end, end, rows: Vec::new() });
        }
        let last = self.line_of_offset(end - 1)?;
        let first = last.saturating_sub(n as u64 - 1).max(1);
        let start = self.offset_of_line(first)?.unwrap_or(0).min(end);
        let budget = end.saturating_sub(limits::LOG_PAGE_BYTES as u64);
        let mut page = self.page(start.max(budget), end, start < budget)?;
        let surplus = page.rows.len().saturating_sub(n);
        page.rows.drain(..surplus);
        page.start = page.rows.first().map_or(end, |row| row.offset);
        Ok(page)
    }

    /// The rows of at most `n` lines from `line` on.
    pub fn lines_from(&self, line: u64, n: usize) -> Result<Page, LogFault> {
        let len = self.len()?;
        let Some(start) = self.offset_of_line(line)? else {
            return Ok(Page { start: len, end: len, rows: Vec::new() });
        };
        let end = self.offset_of_line(line.saturating_add(n as u64))?.unwrap_or(len);
        let mut page = self.page(start, end.min(start + limits::LOG_PAGE_BYTES as u64), false)?;
        page.rows.truncate(n);
        page.end = page.rows.last().map_or(page.start, |row| row.offset + row.text.len() as u64);
        if self.range(page.end, 1)? == b"\n" {
            page.end += 1;
        }
        Ok(page)
    }

    /// The rows of `start..end`. With `cut`, `start` is an arbitrary place, and the end of a line
    /// that began before is left out if there is another line and little is lost.
    fn page(&self, mut start: u64, end: u64, cut: bool) -> Result<Page, LogFault> {
        let bytes = self.range(start, (end - start) as usize)?;
        let mut text = bytes.as_slice();
        if cut {
            let near = &text[..text.len().min(limits::LOG_LINE_BYTES)];
            let line_end = memchr::memchr(b'\n', near).map(|at| at + 1).filter(|at| *at < text.len());
            let skip = line_end.unwrap_or_else(|| utf8::next_boundary(text, 0));
            text = &text[skip..];
            start += skip as u64;
        }
        let text = &text[..utf8::whole(text)];
        let rows = self.rows(start, text)?;
        Ok(Page { start, end: start + text.len() as u64, rows })
    }

    fn rows(&self, start: u64, text: &[u8]) -> Result<Vec<Row>, LogFault> {
        let mut known = Known::at(self, start)?;
        let first = self.line_of_offset(start)?;
        let mut continued = start > 0 && self.range(start - 1, 1)? != b"\n";
        let mut rows = Vec::new();
        let mut offset = start;
        for (line, whole) in (first..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            let mut rest = whole.strip_suffix(b"\n").unwrap_or(whole);
            let end = offset + whole.len() as u64;
            loop {
                let most = rest.len().min(limits::LOG_LINE_BYTES);
                let (part, after) = rest.split_at(utf8::boundary(rest, most));
                let entry = known.forward_to(self, offset)?;
                let text = String::from_utf8_lossy(part).into_owned();
                rows.push(Row { line, offset, ms: entry.ms.into(), stream: entry.stream, text, continued });
                offset += part.len() as u64;
                if after.is_empty() {
                    break;
                }
                continued = true;
                rest = after;
            }
            offset = end;
            continued = false;
        }
        Ok(rows)
    }

    /// Lines from `from` on that contain `needle`, at most `limit` of them. One call looks through
    /// `limits::LOG_SEARCH_BYTES`; go on at [`Found::next`] until there is none.
    pub fn search(&self, needle: &str, from: u64, limit: usize) -> Result<Found, LogFault> {
        let mut found = Found { rows: Vec::new(), next: None };
        let needle = needle.as_bytes();
        if needle.is_empty() || needle.len() > limits::LOG_NEEDLE_BYTES {
            return Ok(found);
        }
        let stop = from.saturating_add(limits::LOG_SEARCH_BYTES);
        let finder = memmem::Finder::new(needle);
        let mut at = from;
        loop {
            let block = self.range(at, BLOCK)?;
            if block.len() < needle.len() {
                return Ok(found);
            }
            let Some(place) = finder.find(&block) else {
                at += (block.len() - needle.len() + 1) as u64;
                if at >= stop {
                    found.next = Some(at);
                    return Ok(found);
                }
                continue;
            };
            let row = self.row_around(at + place as u64, needle.len())?;
            at = self.line_end_after(at + place as u64, &block[place..])?;
            found.rows.push(row);
            if found.rows.len() >= limit || at >= stop {
                found.next = (at < self.len()?).then_some(at);
                return Ok(found);
            }
        }
    }

    /// The offset after the line that `offset` is in; `text` is what follows there, as far as it is
    /// at hand. In a very long line the search goes on within it.
    fn line_end_after(&self, offset: u64, text: &[u8]) -> Result<u64, LogFault> {
        if let Some(line_end) = memchr::memchr(b'\n', text) {
            return Ok(offset + line_end as u64 + 1);
        }
        let more = self.range(offset, limits::LOG_LINE_BYTES)?;
        Ok(offset + memchr::memchr(b'\n', &more).map_or(more.len(), |line_end| line_end + 1) as u64)
    }

    fn row_around(&self, place: u64, bytes: usize) -> Result<Row, LogFault> {
        let from = place.saturating_sub(AROUND as u64);
        let text = self.range(from, AROUND * 2 + bytes)?;
        let at = (place - from) as usize;
        let begins = memchr::memrchr(b'\n', &text[..at]).map(|line_end| line_end + 1);
        let start = begins.unwrap_or_else(|| utf8::next_boundary(&text, 0).min(at));
        let ends = memchr::memchr(b'\n', &text[at..]).map(|line_end| at + line_end);
        let end = ends.unwrap_or_else(|| start + utf8::whole(&text[start..]));
        let offset = from + start as u64;
        let entry = self.entry_at(offset)?.1;
        Ok(Row {
            line: self.line_of_offset(offset)?,
            offset,
            ms: entry.ms.into(),
            stream: entry.stream,
            text: String::from_utf8_lossy(&text[start..end]).into_owned(),
            continued: begins.is_none() && from > 0,
        })
    }
}

/// The entry of an offset that moves forward.
struct Known {
    entry: Entry,
    next: Option<(u64, Entry)>,
}

impl Known {
    fn at(log: &LogReader, offset: u64) -> Result<Self, LogFault> {
        let (number, entry) = log.entry_at(offset)?;
        Ok(Self { entry, next: numbered(log, number.map(|number| number + 1))? })
    }

    fn forward_to(&mut self, log: &LogReader, offset: u64) -> Result<Entry, LogFault> {
        while let Some((number, entry)) = self.next.filter(|(_, entry)| entry.offset <= offset) {
            self.entry = entry;
            self.next = numbered(log, Some(number + 1))?;
        }
        Ok(self.entry)
    }
}

fn numbered(log: &LogReader, number: Option<u64>) -> Result<Option<(u64, Entry)>, LogFault> {
    let Some(number) = number else { return Ok(None) };
    Ok(log.entry(number)?.map(|entry| (number, entry)))
}
