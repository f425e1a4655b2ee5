//! What a guest was refused: noted by the engine, bounded, equal ones counted together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    domain::limits,
    protocol::{Denial, DenialKind},
};

/// Notes shared by everything that refuses.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Seen>>);

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub denials: Vec<Denial>,
    /// Refusals that found no room in `denials`.
    pub dropped: u64,
    /// A request for memory was refused.
    pub memory: bool,
    /// A write found the cap of files reached.
    pub files: bool,
}

impl Watch {
    pub fn deny(&self, kind: DenialKind, tried: &str) {
        self.seen().deny(kind, shown(tried));
    }

    /// A cap was hit that the guest is told of: it may live with that.
    pub fn memory_cap(&self, asked_bytes: usize) {
        let mut seen = self.seen();
        if !seen.memory {
            seen.memory = true;
            seen.deny(DenialKind::Cap, format!("memory: {asked_bytes} bytes"));
        }
    }

    pub fn files_cap(&self, call: &str, path: &str) {
        let mut seen = self.seen();
        if !seen.files {
            seen.files = true;
            seen.deny(DenialKind::Cap, shown(format!("files: {call} {path}").trim_end()));
        }
    }

    pub fn take(&self) -> Seen {
        std::mem::take(&mut self.seen())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn deny(&mut self, kind: DenialKind, tried: String) {
        if let Some(denial) = self.denials.iter_mut().find(|denial| denial.kind == kind && denial.tried == tried) {
            denial.count += 1;
        } else if self.denials.len() < limits::DENIALS {
            self.denials.push(Denial { kind, tried, count: 1 });
        } else {
            self.dropped += 1;
        }
    }
}

/// A guest's text for other eyes: no control characters, not too long.
pub fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(limits::DENIAL_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(limits::DENIAL_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_refusals_are_counted_and_different_ones_are_bounded() {
        let watch = Watch::default();
        for _ in 0..3 {
            watch.deny(DenialKind::Path, "path_open /etc/passwd");
        }
        for n in 0..1_000 {
            watch.deny(DenialKind::Path, &format!("path_open ../{n}"));
        }
        let seen = watch.take();
        assert_eq!((seen.denials[0].count, seen.denials.len()), (3, limits::DENIALS));
        assert_eq!(seen.dropped, 1_001 - limits::DENIALS as u64);
    }

    #[test]
    fn a_refusal_cannot_write_into_a_terminal() {
        let watch = Watch::default();
        watch.deny(DenialKind::Path, &format!("path_open \x1b[2J{}", "x".repeat(1_000)));
        let tried = &watch.take().denials[0].tried;
        assert!(!tried.contains('\x1b') && tried.chars().count() <= limits::DENIAL_CHARS + 1);
    }
}
