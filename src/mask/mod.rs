//! Secrets never reach a disk, a page or a message: the set of what is secret, and the masker that
//! replaces it by `*****`, in text at hand and in streams.
//!
//! Owns what is searched for (`forms`, `shapes`) and how (`patterns`, `masker`). Knows
//! neither files nor runs.
//!
//! Invariants:
//! - No byte of any occurrence of any pattern is printed, overlapping ones included. Occurrences
//!   that overlap become one `*****`; occurrences that only touch keep one each.
//! - What comes out does not depend on the pieces that the text came in.
//! - Held back is only the longest suffix that a pattern begins with.

mod forms;
mod masker;
mod patterns;
mod shapes;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

pub use masker::Masker;
use patterns::{Filter, Patterns};

use crate::{crypt::Secret, domain::limits};

/// A value that a run declared secret by `::add-mask`.
pub type Word = Secret<String>;

/// What stands for a secret.
pub const MASK: &str = "*****";

/// Everything that one run must not show.
pub struct MaskSet {
    view: RwLock<(Arc<View>, Vec<Word>)>,
    /// Counts the views, so that maskers see cheaply that theirs is old.
    generation: AtomicUsize,
}

/// One state of the set: what is searched for.
struct View {
    /// The given values first, then added words in sets that grow towards the front, so that adding
    /// words one by one stays cheap.
    sets: Vec<Arc<Patterns>>,
    /// How many words each set behind the first stands for.
    words: Vec<usize>,
    filter: Filter,
    well_known: bool,
}

impl MaskSet {
    /// The values in all their forms; values below `limits::SECRET_MIN_CHARS` are no secrets.
    /// `well_known` adds the shapes that need no value: access keys, tokens, private keys.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>, well_known: bool) -> Arc<Self> {
        let given = patterns_of(values);
        let mut view = View { sets: vec![given], words: Vec::new(), filter: Filter::new(0), well_known };
        view.filter = view.filter_of_all();
        Arc::new(Self { view: RwLock::new((Arc::new(view), Vec::new())), generation: AtomicUsize::new(0) })
    }

    /// Masks `words` too, from now on, in every masker of this set. Words that are too short or come
    /// after `limits::ADDED_MASKS` others are not taken; says how many.
    pub fn add(&self, words: &[Word]) -> usize {
        let mut guard = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let (view, added) = &mut *guard;
        let before = added.len();
        let mut refused = 0;
        for word in words {
            if word.expose().chars().count() < limits::SECRET_MIN_CHARS {
                refused += 1;
            } else if !added.contains(word) {
                if added.len() < limits::ADDED_MASKS {
                    added.push(word.clone());
                } else {
                    refused += 1;
                }
            }
        }
        if added.len() > before {
            *view = Arc::new(view.with(added, added.len() - before));
            self.generation.fetch_add(1, Ordering::Release);
        }
        refused
    }

    /// The words added so far, for later phases.
    pub fn added(&self) -> Vec<Word> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The text with every secret replaced.
    pub fn mask_text(&self, text: &str) -> String {
        let masked = masker::mask_whole(&self.current(), text.as_bytes());
        String::from_utf8(masked).unwrap_or_else(|fault| String::from_utf8_lossy(fault.as_bytes()).into_owned())
    }

    pub fn contains_secret(&self, text: &str) -> bool {
        masker::mask_whole(&self.current(), text.as_bytes()) != text.as_bytes()
    }

    /// A masker for one stream of output, which also obeys `::add-mask WORD…`.
    pub fn masker(self: &Arc<Self>) -> Masker {
        Masker::new(Arc::clone(self))
    }

    fn current(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    fn generation(&self) -> usize {
        self.generation.load(Ordering::Acquire)
    }
}

impl fmt::Debug for MaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskSet(…)")
    }
}

impl View {
    /// This view and the last `new` of `all` words.
    fn with(&self, all: &[Word], new: usize) -> Self {
        let mut sets = self.sets.clone();
        let mut words = self.words.clone();
        let mut last = new;
        while let Some(count) = words.pop_if(|count| *count <= last) {
            last += count;
            sets.pop();
        }
        sets.push(patterns_of(all[all.len() - last..].iter().map(|word| word.expose().as_bytes())));
        words.push(last);
        let mut view = Self { sets, words, filter: self.filter.clone(), well_known: self.well_known };
        if view.filter.is_full(view.count()) {
            view.filter = view.filter_of_all();
        } else if let Some(newest) = view.sets.last() {
            newest.iter().for_each(|pattern| view.filter.add(pattern));
        }
        view
    }

    fn count(&self) -> usize {
        self.sets.iter().map(|set| set.len()).sum()
    }

    fn filter_of_all(&self) -> Filter {
        let mut filter = Filter::new(self.count());
        filter.add(masker::COMMAND);
        if self.well_known {
            shapes::heads(&mut |head| filter.add(head));
        }
        self.sets.iter().flat_map(|set| set.iter()).for_each(|pattern| filter.add(pattern));
        filter
    }

    fn longest(&self, text: &[u8]) -> Option<usize> {
        self.sets.iter().filter_map(|set| set.longest(text)).max()
    }

    fn goes_on(&self, text: &[u8]) -> bool {
        text.len() < patterns::LONGEST && self.sets.iter().any(|set| set.goes_on(text))
    }
}

fn patterns_of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Arc<Patterns> {
    let mut patterns = Patterns::default();
    for value in values {
        forms::each(value, &mut |form| patterns.add(form));
    }
    patterns.sort();
    Arc::new(patterns)
}
