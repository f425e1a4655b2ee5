//! Changes as a unified diff, as `git apply` takes it: renames are a deletion and an addition; what
//! is not text, too large, or has a name that nobody could type, is named only.

use std::{fmt::Write as _, io, path::Path, time::Duration};

use similar::TextDiff;

use super::{
    beneath::{Kind, Root},
    changes::{Change, Views},
};
use crate::{
    domain::{
        RelativePath,
        limits::{PATCH_BYTES, PATCH_FILE_BYTES},
    },
    protocol::PatchSummary,
};

/// Lines around a change.
const CONTEXT: usize = 3;
/// Time for finding a short diff of one file; a longer one is right, too.
const DIFF_TIME: Duration = Duration::from_millis(500);
/// `git` shows links as files of this mode.
const LINK_MODE: u32 = 0o120_000;

/// A patch and what it comes to.
pub fn write(views: Views<'_>, changes: &[Change]) -> io::Result<(String, PatchSummary)> {
    let (mut text, mut summary) = (String::new(), PatchSummary::default());
    for change in changes {
        let (before, after) = (mode(change.before), mode(change.after));
        match (before, after) {
            // Directories are made by what is in them.
            (None, None) => continue,
            (None, Some(_)) => summary.added += 1,
            (Some(_), Some(_)) => summary.changed += 1,
            (Some(_), None) => summary.deleted += 1,
        }
        let sides = (
            before.map(|_| side(views.before, &change.path, change.before)).transpose()?.unwrap_or(Side::Nothing),
            after.map(|_| side(views.after, &change.path, change.after)).transpose()?.unwrap_or(Side::Nothing),
        );
        let shown = one(&change.path, (before, after), &sides);
        let fits = text.len() + shown.text.len() <= PATCH_BYTES;
        if shown.whole && fits && can_be_applied(&change.path) {
            text.push_str(&shown.text);
            continue;
        }
        summary.unshown += 1;
        let named = format!("{}Binary files differ\n", shown.head);
        if text.len() + named.len() <= PATCH_BYTES {
            text.push_str(&named);
        }
    }
    Ok((text, summary))
}

/// Whether [`crate::runner::patching`] takes the path: a name with control characters, or of no text, is
/// nothing that anybody means.
fn can_be_applied(path: &Path) -> bool {
    path.to_str().is_some_and(|path| RelativePath::new(path).is_ok())
}

/// What a patch sees of a path: files and links.
const fn mode(kind: Option<Kind>) -> Option<u32> {
    match kind {
        // git knows whether a file is executable, and nothing else of its mode.
        Some(Kind::File(bits)) if bits & 0o100 != 0 => Some(0o100_755),
        Some(Kind::File(_)) => Some(0o100_644),
        Some(Kind::Link) => Some(LINK_MODE),
        Some(Kind::Directory | Kind::Other) | None => None,
    }
}

enum Side {
    Nothing,
    Text(String),
    /// Not text, or too large.
    Data,
}

fn side(root: Root<'_>, path: &Path, kind: Option<Kind>) -> io::Result<Side> {
    let bytes = match kind {
        Some(Kind::Link) => Some(root.link(path)?),
        _ => root.read(path, PATCH_FILE_BYTES)?,
    };
    let text = bytes.filter(|bytes| !bytes.contains(&0)).and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.map_or(Side::Data, Side::Text))
}

struct Shown {
    head: String,
    text: String,
    /// Whether the text says all.
    whole: bool,
}

fn one(path: &Path, (before, after): (Option<u32>, Option<u32>), sides: &(Side, Side)) -> Shown {
    let (from, to) = (named("a", path), named("b", path));
    let mut head = format!("diff --git {from} {to}\n");
    match (before, after) {
        (None, Some(mode)) => _ = writeln!(head, "new file mode {mode:o}"),
        (Some(mode), None) => _ = writeln!(head, "deleted file mode {mode:o}"),
        (Some(old), Some(new)) if old != new => _ = write!(head, "old mode {old:o}\nnew mode {new:o}\n"),
        _ => {}
    }
    let (left, right) = match sides {
        (Side::Data, _) | (_, Side::Data) => return Shown { text: head.clone(), head, whole: false },
        (left, right) => (content(left), content(right)),
    };
    let mut text = head.clone();
    if left != right {
        let null = "/dev/null".to_owned();
        let (from, to) = (before.map_or(null.clone(), |_| from), after.map_or(null, |_| to));
        let diff = TextDiff::configure().timeout(DIFF_TIME).diff_lines(left, right);
        text.push_str(&diff.unified_diff().context_radius(CONTEXT).header(&from, &to).to_string());
    }
    Shown { head, text, whole: true }
}

fn content(side: &Side) -> &str {
    match side {
        Side::Text(text) => text,
        Side::Nothing | Side::Data => "",
    }
}

/// A path as `git` writes it: in quotes where it holds what would be mistaken.
fn named(side: &str, path: &Path) -> String {
    let full = format!("{side}/{}", path.display());
    let strange = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\' || byte >= 0x7f;
    let bytes = path.as_os_str().as_encoded_bytes();
    if !bytes.iter().copied().any(strange) {
        return full;
    }
    let mut quoted = format!("\"{side}/");
    for byte in bytes.iter().copied() {
        match byte {
            b'"' | b'\\' => _ = write!(quoted, "\\{}", char::from(byte)),
            byte if strange(byte) => _ = write!(quoted, "\\{byte:03o}"),
            byte => quoted.push(char::from(byte)),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
