//! What goes in comes out.

use std::os::unix::{
    ffi::OsStringExt as _,
    fs::{PermissionsExt as _, symlink},
};

use proptest::prelude::*;
use rustix::fs::{CWD, Mode, OFlags, Timespec, Timestamps, XattrFlags};

use super::*;
use crate::domain::limits::WORKSPACE_DEPTH;

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Seals and opens, and gives the pictures of before and after.
fn through(place: &Place, workspace: Workspace<Open>) -> [BTreeMap<PathBuf, Facts>; 2] {
    let before = picture(workspace.tree());
    let (sealed, _) = workspace.seal(place.terms(1)).unwrap();
    assert!(!place.tree().exists(), "the plain tree is gone while the run waits");
    let opened = sealed.open(&place.tree(), None).unwrap();
    [before, picture(opened.tree())]
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let place = Place::new();
    let workspace = place.create();
    let root = workspace.tree().join("workspace");
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("a/empty"), "").unwrap();
    fs::write(root.join("a/script"), "#!/bin/sh\n").unwrap();
    fs::write(root.join("a/large"), vec![7; 3_500_000]).unwrap();
    fs::write(workspace.tree().join("run/plan.tfplan"), b"plan").unwrap();
    set_mode(&root.join("a/script"), 0o755);
    set_mode(&root.join("a/empty"), 0o000);
    set_mode(&root.join("a/large"), 0o400);
    symlink("../a/script", root.join("a/relative")).unwrap();
    symlink("/etc/passwd", root.join("a/outside")).unwrap();
    symlink("nowhere", root.join("a/dangling")).unwrap();
    fs::hard_link(root.join("a/script"), root.join("a/b/same")).unwrap();
    fs::hard_link(root.join("a/script"), workspace.tree().join("run/same")).unwrap();
    rustix::fs::setxattr(root.join("a/script"), "user.note", b"\0binary\xff", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(root.join("a/b"), "user.empty", b"", XattrFlags::empty()).unwrap();
    set_time(&root.join("a/script"), 1_234_567_890, 123_456_789);
    set_time(&root.join("a/dangling"), 987_654_321, 5);
    set_time(&root.join("a/large"), -5, 999_999_999);
    set_mode(&root.join("a/b/c"), 0o555);
    set_time(&root.join("a/b"), 1_000_000_000, 1);
    let [before, after] = through(&place, workspace);
    assert_eq!(before, after);
    assert_eq!(before.values().filter(|facts| facts.first_name.is_some()).count(), 3);
    assert_eq!(place.beside(), ["sealed", "tree"]);
}

#[test]
fn odd_names_come_back() {
    let place = Place::new();
    let workspace = place.create();
    let root = workspace.tree().join("workspace");
    for name in [&b"new\nline"[..], b"\xff\xfe", b" ", b"-rf", b"...", b"a\\b", "ü".as_bytes(), &[b'x'; 255], b"\x01"]
    {
        let name = OsString::from_vec(name.to_vec());
        fs::create_dir(root.join(&name)).unwrap();
        fs::write(root.join(&name).join(&name), "x").unwrap();
    }
    let [before, after] = through(&place, workspace);
    assert_eq!(before, after);
}

#[test]
fn an_empty_workspace_comes_back() {
    let place = Place::new();
    let [before, after] = through(&place, place.create());
    assert_eq!(before, after);
    assert_eq!(after.len(), 2);
}

#[test]
fn set_uid_and_set_gid_bits_do_not_survive() {
    let place = Place::new();
    let workspace = place.create();
    let file = workspace.tree().join("workspace/tool");
    fs::write(&file, "x").unwrap();
    set_mode(&file, 0o6755);
    set_mode(&workspace.tree().join("run"), 0o3777);
    let [_, after] = through(&place, workspace);
    assert_eq!(after[Path::new("workspace/tool")].mode, 0o755);
    assert_eq!(after[Path::new("run")].mode, 0o1777);
}

#[test]
fn a_sparse_file_stays_small_sealed_and_sparse_opened() {
    let place = Place::new();
    let workspace = place.create();
    let path = workspace.tree().join("workspace/disk.img");
    let file = fs::File::create(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0x5a; 4_096], 512 << 20).unwrap();
    file.sync_all().unwrap();
    let (sealed, report) = workspace.seal(place.terms(1)).unwrap();
    assert!(report.sealed_bytes < 4_096, "{report:?}");
    assert!(report.tree_bytes <= 65_536, "{report:?}");
    let opened = sealed.open(&place.tree(), None).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 30);
    assert!(data_bytes(&path) <= 65_536);
    let mut block = [0; 4_096];
    std::os::unix::fs::FileExt::read_exact_at(&fs::File::open(&path).unwrap(), &mut block, 512 << 20).unwrap();
    assert_eq!(block, [0x5a; 4_096]);
    opened.remove().unwrap();
}

/// Directories within each other, without a path that would grow too long.
fn make_deep(top: &Path, levels: usize) {
    let mut dir = rustix::fs::open(top, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..levels {
        // There already after the first time.
        let _ = rustix::fs::mkdirat(&dir, "directory", Mode::RWXU);
        dir = rustix::fs::openat(&dir, "directory", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

#[test]
fn deep_trees_come_back_up_to_the_limit_and_deeper_ones_are_refused() {
    let place = Place::new();
    let workspace = place.create();
    // `tree` and `workspace` are the first two levels.
    make_deep(&workspace.tree().join("workspace"), WORKSPACE_DEPTH - 2);
    let (sealed, _) = workspace.seal(place.terms(1)).unwrap();
    let workspace = sealed.open(&place.tree(), None).unwrap();
    assert_eq!(workspace.size().unwrap().entries, WORKSPACE_DEPTH as u64);
    make_deep(&workspace.tree().join("workspace"), WORKSPACE_DEPTH - 1);
    let (workspace, fault) = kept(workspace.seal(place.terms(1)).unwrap_err());
    assert!(matches!(fault, Fault::TooDeep { .. }), "{fault}");
    assert!(matches!(workspace.size(), Err(Fault::TooDeep { .. })));
    workspace.remove().unwrap();
}

#[test]
fn what_an_opened_tree_holds_belongs_to_the_run() {
    as_root("only root can give files away");
    let place = Place::new();
    let workspace = Workspace::create(&place.tree(), Some(54_321)).unwrap();
    let root = workspace.tree().join("workspace");
    assert_eq!(fs::metadata(&root).unwrap().uid(), 54_321);
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("dir/file"), "x").unwrap();
    symlink("/etc/passwd", root.join("dir/link")).unwrap();
    let (sealed, _) = workspace.seal(place.terms(1)).unwrap();
    let opened = sealed.open(&place.tree(), Some(54_322)).unwrap();
    for name in ["workspace", "run", "workspace/dir", "workspace/dir/file", "workspace/dir/link"] {
        let stat = fs::symlink_metadata(opened.tree().join(name)).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (54_322, 54_322), "{name}");
    }
    assert_eq!(fs::metadata(opened.tree()).unwrap().uid(), 0);
    assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), 0);
}

#[test]
fn the_size_counts_a_file_with_two_names_once_and_holes_never() {
    let place = Place::new();
    let workspace = place.create();
    let root = workspace.tree().join("workspace");
    let before = workspace.size().unwrap();
    fs::write(root.join("a"), vec![1; 1 << 20]).unwrap();
    fs::hard_link(root.join("a"), root.join("b")).unwrap();
    fs::File::create(root.join("hole")).unwrap().set_len(1 << 40).unwrap();
    symlink("/", root.join("link")).unwrap();
    rustix::fs::syncfs(fs::File::open(&root).unwrap()).unwrap();
    let after = workspace.size().unwrap();
    assert_eq!(after.entries - before.entries, 4);
    let grown = after.disk_bytes - before.disk_bytes;
    assert!((1 << 20..(1 << 20) + 65_536).contains(&grown), "{grown}");
}

/// One entry of a generated tree.
#[derive(Clone, Debug)]
enum Thing {
    Dir { mode: u32 },
    File { content: Vec<u8>, mode: u32, attribute: Option<Vec<u8>> },
    Symlink { target: Vec<u8> },
    Link,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'a'), Just(b'b'), Just(b'\n'), Just(b' '), 1..=255_u8];
    proptest::collection::vec(byte, 1..12)
        .prop_filter("a name", |name| !matches!(name.as_slice(), b"." | b"..") && !name.contains(&b'/'))
}

fn thing() -> impl Strategy<Value = Thing> {
    let content = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => (any::<u8>(), 900_000..2_300_000_usize).prop_map(|(byte, size)| vec![byte; size]),
    ];
    let attribute = proptest::option::weighted(0.2, proptest::collection::vec(any::<u8>(), 0..200));
    prop_oneof![
        2 => (0..=0o1777_u32).prop_map(|mode| Thing::Dir { mode: mode | 0o700 }),
        4 => (content, 0..=0o1777_u32, attribute)
            .prop_map(|(content, mode, attribute)| Thing::File { content, mode, attribute }),
        1 => proptest::collection::vec(1..=255_u8, 1..200).prop_map(|target| Thing::Symlink { target }),
        1 => Just(Thing::Link),
    ]
}

/// Makes a generated tree; `under` chooses each entry's directory.
fn make(root: &Path, things: &[(Vec<u8>, usize, Thing)]) {
    let (mut dirs, mut files) = (vec![root.to_path_buf()], Vec::<PathBuf>::new());
    let mut modes = Vec::new();
    for (name, under, thing) in things {
        let path = dirs[under % dirs.len()].join(OsString::from_vec(name.clone()));
        if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match thing {
            Thing::Dir { mode } => {
                fs::create_dir(&path).unwrap();
                modes.push((path.clone(), *mode));
                dirs.push(path);
            }
            Thing::File { content, mode, attribute } => {
                fs::write(&path, content).unwrap();
                if let Some(value) = attribute {
                    rustix::fs::setxattr(&path, "user.generated", value, XattrFlags::empty()).unwrap();
                }
                modes.push((path.clone(), *mode));
                files.push(path);
            }
            Thing::Symlink { target } => symlink(OsString::from_vec(target.clone()), &path).unwrap(),
            Thing::Link if files.is_empty() => {}
            Thing::Link => fs::hard_link(&files[under % files.len()], &path).unwrap(),
        }
    }
    for (path, mode) in modes {
        set_mode(&path, mode);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_as_it_was(things in proptest::collection::vec((name(), any::<usize>(), thing()), 0..40)) {
        let place = Place::new();
        let workspace = place.create();
        make(&workspace.tree().join("workspace"), &things);
        let [before, after] = through(&place, workspace);
        prop_assert_eq!(before, after);
    }
}
