//! Applies a patch that [`super::wasi::patch`] wrote: strictly, so that what was looked at is what
//! comes out. Pure; the workspace is behind [`Files`].
//!
//! No line is searched for anywhere but where it stood, and nothing fits "about".

use crate::domain::RelativePath;

/// The files that a patch changes.
pub trait Files {
    type Error;

    /// What stands at a path; none when it is neither a regular file nor a link.
    fn read(&self, path: &RelativePath) -> Result<Option<Entry>, Self::Error>;
    /// Writes a file; `executable` is none where it stays as it is.
    fn write(&self, path: &RelativePath, content: &[u8], executable: Option<bool>) -> Result<(), Self::Error>;
    /// Makes a link, in place of one that is there.
    fn link(&self, path: &RelativePath, target: &[u8]) -> Result<(), Self::Error>;
    /// Removes a file or a link, and the directories above that are empty then.
    fn remove(&self, path: &RelativePath) -> Result<(), Self::Error>;
}

/// What a patch sees at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// With its content.
    File(Vec<u8>),
    /// With its target.
    Link(Vec<u8>),
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

/// What a patch calls a file's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    File { executable: bool },
    Link,
}

impl Mode {
    fn read(text: &str) -> Option<Self> {
        match text {
            "100644" => Some(Self::File { executable: false }),
            "100755" => Some(Self::File { executable: true }),
            "120000" => Some(Self::Link),
            _ => None,
        }
    }
}

/// What is said of one file before its lines.
struct Head {
    path: RelativePath,
    added: Option<Mode>,
    deleted: Option<Mode>,
    /// Only files change their mode.
    executable: Option<bool>,
}

impl Head {
    fn read<E>(lines: &mut Lines<'_>) -> Result<Self, PatchError<E>> {
        let names = lines.after("diff --git ").ok_or_else(|| lines.foreign("`diff --git` is expected"))?;
        let path = path_of(names).ok_or_else(|| lines.foreign("the file's name"))?;
        let mut mode = |start: &str| match lines.after(start).map(Mode::read) {
            Some(None) => Err(lines.foreign("the file's mode")),
            Some(Some(mode)) => Ok(Some(mode)),
            None => Ok(None),
        };
        let (added, deleted) = (mode("new file mode ")?, mode("deleted file mode ")?);
        let (old, new) = (mode("old mode ")?, mode("new mode ")?);
        let executable = match (old, new) {
            (Some(Mode::File { .. }), Some(Mode::File { executable })) => Some(executable),
            (None, None) => None,
            _ => return Err(lines.foreign("a file stays a file, and a link a link")),
        };
        Ok(Self { path, added, deleted, executable })
    }
}

/// The changes of one file.
fn one<F: Files>(lines: &mut Lines<'_>, files: &F) -> Result<(), PatchError<F::Error>> {
    let Head { path, added, deleted, executable } = Head::read(lines)?;
    if lines.peek() == Some("Binary files differ") {
        return Err(unfit(&path, "it is binary, or too large to be shown"));
    }
    let (before, is_link) = match (files.read(&path).map_err(PatchError::Files)?, added) {
        (Some(_), Some(_)) => return Err(unfit(&path, "it is there already")),
        (None, None) => return Err(unfit(&path, "it is not there")),
        (Some(Entry::File(content)), None) => (content, false),
        (Some(Entry::Link(target)), None) => (target, true),
        (None, Some(mode)) => (Vec::new(), mode == Mode::Link),
    };
    if deleted.is_some_and(|mode| (mode == Mode::Link) != is_link) || (executable.is_some() && is_link) {
        return Err(unfit(&path, if is_link { "it is a link" } else { "it is no link" }));
    }
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
        None if is_link && (after.is_empty() || after.contains('\0')) => {
            return Err(unfit(&path, "a link leads somewhere"));
        }
        None if is_link => files.link(&path, after.as_bytes()),
        None => files.write(&path, after.as_bytes(), executable.or(added.map(|mode| mode == EXECUTABLE))),
    };
    done.map_err(PatchError::Files)
}

const EXECUTABLE: Mode = Mode::File { executable: true };

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
    struct Memory(RefCell<BTreeMap<String, (Entry, bool)>>);

    impl Memory {
        fn with(files: &[(&str, &str)]) -> Self {
            let of = |(path, text): &(&str, &str)| ((*path).to_owned(), (Entry::File(text.as_bytes().to_vec()), false));
            Self(RefCell::new(files.iter().map(of).collect()))
        }

        fn linked(self, path: &str, target: &str) -> Self {
            self.0.borrow_mut().insert(path.to_owned(), (Entry::Link(target.as_bytes().to_vec()), false));
            self
        }

        fn text(&self, path: &str) -> Option<String> {
            match &self.0.borrow().get(path)?.0 {
                Entry::File(bytes) => Some(String::from_utf8(bytes.clone()).unwrap()),
                Entry::Link(target) => Some(format!("-> {}", std::str::from_utf8(target).unwrap())),
            }
        }
    }

    impl Files for Memory {
        type Error = Infallible;

        fn read(&self, path: &RelativePath) -> Result<Option<Entry>, Infallible> {
            Ok(self.0.borrow().get(path.as_str()).map(|(entry, _)| entry.clone()))
        }

        fn write(&self, path: &RelativePath, content: &[u8], executable: Option<bool>) -> Result<(), Infallible> {
            let mut files = self.0.borrow_mut();
            let was = files.get(path.as_str()).is_some_and(|(_, executable)| *executable);
            files.insert(path.to_string(), (Entry::File(content.to_vec()), executable.unwrap_or(was)));
            Ok(())
        }

        fn link(&self, path: &RelativePath, target: &[u8]) -> Result<(), Infallible> {
            self.0.borrow_mut().insert(path.to_string(), (Entry::Link(target.to_vec()), false));
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
        assert_eq!(files.0.borrow()["ä \"b"], (Entry::File(b"#!/bin/sh\n".to_vec()), true));
    }

    #[test]
    fn links_are_made_changed_and_deleted_and_are_never_taken_for_files() {
        let no_end = "\\ No newline at end of file\n";
        let made =
            format!("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+a\n{no_end}");
        let changed = format!("diff --git a/l b/l\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-a\n{no_end}+d/b\n{no_end}");
        let gone = format!(
            "diff --git a/l b/l\ndeleted file mode 120000\n--- a/l\n+++ /dev/null\n@@ -1 +0,0 @@\n-d/b\n{no_end}"
        );
        let files = Memory::default();
        for (patch, after) in [(&made, Some("-> a")), (&changed, Some("-> d/b")), (&gone, None)] {
            assert_eq!(apply(patch, &files), Ok(1));
            assert_eq!(files.text("l").as_deref(), after, "{patch}");
        }
        let why = |patch: &str, files: &Memory| apply(patch, files).unwrap_err().to_string();
        let file = Memory::with(&[("l", "d/b")]);
        assert!(why(&gone, &file).contains("it is no link"));
        let link = Memory::default().linked("l", "d/b");
        assert!(why(&gone.replace("120000", "100644"), &link).contains("it is a link"));
        assert!(why("diff --git a/l b/l\nold mode 100644\nnew mode 100755\n", &link).contains("it is a link"));
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
            ("diff --git a/l b/l\nnew file mode 120000\n", "a link leads somewhere"),
            ("diff --git a/l b/l\nnew file mode 160000\n", "the file's mode"),
            ("diff --git a/gone b/gone\nold mode 100644\nnew mode 120000\n", "a file stays a file"),
            ("diff --git a/gone b/gone\nBinary files differ\n", "binary"),
            ("diff --git a/gone b/gone\nnew file mode 100644\n", "already"),
            ("hello\n", "`diff --git` is expected"),
        ] {
            let said = apply(patch, &files).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
