//! Patches of any two trees, and any text as a patch: the entry for fuzzers.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    convert::Infallible,
    ffi::OsStr,
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::Path,
};

use super::{
    patching::{self, Entry, Files},
    wasi::{changes::Views, patch},
};
use crate::domain::RelativePath;

/// Path, what stands there, whether it is executable.
type Tree = BTreeMap<String, (Entry, bool)>;

/// Names that a patch has trouble with, beside harmless ones.
const NAMES: [&str; 9] = ["a", "b c", "d/e", "\"q\"", "tab\there", "ä", "new\nline", "d/b b/d", "d"];

#[derive(Default)]
struct Memory(RefCell<Tree>);

impl Files for Memory {
    type Error = Infallible;

    fn read(&self, path: &RelativePath) -> Result<Option<Entry>, Infallible> {
        Ok(self.0.borrow().get(path.as_str()).map(|(entry, _)| entry.clone()))
    }

    fn write(&self, path: &RelativePath, content: &[u8], executable: Option<bool>) -> Result<(), Infallible> {
        let was = self.0.borrow().get(path.as_str()).is_some_and(|(_, executable)| *executable);
        self.put(path, Entry::File(content.to_vec()), executable.unwrap_or(was));
        Ok(())
    }

    fn link(&self, path: &RelativePath, target: &[u8]) -> Result<(), Infallible> {
        self.put(path, Entry::Link(target.to_vec()), false);
        Ok(())
    }

    fn remove(&self, path: &RelativePath) -> Result<(), Infallible> {
        self.0.borrow_mut().remove(path.as_str());
        Ok(())
    }
}

impl Memory {
    fn put(&self, path: &RelativePath, entry: Entry, executable: bool) {
        let mut tree = self.0.borrow_mut();
        assert!(fits(&tree, path.as_str()), "`{path}` is put where a directory is, or into a file");
        tree.insert(path.to_string(), (entry, executable));
    }
}

/// Whether a tree that has this can be: no file is a directory of others.
fn fits(tree: &Tree, path: &str) -> bool {
    let below = |above: &str, path: &str| path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
    !tree.keys().any(|other| below(path, other) || below(other, path))
}

/// What a patch says of two trees, applied to the first, is the second. `dir` is empty, and is left
/// with files in it.
pub fn fuzz_patch(dir: &Path, bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    if how % 4 == 0 {
        let files = Memory::default();
        files.0.borrow_mut().insert("a".to_owned(), (Entry::File(b"one\ntwo\nthree\n".to_vec()), false));
        let _ = patching::apply(&String::from_utf8_lossy(rest), &files);
        return;
    }
    let [before, after] = trees(rest);
    let [old, new] = [("before", &before), ("after", &after)].map(|(name, tree)| laid(&dir.join(name), tree));
    let views = Views::new(&old, &new, &new);
    let changes = views.changes().expect("the trees can be read");
    let (text, summary) = patch::write(views, &changes).expect("the trees can be read");
    assert_eq!(summary.is_empty(), before == after);
    if summary.unshown > 0 {
        return;
    }
    let files = Memory(RefCell::new(before));
    let applied = patching::apply(&text, &files).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(applied as u32, summary.added + summary.changed + summary.deleted, "{text}");
    patch::leading_out(views, &changes).expect("the trees can be read");
    assert_eq!(files.0.into_inner(), after, "{text}");
}

/// Two trees that have much in common.
fn trees(bytes: &[u8]) -> [Tree; 2] {
    let (mut before, mut after) = (Tree::new(), Tree::new());
    let mut rest = bytes;
    while let Some(([name, how, len], more)) = rest.split_first_chunk() {
        let (content, more) = more.split_at(more.len().min(usize::from(*len)));
        let path = NAMES[usize::from(*name) % NAMES.len()];
        // What is no text is only named; then there is nothing to be applied.
        let content = String::from_utf8_lossy(content).replace('\0', " ").into_bytes();
        let other = match how % 4 {
            0 => content.clone(),
            1 => content.iter().rev().copied().filter(u8::is_ascii).collect(),
            2 => content.iter().map(|byte| if *byte == b'a' { b'\n' } else { *byte }).collect(),
            _ => [content.as_slice(), &content].concat(),
        };
        if how & 4 == 0 && fits(&before, path) {
            before.insert(path.to_owned(), entry(content, how & 64 != 0, how & 16 != 0));
        }
        if how & 8 == 0 && fits(&after, path) {
            after.insert(path.to_owned(), entry(other, how & 128 != 0, how & 32 != 0));
        }
        rest = more;
    }
    [before, after]
}

/// A link where one can be.
fn entry(content: Vec<u8>, link: bool, executable: bool) -> (Entry, bool) {
    if link && !content.is_empty() { (Entry::Link(content), false) } else { (Entry::File(content), executable) }
}

fn laid(dir: &Path, tree: &Tree) -> File {
    fs::create_dir(dir).expect("an empty directory");
    for (name, (entry, executable)) in tree {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("it lies in the tree")).expect("an empty directory");
        match entry {
            Entry::Link(target) => symlink(OsStr::from_bytes(target), &path).expect("an empty directory"),
            Entry::File(content) => {
                fs::write(&path, content).expect("an empty directory");
                let mode = if *executable { 0o755 } else { 0o644 };
                fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is there");
            }
        }
    }
    File::open(dir).expect("it is there")
}
