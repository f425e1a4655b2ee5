//! Applies a patch that [`super::wasi::patch`] wrote: strictly, so that what was looked at is what
//! comes out. Pure; the workspace is behind [`Files`].
//!
//! No line is searched for anywhere but where it stood, and nothing fits "about".

use crate::domain::RelativePath;

/// The files that a patch changes.
pub trait Files {
    type Error;

    /// The content of a regular file; none when there is none.
    fn read(&self, path: &RelativePath) -> Result<Option<Vec<u8>>, Self::Error>;
    /// Writes a file; `executable` is none where it stays as it is.
    fn write(&self, path: &RelativePath, content: &[u8], executable: Option<bool>) -> Result<(), Self::Error>;
    fn remove(&self, path: &RelativePath) -> Result<(), Self::Error>;
}

/// Why a patch cannot be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatchError<E> {
    #[error("line {line} of the patch is not understood: {what}")]
    Foreign { line: usize, what: &'static str },
    #[error("the patch does not fit `{path}`: {why}")]
    Unfit { path: RelativePath, why: String },
    #[error(transparent)]
    Files(E),
}

/// Applies all of it; says how many files it changed.
pub fn apply<F: Files>(patch: &str, files: &F) -> Result<usize, PatchError<F::Error>> {
    let mut lines = Lines { lines: patch.split_inclusive('\n').collect(), at: 0 };
    let mut changed = 0;
    while lines.peek().is_some() {
        one(&mut lines, files)?;
        changed += 1;
    }
    Ok(changed)
}

struct Lines<'p> {
    lines: Vec<&'p str>,
    at: usize,
}

impl<'p> Lines<'p> {
    fn peek(&self) -> Option<&'p str> {
        self.lines.get(self.at).map(|line| line.strip_suffix('\n').unwrap_or(line))
    }

    fn next(&mut self) -> Option<&'p str> {
        let line = self.peek();
        self.at += 1;
        line
    }

    /// What follows `start` on the next line, if it begins with that.
    fn after(&mut self, start: &str) -> Option<&'p str> {
        let rest = self.peek()?.strip_prefix(start)?;
        self.at += 1;
        Some(rest)
    }

    const fn foreign<E>(&self, what: &'static str) -> PatchError<E> {
        PatchError::Foreign { line: self.at + 1, what }
    }
}

/// The changes of one file.
fn one<F: Files>(lines: &mut Lines<'_>, files: &F) -> Result<(), PatchError<F::Error>> {
    let names = lines.after("diff --git ").ok_or_else(|| lines.foreign("`diff --git` is expected"))?;
    let path = path_of(names).ok_or_else(|| lines.foreign("the file's name"))?;
    let added = lines.after("new file mode ");
    let deleted = lines.after("deleted file mode ");
    let (old, new) = (lines.after("old mode "), lines.after("new mode "));
    let modes = [added, deleted, old, new].into_iter().flatten();
    if modes.into_iter().any(|mode| !matches!(mode, "100644" | "100755")) {
        return Err(unfit(&path, "symbolic links are not applied"));
    }
    if lines.peek() == Some("Binary files differ") {
        return Err(unfit(&path, "it is binary, or too large to be shown"));
    }
    let before = files.read(&path).map_err(PatchError::Files)?;
    let before = match (before, added) {
        (Some(_), Some(_)) => return Err(unfit(&path, "it is there already")),
        (None, None) => return Err(unfit(&path, "it is not there")),
        (before, _) => before.unwrap_or_default(),
    };
    let before = String::from_utf8(before).map_err(|_| unfit(&path, "it is not text"))?;
    let after = if lines.after("--- ").is_some() {
        lines.after("+++ ").ok_or_else(|| lines.foreign("`+++` is expected"))?;
        hunks(lines, &path, &before)?
    } else {
        before
    };
    let done = match deleted {
        Some(_) if after.is_empty() => files.remove(&path),
        Some(_) => return Err(unfit(&path, "something of it would be left")),
        None => files.write(&path, after.as_bytes(), added.or(new).map(|mode| mode == "100755")),
    };
    done.map_err(PatchError::Files)
}

fn unfit<E>(path: &RelativePath, why: impl Into<String>) -> PatchError<E> {
    PatchError::Unfit { path: path.clone(), why: why.into() }
}

fn hunks<E>(lines: &mut Lines<'_>, path: &RelativePath, before: &str) -> Result<String, PatchError<E>> {
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let (mut after, mut at) = (String::new(), 0);
    while let Some(head) = lines.after("@@ -") {
        let hunk = Hunk::read(head).ok_or_else(|| lines.foreign("the lines that it is about"))?;
        let start = if hunk.old == 0 { hunk.start } else { hunk.start.saturating_sub(1) };
        let between = old.get(at..start).ok_or_else(|| unfit(path, format!("it has no line {}", hunk.start)))?;
        after.extend(between.iter().copied());
        at = start;
        let (mut left_old, mut left_new) = (hunk.old, hunk.new);
        while left_old + left_new > 0 {
            let line = lines.next().ok_or_else(|| lines.foreign("it ends within a change"))?;
            let (sign, text) = line.split_at_checked(1).unwrap_or((" ", ""));
            let ended = lines.after("\\ No newline").is_none();
            let whole = if ended { format!("{text}\n") } else { text.to_owned() };
            if matches!(sign, " " | "-") {
                if old.get(at).copied() != Some(whole.as_str()) {
                    return Err(unfit(path, format!("line {} is another one", at + 1)));
                }
                at += 1;
                left_old = left_old.checked_sub(1).ok_or_else(|| lines.foreign("too many lines"))?;
            }
            match sign {
                " " | "+" => {
                    after.push_str(&whole);
                    left_new = left_new.checked_sub(1).ok_or_else(|| lines.foreign("too many lines"))?;
                }
                "-" => {}
                _ => return Err(lines.foreign("a line begins with a blank, + or -")),
            }
        }
    }
    after.extend(old[at..].iter().copied());
    Ok(after)
}

struct Hunk {
    start: usize,
    old: usize,
    new: usize,
}

impl Hunk {
    /// `1,4 +1,5 @@`
    fn read(text: &str) -> Option<Self> {
        let (old, rest) = text.split_once(" +")?;
        let (new, _) = rest.split_once(" @@")?;
        let range = |text: &str| match text.split_once(',') {
            Some((start, count)) => Some((start.parse::<usize>().ok()?, count.parse::<usize>().ok()?)),
            None => Some((text.parse().ok()?, 1)),
        };
        let ((start, old), (_, new)) = (range(old)?, range(new)?);
        Some(Self { start, old, new })
    }
}

/// `a/x b/x`, or both in quotes: the path, which is the same on both sides.
fn path_of(names: &str) -> Option<RelativePath> {
    if names.starts_with('"') {
        let end = names.len().checked_sub(1)? / 2;
        let (one, other) = (names.get(..end)?, names.get(end + 1..)?);
        let path = unquote(one.strip_prefix("\"a/")?.strip_suffix('"')?)?;
        let again = unquote(other.strip_prefix("\"b/")?.strip_suffix('"')?)?;
        return (path == again).then(|| RelativePath::new(path).ok()).flatten().filter(is_file);
    }
    let end = names.len().checked_sub(1)? / 2;
    let (one, other) = (names.get(..end)?.strip_prefix("a/")?, names.get(end + 1..)?.strip_prefix("b/")?);
    (one == other).then(|| RelativePath::new(one).ok()).flatten().filter(is_file)
}

fn is_file(path: &RelativePath) -> bool {
    !path.as_str().is_empty()
}

/// Back from how `git` writes strange names.
fn unquote(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next()? {
            escaped @ (b'"' | b'\\') => bytes.push(escaped),
            digit @ b'0'..=b'3' => {
                let digits = [digit, rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()?);
            }
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, convert::Infallible};

    use super::*;

    #[derive(Default)]
    struct Memory(RefCell<BTreeMap<String, (Vec<u8>, bool)>>);

    impl Memory {
        fn with(files: &[(&str, &str)]) -> Self {
            let of = |(path, text): &(&str, &str)| ((*path).to_owned(), (text.as_bytes().to_vec(), false));
            Self(RefCell::new(files.iter().map(of).collect()))
        }

        fn text(&self, path: &str) -> Option<String> {
            self.0.borrow().get(path).map(|(bytes, _)| String::from_utf8(bytes.clone()).unwrap())
        }
    }

    impl Files for Memory {
        type Error = Infallible;

        fn read(&self, path: &RelativePath) -> Result<Option<Vec<u8>>, Infallible> {
            Ok(self.0.borrow().get(path.as_str()).map(|(bytes, _)| bytes.clone()))
        }

        fn write(&self, path: &RelativePath, content: &[u8], executable: Option<bool>) -> Result<(), Infallible> {
            let mut files = self.0.borrow_mut();
            let was = files.get(path.as_str()).is_some_and(|(_, executable)| *executable);
            files.insert(path.to_string(), (content.to_vec(), executable.unwrap_or(was)));
            Ok(())
        }

        fn remove(&self, path: &RelativePath) -> Result<(), Infallible> {
            self.0.borrow_mut().remove(path.as_str());
            Ok(())
        }
    }

    const PATCH: &str = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1,4 +1,4 @@\n one\n-two\n+TWO\n three\n four\n\
        @@ -7,2 +7,3 @@\n seven\n eight\n+nine\n\\ No newline at end of file\n\
        diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
        diff --git \"a/\\303\\244 \\\"b\" \"b/\\303\\244 \\\"b\"\nnew file mode 100755\n--- /dev/null\n+++ \"b/\\303\\244 \\\"b\"\n@@ -0,0 +1 @@\n+#!/bin/sh\n\
        diff --git a/empty b/empty\nnew file mode 100644\n";

    fn base() -> Memory {
        Memory::with(&[("a.txt", "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n"), ("gone", "x\n")])
    }

    #[test]
    fn files_are_changed_added_and_deleted_as_the_patch_says() {
        let files = base();
        assert_eq!(apply(PATCH, &files), Ok(4));
        assert_eq!(files.text("a.txt").unwrap(), "one\nTWO\nthree\nfour\nfive\nsix\nseven\neight\nnine");
        assert_eq!(files.text("gone"), None);
        assert_eq!(files.text("empty").unwrap(), "");
        assert_eq!(files.0.borrow()["ä \"b"], (b"#!/bin/sh\n".to_vec(), true));
    }

    #[test]
    fn a_patch_of_another_source_is_refused_with_the_line() {
        let files = Memory::with(&[("a.txt", "one\n2\nthree\nfour\n"), ("gone", "x\n")]);
        assert_eq!(
            apply(PATCH, &files).unwrap_err().to_string(),
            "the patch does not fit `a.txt`: line 2 is another one"
        );
    }

    #[test]
    fn nothing_outside_is_named_and_nothing_hidden_is_applied() {
        let files = base();
        for (patch, why) in [
            ("diff --git a/../x b/../x\nnew file mode 100644\n", "the file's name"),
            ("diff --git a//etc b//etc\nnew file mode 100644\n", "the file's name"),
            ("diff --git a/x b/y\nnew file mode 100644\n", "the file's name"),
            ("diff --git a/l b/l\nnew file mode 120000\n", "symbolic links"),
            ("diff --git a/gone b/gone\nBinary files differ\n", "binary"),
            ("diff --git a/gone b/gone\nnew file mode 100644\n", "already"),
            ("hello\n", "`diff --git` is expected"),
        ] {
            let said = apply(patch, &files).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
