//! Secrets never reach a disk, a page or a message: the set of what is secret, and the masker that
//! replaces it by `*****`, in text at hand and in streams.

use std::sync::Arc;

use crate::crypt::Secret;

/// A value that a run declared secret by `::add-mask`.
pub type Word = Secret<String>;

/// What stands for a secret.
pub const MASK: &str = "*****";

/// Everything that one run must not show.
pub struct MaskSet {}

impl MaskSet {
    /// The values in all their forms; values below `limits::SECRET_MIN_CHARS` are no secrets.
    pub fn new<'a>(_values: impl IntoIterator<Item = &'a [u8]>, _well_known: bool) -> Arc<Self> {
        unimplemented!()
    }

    /// Masks `words` too, from now on, in every masker of this set. At most `limits::ADDED_MASKS` are
    /// taken; says how many were not.
    pub fn add(&self, _words: &[Word]) -> usize {
        unimplemented!()
    }

    /// The words added so far, for later phases.
    pub fn added(&self) -> Vec<Word> {
        unimplemented!()
    }

    /// The text with every secret replaced.
    pub fn mask_text(&self, _text: &str) -> String {
        unimplemented!()
    }

    pub fn contains_secret(&self, _text: &str) -> bool {
        unimplemented!()
    }

    /// A masker for one stream of output, which also obeys `::add-mask WORD…`.
    pub fn masker(self: &Arc<Self>) -> Masker {
        unimplemented!()
    }
}

/// Masks one stream, whatever pieces it comes in.
pub struct Masker {}

impl Masker {
    pub fn push(&mut self, _input: &[u8], _out: &mut Vec<u8>) {
        unimplemented!()
    }

    /// The end of the stream, by itself or by force: what is held back is decided.
    pub fn finish(&mut self, _out: &mut Vec<u8>) {
        unimplemented!()
    }
}
