//! Changes as a unified diff, as `git apply` takes it: renames, and files that become links, are a
//! deletion and an addition; a link is a file that holds where it leads. What is not text, too large, or
//! has a name that nobody could type, is named only.

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    fmt::Write as _,
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

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
    source::links::{self, Leads},
};

/// Lines around a change.
const CONTEXT: usize = 3;
/// Time for finding short diffs of all files; longer ones are right, too.
const DIFF_TIME: Duration = Duration::from_secs(10);
/// `git` shows links as files of this mode.
const LINK_MODE: u32 = 0o120_000;

/// A patch and what it comes to.
pub fn write(views: Views<'_>, changes: &[Change]) -> io::Result<(String, PatchSummary)> {
    write_by(Instant::now() + DIFF_TIME, views, changes)
}

fn write_by(deadline: Instant, views: Views<'_>, changes: &[Change]) -> io::Result<(String, PatchSummary)> {
    let mut writing = Writing { views, deadline, text: String::new(), full: false, summary: PatchSummary::default() };
    // What stands where a directory stood comes after what was in that.
    let (gone, rest): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| mode(change.after).is_none());
    for change in gone.into_iter().chain(rest) {
        let (before, after) = (mode(change.before), mode(change.after));
        match (before, after) {
            (Some(old), Some(new)) if (old == LINK_MODE) != (new == LINK_MODE) => {
                writing.one(&change.path, change.before, None)?;
                writing.one(&change.path, None, change.after)?;
            }
            // Directories are made by what is in them.
            (None, None) => {}
            _ => writing.one(&change.path, change.before, change.after)?,
        }
    }
    Ok((writing.text, writing.summary))
}

struct Writing<'a> {
    views: Views<'a>,
    deadline: Instant,
    text: String,
    /// Something did not fit any more: what follows is only named.
    full: bool,
    summary: PatchSummary,
}

impl Writing<'_> {
    fn one(&mut self, path: &Path, before: Option<Kind>, after: Option<Kind>) -> io::Result<()> {
        let modes = (mode(before), mode(after));
        match modes {
            (None, _) => self.summary.added += 1,
            (Some(_), Some(_)) => self.summary.changed += 1,
            (Some(_), None) => self.summary.deleted += 1,
        }
        let head = head(path, modes);
        let sides = match self.full || !can_be_applied(path) {
            true => (Side::Data, Side::Data),
            false => (side(self.views.before, path, before)?, side(self.views.after, path, after)?),
        };
        let lines = lines(path, &sides, self.deadline);
        self.full |= lines.as_ref().is_some_and(|lines| self.text.len() + head.len() + lines.len() > PATCH_BYTES);
        let lines = lines.filter(|_| !self.full).unwrap_or_else(|| {
            self.summary.unshown += 1;
            "Binary files differ\n".to_owned()
        });
        if self.text.len() + head.len() + lines.len() <= PATCH_BYTES {
            self.text.push_str(&head);
            self.text.push_str(&lines);
        }
        Ok(())
    }
}

/// The links that came or changed and lead out of the workspace, each with its target.
pub fn leading_out(views: Views<'_>, changes: &[Change]) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let symlink = |path: &[u8]| {
        let path = Path::new(OsStr::from_bytes(path));
        let is_link = matches!(views.after.look(path), Ok(Some((Kind::Link, _))));
        is_link.then(|| views.after.link(path).ok()).flatten().map(Cow::Owned)
    };
    let mut steps = links::STEPS;
    let mut found = Vec::new();
    for Change { path, .. } in changes.iter().filter(|change| change.after == Some(Kind::Link)) {
        let target = views.after.link(path)?;
        if links::leads(path.as_os_str().as_bytes(), &target, &symlink, &mut steps) != Leads::Inside {
            found.push((path.clone(), PathBuf::from(OsString::from_vec(target))));
        }
    }
    Ok(found)
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
        None | Some(Kind::Directory | Kind::Other) => return Ok(Side::Nothing),
        Some(Kind::Link) => Some(root.link(path)?),
        Some(Kind::File(_)) => root.read(path, PATCH_FILE_BYTES)?,
    };
    let text = bytes.filter(|bytes| !bytes.contains(&0)).and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.map_or(Side::Data, Side::Text))
}

fn head(path: &Path, (before, after): (Option<u32>, Option<u32>)) -> String {
    let mut head = format!("diff --git {} {}\n", named("a", path), named("b", path));
    match (before, after) {
        (None, Some(mode)) => _ = writeln!(head, "new file mode {mode:o}"),
        (Some(mode), None) => _ = writeln!(head, "deleted file mode {mode:o}"),
        (Some(old), Some(new)) if old != new => _ = write!(head, "old mode {old:o}\nnew mode {new:o}\n"),
        _ => {}
    }
    head
}

/// What differs, line by line; none where that cannot be shown.
fn lines(path: &Path, sides: &(Side, Side), deadline: Instant) -> Option<String> {
    let (left, right) = match sides {
        (Side::Data, _) | (_, Side::Data) => return None,
        (left, right) => (content(left), content(right)),
    };
    if left == right {
        return Some(String::new());
    }
    let name = |side: &Side, of: &str| match side {
        Side::Nothing => "/dev/null".to_owned(),
        Side::Text(_) | Side::Data => named(of, path),
    };
    // Lines end where `git` and the runner see their end: a carriage return alone is a part of one.
    let [old, new]: [Vec<&str>; 2] = [left, right].map(|text| text.split_inclusive('\n').collect());
    let diff = TextDiff::configure().deadline(deadline).diff_slices(&old, &new);
    let mut text = format!("--- {}\n+++ {}\n", name(&sides.0, "a"), name(&sides.1, "b"));
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        _ = writeln!(text, "{}", hunk.header());
        for change in hunk.iter_changes() {
            _ = write!(text, "{}{}", change.tag(), change.value());
            if !change.value().ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    Some(text)
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
