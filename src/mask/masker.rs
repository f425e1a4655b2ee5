//! Masking one stream.
//!
//! Every position of the text is decided in order: it begins a secret, or it does not, or that
//! cannot be told before more comes. The first undecided position is where the text is held back,
//! and where the next piece goes on; there is no other state about what was seen.

use std::{collections::VecDeque, fmt, ops::Range, sync::Arc};

use zeroize::{Zeroize, Zeroizing};

use super::{
    MASK, MaskSet, View, Word,
    shapes::{self, Rest, Sight},
};
use crate::domain::limits;

/// What a line begins with whose words are to be masked.
pub(super) const COMMAND: &[u8] = b"::add-mask";
/// Bytes of such a line that are held back for its end; what is longer is masked to its end, and
/// the words that were not held are not added.
const COMMAND_BYTES: usize = limits::VARIABLE_BYTES + 8 * limits::KIB as usize;
/// Bytes from which a held suffix is masked where the text is cut.
const CUT: usize = 4;

/// What comes after the text at hand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Perhaps more.
    More,
    /// Nothing, and what is half there may be half a secret.
    Cut,
    /// Nothing; the text is whole.
    Nothing,
}

/// Masks one stream, whatever pieces it comes in.
pub struct Masker {
    set: Arc<MaskSet>,
    generation: usize,
    refused: usize,
    held: Zeroizing<Vec<u8>>,
    scan: Scan,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Masker {
    pub(super) fn new(set: Arc<MaskSet>) -> Self {
        let generation = set.generation();
        let scan = Scan::new(set.current(), true);
        Self { set, generation, refused: 0, held: Zeroizing::default(), scan }
    }

    /// Appends to `out` what can be said of `input` and of what was held back.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if !input.is_empty() {
            self.run(input, Then::More, out);
        }
    }

    /// The end of the stream, by itself or by force: what is held back is decided. Of a secret that
    /// is cut off, four bytes or more are masked. A stream may go on afterwards.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(&[], Then::Cut, out);
    }

    /// Bytes that wait for what comes next.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many words of `::add-mask` were not taken since the last call: too short, or too many.
    pub fn take_refused(&mut self) -> usize {
        std::mem::take(&mut self.refused)
    }

    fn run(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) {
        if self.generation != self.set.generation() {
            self.renew();
        }
        let mut joined = std::mem::take(&mut self.held);
        let seen = joined.len();
        if seen > 0 {
            append(&mut joined, input);
        }
        let keep = self.decide(if seen > 0 { &joined } else { input }, seen, then, out);
        if seen > 0 {
            joined.drain(..keep);
        } else {
            append(&mut joined, &input[keep..]);
        }
        self.held = joined;
    }

    /// Says what can be said of `text`; returns from where on nothing can.
    fn decide(&mut self, text: &[u8], seen: usize, then: Then, out: &mut Vec<u8>) -> usize {
        self.scan.start(text, seen);
        loop {
            match self.scan.run(text, then, out) {
                Stop::Held(keep) => return keep,
                Stop::Words { words, cut } => {
                    self.refused += self.set.add(&words) + usize::from(cut);
                    self.renew();
                }
            }
        }
    }

    fn renew(&mut self) {
        self.generation = self.set.generation();
        self.scan.view = self.set.current();
    }
}

/// Grows without leaving a copy behind.
fn append(held: &mut Zeroizing<Vec<u8>>, input: &[u8]) {
    if held.capacity() - held.len() < input.len() {
        let mut larger = Vec::with_capacity((held.len() + input.len()) * 2);
        larger.extend_from_slice(held);
        held.zeroize();
        **held = larger;
    }
    held.extend_from_slice(input);
}

/// Masks a text that is all there, without obeying commands in it.
pub(super) fn mask_whole(view: &Arc<View>, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut scan = Scan::new(Arc::clone(view), false);
    scan.start(text, 0);
    scan.run(text, Then::Nothing, &mut out);
    out
}

/// Why a scan stopped.
enum Stop {
    /// These words are to be masked before it goes on; `cut` where the last one was too long.
    Words { words: Vec<Word>, cut: bool },
    /// All but the text from here on is decided.
    Held(usize),
}

/// What one position is.
enum Position {
    Plain,
    Secret {
        end: usize,
    },
    Open,
    /// `end` counts from the position.
    Command {
        end: usize,
    },
}

/// Where the masking of a stream stands. Offsets are those of the text at hand.
struct Scan {
    view: Arc<View>,
    commands: bool,
    /// The next undecided position.
    at: usize,
    /// The text before it is dealt with: printed, or masked with its `*****` printed.
    done: usize,
    /// Secrets that are known before their beginning is reached.
    ahead: VecDeque<Range<usize>>,
    /// A shape that goes on beyond the text.
    rest: Option<Rest>,
    /// No shape is looked for before.
    shapes_from: usize,
    /// No command is looked for before.
    commands_from: usize,
    /// The byte before the text.
    before: u8,
}

impl Scan {
    fn new(view: Arc<View>, commands: bool) -> Self {
        Self {
            view,
            commands,
            at: 0,
            done: 0,
            ahead: VecDeque::new(),
            rest: None,
            shapes_from: 0,
            commands_from: 0,
            before: b'\n',
        }
    }

    /// Begins with a text whose first `seen` bytes were held back.
    fn start(&mut self, text: &[u8], seen: usize) {
        let Some(rest) = &mut self.rest else { return };
        let end = match rest.advance(&text[seen..]) {
            Some(more) => {
                self.rest = None;
                seen + more
            }
            None => text.len(),
        };
        match self.ahead.back_mut().filter(|range| range.end == seen) {
            Some(range) => range.end = end,
            None => self.done = self.done.max(end),
        }
        self.shapes_from = self.shapes_from.max(end);
    }

    fn run(&mut self, text: &[u8], then: Then, out: &mut Vec<u8>) -> Stop {
        loop {
            self.at = self.next(text);
            if self.at >= text.len() {
                return self.hold(text, text.len(), out);
            }
            match self.look(text, then) {
                Position::Plain => {}
                Position::Secret { end } => self.mask(text, end, out),
                Position::Open => return self.hold(text, self.at, out),
                Position::Command { end } => return self.words(text, self.at + end),
            }
            self.at += 1;
        }
    }

    /// The next position worth a look.
    fn next(&self, text: &[u8]) -> usize {
        let found = self.view.filter.next(text, self.at);
        self.ahead.front().map_or(found, |range| found.min(range.start.max(self.at)))
    }

    fn look(&mut self, text: &[u8], then: Then) -> Position {
        let at = self.at;
        let rest = &text[at..];
        let before = at.checked_sub(1).map_or(self.before, |previous| text[previous]);
        if self.commands && before == b'\n' && at >= self.commands_from {
            let command = command(rest, then);
            if !matches!(command, Position::Plain) {
                return command;
            }
        }
        let open = then != Then::Nothing && self.view.goes_on(rest);
        if open && then == Then::More {
            return Position::Open;
        }
        if self.view.well_known && at >= self.shapes_from {
            match shapes::look(text, at, before, then != Then::More) {
                Sight::Nothing => {}
                Sight::Open { .. } if then == Then::More => return Position::Open,
                Sight::Open { from } => {
                    if let Some(from) = from.filter(|from| then == Then::Cut && *from < text.len()) {
                        self.expect(from..text.len());
                    }
                }
                Sight::Secret { at: found, rest } => {
                    self.shapes_from = found.end;
                    self.rest = rest;
                    self.expect(found);
                }
            }
        }
        let cut = (open && rest.len() >= CUT).then_some(text.len());
        let known = self.view.longest(rest).map(|length| at + length);
        let expected = self.ahead.pop_front_if(|range| range.start <= at).map(|range| range.end);
        cut.max(known).max(expected).map_or(Position::Plain, |end| Position::Secret { end })
    }

    /// Notes a secret that begins here or later.
    fn expect(&mut self, range: Range<usize>) {
        let place = self.ahead.partition_point(|other| other.start <= range.start);
        self.ahead.insert(place, range);
    }

    /// The text from here to `end` is secret.
    fn mask(&mut self, text: &[u8], end: usize, out: &mut Vec<u8>) {
        if self.at >= self.done {
            out.extend_from_slice(&text[self.done..self.at]);
            out.extend_from_slice(MASK.as_bytes());
        }
        self.done = self.done.max(end);
    }

    /// Takes the words of a command whose line ends at `end`: they are secret in this line too.
    fn words(&mut self, text: &[u8], end: usize) -> Stop {
        let mut words = Vec::new();
        let mut at = self.at + COMMAND.len();
        self.commands_from = self.at + 1;
        while at < end {
            if text[at].is_ascii_whitespace() {
                at += 1;
                continue;
            }
            let length = text[at..end].iter().position(u8::is_ascii_whitespace).unwrap_or(end - at);
            words.push(Word::new(String::from_utf8_lossy(&text[at..at + length]).into_owned()));
            self.expect(at..at + length);
            at += length;
        }
        let cut = end - self.at >= COMMAND_BYTES;
        if cut {
            self.rest = Some(Rest::Line);
            self.expect(end..text.len());
        }
        Stop::Words { words, cut }
    }

    /// Prints what is decided before `keep` and makes `keep` the text's new beginning.
    fn hold(&mut self, text: &[u8], keep: usize, out: &mut Vec<u8>) -> Stop {
        if self.done < keep {
            out.extend_from_slice(&text[self.done..keep]);
        }
        if keep > 0 {
            self.before = text[keep - 1];
        }
        self.at = 0;
        self.done = self.done.saturating_sub(keep);
        self.shapes_from = self.shapes_from.saturating_sub(keep);
        self.commands_from = self.commands_from.saturating_sub(keep);
        for range in &mut self.ahead {
            *range = range.start.saturating_sub(keep)..range.end.saturating_sub(keep);
        }
        Stop::Held(keep)
    }
}

/// Whether a line is a command to mask its words.
fn command(line: &[u8], then: Then) -> Position {
    let blank = match line.get(COMMAND.len()) {
        None if COMMAND.starts_with(line) && then == Then::More => return Position::Open,
        None => return Position::Plain,
        Some(blank) => blank,
    };
    if !line.starts_with(COMMAND) || !matches!(blank, b' ' | b'\t') {
        return Position::Plain;
    }
    match memchr::memchr(b'\n', &line[..line.len().min(COMMAND_BYTES)]) {
        Some(end) => Position::Command { end },
        None if line.len() < COMMAND_BYTES && then == Then::More => Position::Open,
        None => Position::Command { end: line.len().min(COMMAND_BYTES) },
    }
}
