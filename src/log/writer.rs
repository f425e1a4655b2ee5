//! Writing a log: mask, make it UTF-8, interleave the streams at line ends, append.
//!
//! Owned by one thread, which also waits for output; nothing here waits. Times are spans since the
//! phase began, and come from the caller.

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::Duration,
};

use super::{
    LogFault, Stream,
    append::{Appender, later},
    error_line,
    utf8::Utf8,
};
use crate::{
    domain::limits,
    mask::{MaskSet, Masker, Word},
};

/// Bytes that are read at once.
const BUFFER: usize = 64 * limits::KIB as usize;

/// Writes one phase's log.
#[derive(Debug)]
pub struct LogWriter {
    files: Appender,
    masks: Arc<MaskSet>,
    stdout: Lane,
    stderr: Lane,
    limit: u64,
    kept: u64,
    dropped: u64,
    refused: usize,
    scratch: Vec<u8>,
}

/// One stream on its way into the text.
#[derive(Debug)]
struct Lane {
    masker: Masker,
    utf8: Utf8,
    /// What waits because the other stream's line is open, and since when.
    ready: Vec<u8>,
    since: Duration,
}

/// What a finished log came to.
#[derive(Debug)]
pub struct Summary {
    /// Bytes of masked text, Airlock's notes included.
    pub bytes: u64,
    pub lines: u64,
    /// Bytes of output that came after the limit and were not kept.
    pub dropped_bytes: u64,
    /// Words masked by `::add-mask`, in this phase and in those before it that shared the set.
    pub added_masks: Vec<Word>,
    /// A line that probably says what went wrong: masked, plain, at most 200 characters.
    pub error_line: Option<String>,
}

impl Lane {
    fn new(masks: &Arc<MaskSet>) -> Self {
        Self { masker: masks.masker(), utf8: Utf8::default(), ready: Vec::new(), since: Duration::ZERO }
    }
}

impl LogWriter {
    /// Makes both files; they must not exist. `limit` bytes of output are kept.
    pub fn create(text: &Path, index: &Path, masks: Arc<MaskSet>, limit: u64) -> Result<Self, LogFault> {
        Ok(Self {
            files: Appender::create(text, index)?,
            stdout: Lane::new(&masks),
            stderr: Lane::new(&masks),
            masks,
            limit,
            kept: 0,
            dropped: 0,
            refused: 0,
            scratch: Vec::new(),
        })
    }

    /// Takes output. What comes after the limit is looked through for `::add-mask` and dropped.
    /// Output of [`Stream::Airlock`] is a [`note`](Self::note).
    pub fn write(&mut self, at: Duration, stream: Stream, bytes: &[u8]) -> Result<(), LogFault> {
        if stream == Stream::Airlock {
            return self.note(at, &String::from_utf8_lossy(bytes));
        }
        let room = usize::try_from(self.limit - self.kept).unwrap_or(usize::MAX);
        let (kept, dropped) = bytes.split_at(bytes.len().min(room));
        if !kept.is_empty() {
            self.kept += kept.len() as u64;
            self.take(at, stream, |lane, out| lane.masker.push(kept, out))?;
        }
        if !dropped.is_empty() {
            self.drop_output(at, stream, dropped)?;
        }
        self.flush_due(at)
    }

    #[cfg(test)]
    pub(super) fn files(&mut self) -> &mut Appender {
        &mut self.files
    }

    /// Writes all of `output`, read by this thread alone: pipe, masker, file. `now` is the time since
    /// the phase began. Returns how many bytes came.
    pub fn write_all_of(
        &mut self,
        stream: Stream,
        output: &mut impl Read,
        now: impl Fn() -> Duration,
    ) -> Result<u64, LogFault> {
        let mut buffer = vec![0; BUFFER];
        let mut total = 0;
        loop {
            match output.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(read) => {
                    total += read as u64;
                    self.write(now(), stream, &buffer[..read])?;
                }
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(self.files.fault(fault)),
            }
        }
    }

    /// Writes a line of Airlock's own, `[airlock] …`, at once.
    pub fn note(&mut self, at: Duration, text: &str) -> Result<(), LogFault> {
        self.switch(at)?;
        let line = format!("[airlock] {}\n", self.masks.mask_text(text).replace(['\n', '\r'], " "));
        self.files.append(at, Stream::Airlock, line.as_bytes())?;
        self.files.flush(at)
    }

    /// When [`Self::flush_due`] wants to be called, if anything waits.
    pub fn due(&self) -> Option<Duration> {
        let text = self.files.due();
        let lanes = [&self.stdout, &self.stderr];
        let lane = lanes.into_iter().filter(|lane| !lane.ready.is_empty()).map(|lane| later(lane.since)).min();
        text.into_iter().chain(lane).min()
    }

    /// Writes what has waited for `limits::LOG_FLUSH`. A stream that waited so long for the end of
    /// the other's line gets a line end from us.
    pub fn flush_due(&mut self, at: Duration) -> Result<(), LogFault> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let lane = self.lane(stream);
            if !lane.ready.is_empty() && at >= later(lane.since) {
                self.place_all(at, stream)?;
            }
        }
        if self.due().is_some_and(|due| at >= due) {
            self.files.flush(at)?;
        }
        Ok(())
    }

    /// Bytes of text in the file: what the doorbell says.
    pub fn len(&self) -> u64 {
        self.files.written()
    }

    pub fn is_empty(&self) -> bool {
        self.files.written() == 0
    }

    /// Bytes of output that were dropped so far.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Ends both streams, writes everything, fsyncs the text (the index can be made from it).
    pub fn finish(mut self, at: Duration) -> Result<Summary, LogFault> {
        self.cut(at)?;
        self.say_refused(at)?;
        if self.dropped > 0 {
            let text = format!("{} bytes of output were dropped, the limit being {}", self.dropped, size(self.limit));
            self.note(at, &text)?;
        }
        self.files.flush(at)?;
        self.files.sync()?;
        Ok(Summary {
            bytes: self.files.written(),
            lines: self.files.line_ends() + u64::from(self.files.open_line().is_some()),
            dropped_bytes: self.dropped,
            added_masks: self.masks.added(),
            error_line: error_line::of(&self.files.reader()?)?,
        })
    }

    fn lane(&mut self, stream: Stream) -> &mut Lane {
        if stream == Stream::Stderr { &mut self.stderr } else { &mut self.stdout }
    }

    /// Sends what `mask` gives through the rest of the way.
    fn take(
        &mut self,
        at: Duration,
        stream: Stream,
        mask: impl FnOnce(&mut Lane, &mut Vec<u8>),
    ) -> Result<(), LogFault> {
        let mut masked = std::mem::take(&mut self.scratch);
        masked.clear();
        let lane = self.lane(stream);
        mask(lane, &mut masked);
        if lane.ready.is_empty() {
            lane.since = at;
        }
        lane.utf8.push(&masked, &mut lane.ready);
        let refused = lane.masker.take_refused();
        self.refused += refused;
        self.scratch = masked;
        self.place(at, stream)?;
        if self.files.open_line().is_none() {
            self.say_refused(at)?;
        }
        Ok(())
    }

    /// Puts what is ready into the text as far as no line of the other stream is in the way.
    fn place(&mut self, at: Duration, stream: Stream) -> Result<(), LogFault> {
        let other = if stream == Stream::Stderr { Stream::Stdout } else { Stream::Stderr };
        if self.files.open_line() == Some(other) {
            return Ok(());
        }
        if self.lane(other).ready.is_empty() {
            return self.place_lines(at, stream, usize::MAX);
        }
        let Some(line_end) = memchr::memrchr(b'\n', &self.lane(stream).ready) else {
            return self.place_lines(at, stream, usize::MAX);
        };
        // The other stream waits for the end of this line: it comes before what follows.
        self.place_lines(at, stream, line_end + 1)?;
        self.place_lines(at, other, usize::MAX)?;
        if self.files.open_line().is_none() { self.place_lines(at, stream, usize::MAX) } else { Ok(()) }
    }

    fn place_lines(&mut self, at: Duration, stream: Stream, most: usize) -> Result<(), LogFault> {
        let lane = self.lane(stream);
        let since = lane.since;
        let mut ready = std::mem::take(&mut lane.ready);
        let end = ready.len().min(most);
        self.files.append(since, stream, &ready[..end])?;
        ready.drain(..end);
        let lane = self.lane(stream);
        lane.ready = ready;
        lane.since = at;
        Ok(())
    }

    /// Puts all that is ready of `stream` into the text, ending another's open line.
    fn place_all(&mut self, at: Duration, stream: Stream) -> Result<(), LogFault> {
        if self.files.open_line().is_some_and(|open| open != stream) {
            self.files.end_line()?;
        }
        self.place_lines(at, stream, usize::MAX)
    }

    /// Puts everything into the text and ends an open line.
    fn switch(&mut self, at: Duration) -> Result<(), LogFault> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.lane(stream).ready.is_empty() {
                self.place_all(at, stream)?;
            }
        }
        if self.files.open_line().is_some() { self.files.end_line() } else { Ok(()) }
    }

    /// Decides what the maskers hold back, as at the end.
    fn cut(&mut self, at: Duration) -> Result<(), LogFault> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.dropped > 0 {
                self.discard(stream, Masker::finish);
                continue;
            }
            self.take(at, stream, |lane, out| lane.masker.finish(out))?;
            let lane = self.lane(stream);
            lane.utf8.finish(&mut lane.ready);
            if !lane.ready.is_empty() {
                self.place_all(at, stream)?;
            }
        }
        Ok(())
    }

    fn drop_output(&mut self, at: Duration, stream: Stream, bytes: &[u8]) -> Result<(), LogFault> {
        if self.dropped == 0 {
            self.cut(at)?;
            self.note(at, &format!("the output limit of {} is reached: what follows is dropped", size(self.limit)))?;
        }
        self.dropped += bytes.len() as u64;
        self.discard(stream, |masker, out| masker.push(bytes, out));
        Ok(())
    }

    /// Lets a masker see output that is not kept, for the words in it.
    fn discard(&mut self, stream: Stream, mask: impl FnOnce(&mut Masker, &mut Vec<u8>)) {
        let mut masked = std::mem::take(&mut self.scratch);
        masked.clear();
        let lane = self.lane(stream);
        mask(&mut lane.masker, &mut masked);
        let refused = lane.masker.take_refused();
        self.refused += refused;
        self.scratch = masked;
    }

    fn say_refused(&mut self, at: Duration) -> Result<(), LogFault> {
        let refused = std::mem::take(&mut self.refused);
        if refused == 0 {
            return Ok(());
        }
        let text = format!(
            "::add-mask: {refused} word(s) not masked from here on: a word needs {} characters, a run has {} words",
            limits::SECRET_MIN_CHARS,
            limits::ADDED_MASKS,
        );
        self.note(at, &text)
    }
}

fn size(bytes: u64) -> String {
    if bytes >= limits::MIB && bytes.is_multiple_of(limits::MIB) {
        format!("{} MiB", bytes / limits::MIB)
    } else {
        format!("{bytes} bytes")
    }
}
