//! Bytes into UTF-8, whatever pieces they come in.

/// Replaces what is not UTF-8 by U+FFFD, as `String::from_utf8_lossy` does for a whole.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character whose rest has not come: three bytes at most.
    begun: Vec<u8>,
}

const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

impl Utf8 {
    /// Appends `input` to `out`, but for a last character that is not whole yet.
    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if self.begun.is_empty() {
            self.take(input, out);
        } else if !input.is_empty() {
            let mut joined = std::mem::take(&mut self.begun);
            joined.extend_from_slice(input);
            self.take(&joined, out);
        }
    }

    /// The end: a character that was begun is none.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.begun).is_empty() {
            out.extend_from_slice(REPLACEMENT);
        }
    }

    fn take(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        loop {
            let Err(fault) = str::from_utf8(input) else { return out.extend_from_slice(input) };
            let (valid, rest) = input.split_at(fault.valid_up_to());
            out.extend_from_slice(valid);
            let Some(wrong) = fault.error_len() else {
                self.begun = rest.to_vec();
                return;
            };
            out.extend_from_slice(REPLACEMENT);
            input = &rest[wrong..];
        }
    }
}

/// The last position up to `at` where a character begins; `at` itself in what is not UTF-8.
pub(super) fn boundary(text: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at).rev().find(|at| starts_character(text, *at)).filter(|at| *at > 0).unwrap_or(at)
}

/// The first position from `at` on where a character begins.
pub(super) fn next_boundary(text: &[u8], at: usize) -> usize {
    (at..text.len()).find(|at| starts_character(text, *at)).unwrap_or(text.len())
}

fn starts_character(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| byte & 0xC0 != 0x80)
}

/// Bytes of `text` up to a last character that is not whole.
pub(super) fn whole(text: &[u8]) -> usize {
    match str::from_utf8(text) {
        Err(fault) if fault.error_len().is_none() => fault.valid_up_to(),
        _ => text.len(),
    }
}
