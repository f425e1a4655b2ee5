//! A guest's command, split into words as a shell splits them; nothing is expanded, no shell runs.
//!
//! | written | means |
//! | --- | --- |
//! | blank, tab, line break | ends a word |
//! | `'…'` | all of it as it stands |
//! | `"…"` | as it stands, but `\"`, `\\`, `\$` and `` \` `` lose their backslash |
//! | `\x` outside quotes | `x` as it stands |
//! | `\` before a line break | nothing: the line goes on |
//! | `''`, `""` | an empty word |
//!
//! The rules are those of quoting in the Shell Command Language of POSIX, without comments.

use crate::domain::limits;

/// The words of a command, and what in it a shell would have taken for more than text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitCommand {
    pub words: Vec<String>,
    /// Each once, in the order of appearance: `|`, `$(`, …
    pub shell_like: Vec<&'static str>,
}

/// Why a command has no words. Positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("the {quote} that opens at character {at} is not closed")]
    Unclosed { quote: char, at: usize },
    #[error("a backslash at the end has nothing to escape")]
    TrailingBackslash,
    #[error("more than {} words", limits::GUEST_WORDS)]
    TooMany,
}

/// Splits a command. Never more than [`limits::GUEST_WORDS`] words.
pub fn split_command(text: &str) -> Result<SplitCommand, SplitError> {
    let mut splitter = Splitter { rest: text.chars().collect(), ..Splitter::default() };
    while let Some(c) = splitter.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => splitter.end_word()?,
            '\'' => splitter.single_quoted()?,
            '"' => splitter.double_quoted()?,
            '\\' => splitter.escaped()?,
            other => splitter.plain(other),
        }
    }
    splitter.end_word()?;
    Ok(splitter.split)
}

#[derive(Default)]
struct Splitter {
    rest: std::collections::VecDeque<char>,
    /// Characters taken so far.
    at: usize,
    /// None between words, so that `''` is a word and a blank is not.
    word: Option<String>,
    split: SplitCommand,
}

impl Splitter {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.pop_front();
        self.at += usize::from(next.is_some());
        next
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) -> Result<(), SplitError> {
        if let Some(word) = self.word.take() {
            if self.split.words.len() == limits::GUEST_WORDS {
                return Err(SplitError::TooMany);
            }
            self.split.words.push(word);
        }
        Ok(())
    }

    fn plain(&mut self, c: char) {
        let only_text = match c {
            '|' => Some("|"),
            '<' => Some("<"),
            '>' => Some(">"),
            '&' => Some("&"),
            ';' => Some(";"),
            '*' => Some("*"),
            _ => None,
        };
        self.remark(only_text);
        self.expansion(c);
        self.push(c);
    }

    /// What a shell would expand, inside double quotes too.
    fn expansion(&mut self, c: char) {
        let only_text = match (c, self.rest.front()) {
            ('`', _) => Some("`"),
            ('$', Some('(')) => Some("$("),
            ('$', Some(next)) if next.is_ascii_alphabetic() || matches!(next, '_' | '{') => Some("$NAME"),
            _ => None,
        };
        self.remark(only_text);
    }

    fn remark(&mut self, only_text: Option<&'static str>) {
        let seen = &mut self.split.shell_like;
        seen.extend(only_text.filter(|text| !seen.contains(text)).into_iter().collect::<Vec<_>>());
    }

    fn single_quoted(&mut self) -> Result<(), SplitError> {
        let opened = self.at;
        self.word.get_or_insert_default();
        loop {
            match self.next() {
                None => return Err(SplitError::Unclosed { quote: '\'', at: opened }),
                Some('\'') => return Ok(()),
                Some(c) => self.push(c),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), SplitError> {
        let opened = self.at;
        self.word.get_or_insert_default();
        loop {
            match self.next() {
                None => return Err(SplitError::Unclosed { quote: '"', at: opened }),
                Some('"') => return Ok(()),
                Some('\\') => self.escaped_in_double_quotes(),
                Some(c) => {
                    self.expansion(c);
                    self.push(c);
                }
            }
        }
    }

    fn escaped_in_double_quotes(&mut self) {
        match self.rest.front() {
            Some('\n') => {
                self.next();
            }
            Some(&c @ ('"' | '\\' | '$' | '`')) => {
                self.next();
                self.push(c);
            }
            Some(_) | None => self.push('\\'),
        }
    }

    fn escaped(&mut self) -> Result<(), SplitError> {
        match self.next() {
            None => return Err(SplitError::TrailingBackslash),
            Some('\n') => {}
            Some(c) => self.push(c),
        }
        Ok(())
    }
}
