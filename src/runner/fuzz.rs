//! Patches of any two trees, and any text as a patch: the entry for fuzzers.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    convert::Infallible,
    fs::{self, File, Permissions},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};

use super::{
    patching::{self, Files},
    wasi::{changes::Views, patch},
};
use crate::domain::RelativePath;

/// Path, content, whether it is executable.
type Tree = BTreeMap<String, (Vec<u8>, bool)>;

/// Names that a patch has trouble with, beside harmless ones.
const NAMES: [&str; 8] = ["a", "b c", "d/e", "\"q\"", "tab\there", "ä", "new\nline", "d/b b/d"];

#[derive(Default)]
struct Memory(RefCell<Tree>);

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

/// What a patch says of two trees, applied to the first, is the second. `dir` is empty, and is left
/// with files in it.
pub fn fuzz_patch(dir: &Path, bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    if how % 4 == 0 {
        let files = Memory::default();
        files.0.borrow_mut().insert("a".to_owned(), (b"one\ntwo\nthree\n".to_vec(), false));
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
    assert_eq!(files.0.into_inner(), after, "{text}");
}

/// Two trees that have much in common.
fn trees(bytes: &[u8]) -> [Tree; 2] {
    let (mut before, mut after) = (Tree::new(), Tree::new());
    let mut rest = bytes;
    while let Some(([name, how, len], more)) = rest.split_first_chunk() {
        let (content, more) = more.split_at(more.len().min(usize::from(*len)));
        let path = NAMES[usize::from(name % 8)].to_owned();
        // What is no text is only named; then there is nothing to be applied.
        let content = String::from_utf8_lossy(content).replace('\0', " ").into_bytes();
        let other = match how % 4 {
            0 => content.clone(),
            1 => content.iter().rev().copied().filter(u8::is_ascii).collect(),
            2 => content.iter().map(|byte| if *byte == b'a' { b'\n' } else { *byte }).collect(),
            _ => [content.as_slice(), &content].concat(),
        };
        if how & 4 == 0 {
            before.insert(path.clone(), (content, how & 16 != 0));
        }
        if how & 8 == 0 {
            after.insert(path, (other, how & 32 != 0));
        }
        rest = more;
    }
    [before, after]
}

fn laid(dir: &Path, tree: &Tree) -> File {
    fs::create_dir(dir).expect("an empty directory");
    for (name, (content, executable)) in tree {
        let path = dir.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
        fs::create_dir_all(path.parent().expect("it lies in the tree")).expect("an empty directory");
        fs::write(&path, content).expect("an empty directory");
        let mode = if *executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is there");
    }
    File::open(dir).expect("it is there")
}
