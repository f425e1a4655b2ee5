//! What the parser's refusals are called here.

use granit_parser::{ErrorKind, ScanError};

use crate::domain::limits;

use super::{super::error::Position, Flaw, build::position};

const SPACES: &str = "YAML indents with spaces only";

/// The flaw that ended the parser's work. A tab in the indentation is blamed whatever the parser
/// stumbled over because of it.
pub(super) fn syntax(text: &str, error: &ScanError) -> Flaw {
    let at = position(error.marker());
    if let Some(tab) = tab_in_indentation(text, at) {
        return Flaw::new(tab, "a tab stands in the indentation", SPACES).hint("replace it by spaces");
    }
    let (what, why) = match error.kind() {
        ErrorKind::RecursionLimitExceeded => return too_deep(at),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => {
            let tab = tab_from(text, at).unwrap_or(at);
            return Flaw::new(tab, "a tab stands where YAML allows none", SPACES).hint("replace it by spaces");
        }
        ErrorKind::UnclosedQuotedScalar => ("a quoted text is not closed", "the file ends before its second quote"),
        ErrorKind::InvalidQuotedScalarIndent => {
            ("a quoted text goes on where it cannot", "its second quote is missing, or its lines are not indented")
        }
        ErrorKind::UnclosedFlowCollection { open } => {
            return Flaw::new(at, format!("a `{open}` is not closed"), "the file ends before its other half");
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            return Flaw::new(at, format!("a `{close}` closes a `{open}`"), "brackets close in pairs");
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            return Flaw::new(at, "a `:` stands where none is expected", "it would make a key inside a value")
                .hint("quote the text when the colon belongs to it; else look for a missing `:` or indentation above");
        }
        ErrorKind::InvalidIndentation | ErrorKind::ExpectedBlockMappingKey | ErrorKind::ExpectedBlockSequenceEntry => {
            ("this does not fit what stands above", "keys and items of one level begin in the same column")
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            ("a `:` is missing", "a key is followed by `: ` on the same line")
        }
        ErrorKind::UnknownAnchor => {
            ("this alias names no anchor", "`*name` refers to a value that was marked `&name` above")
        }
        ErrorKind::DirectiveDisallowed => ("a `%` directive stands here", "YAML directives are not read"),
        ErrorKind::UnknownQuotedScalarEscape => {
            return Flaw::new(at, "an unknown `\\` escape stands in a double-quoted text", "YAML does not define it")
                .hint("write `\\\\` for a backslash, or use single quotes");
        }
        ErrorKind::UnexpectedCharacter { character } => {
            let what = format!("the character U+{:04X} begins a value", u32::from(*character));
            return Flaw::new(at, what, "YAML does not allow it here").hint("quote the text");
        }
        other => return Flaw::new(at, "this is not valid YAML", other.to_string().to_lowercase()),
    };
    Flaw::new(at, what, why)
}

pub(super) fn too_deep(at: Position) -> Flaw {
    let why = format!("at most {} maps and lists may stand within each other", limits::MANIFEST_DEPTH);
    Flaw::new(at, "this is nested too deeply", why)
}

/// A tab among the blanks that begin the line of a flaw, or the line before it.
fn tab_in_indentation(text: &str, at: Position) -> Option<Position> {
    [at.line, at.line.saturating_sub(1)].into_iter().find_map(|line| {
        let content = text.lines().nth((line as usize).checked_sub(1)?)?;
        let column = content.chars().take_while(|c| matches!(c, ' ' | '\t')).position(|c| c == '\t')?;
        Some(Position { line, column: column as u32 + 1 })
    })
}

/// The first tab from a place on: the parser may name the end of what stands before it.
fn tab_from(text: &str, at: Position) -> Option<Position> {
    let lines = text.lines().zip(1_u32..).skip(at.line as usize - 1);
    lines.into_iter().find_map(|(content, line)| {
        let skipped = if line == at.line { at.column as usize - 1 } else { 0 };
        let column = content.chars().skip(skipped).position(|c| c == '\t')? + skipped;
        Some(Position { line, column: column as u32 + 1 })
    })
}
