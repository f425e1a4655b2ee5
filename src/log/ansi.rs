//! Colours of terminals, as names of classes. No HTML here.

/// A piece of a line with one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Names of classes, apart by blanks; empty for plain text.
    pub class: String,
    pub text: String,
}

/// What one line leaves to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ansi {}

impl Ansi {
    /// The spans of one line (without its line end).
    pub fn line(&mut self, _line: &str) -> Vec<Span> {
        unimplemented!()
    }
}

/// A line without its escape sequences and overwritten parts.
pub fn plain(_line: &str) -> String {
    unimplemented!()
}
