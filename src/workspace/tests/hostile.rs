//! Trees and archives that somebody made on purpose.

use std::os::unix::{fs::symlink, net::UnixListener, process::CommandExt as _};

use proptest::prelude::*;
use rustix::fs::{CWD, Mode};

use super::*;
use crate::workspace::{archive::Input, unpack::unpack};

/// An archive out of a test's hands.
struct Bytes<'a>(&'a [u8]);

impl Input for Bytes<'_> {
    fn piece(&mut self, most: usize) -> Result<&[u8], Fault> {
        if self.0.is_empty() {
            return Err(Fault::Malformed { why: "it ends within an entry" });
        }
        let (piece, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        Ok(piece)
    }
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

const TIME: [u8; 12] = [0; 12];

fn directory(name: &[u8]) -> Vec<u8> {
    [&[1], short(name).as_slice(), &0o755_u16.to_be_bytes(), &TIME, &[0]].concat()
}

fn file_with(name: &[u8], size: u64, link: u32, attributes: &[u8], extents: &[u8]) -> Vec<u8> {
    let (size, link) = (size.to_be_bytes(), link.to_be_bytes());
    [&[3], short(name).as_slice(), &0o644_u16.to_be_bytes(), &TIME, &size, &link, attributes, extents].concat()
}

fn file(name: &[u8]) -> Vec<u8> {
    let extents = [&0_u64.to_be_bytes()[..], &4_u64.to_be_bytes(), b"evil", &[0; 16]].concat();
    file_with(name, 4, 0, &[0], &extents)
}

fn link_to(name: &[u8], target: &[u8]) -> Vec<u8> {
    [&[4], short(name).as_slice(), &TIME, &(target.len() as u16).to_be_bytes(), target].concat()
}

fn hard_link(name: &[u8], number: u32) -> Vec<u8> {
    [&[5], short(name).as_slice(), &number.to_be_bytes()].concat()
}

const LEAVE: &[u8] = &[2];
const END: &[u8] = &[0];

/// Unpacks beside a directory that must stay as it is.
fn unpacked(entries: &[&[u8]]) -> Result<(), Fault> {
    let dir = tempfile::tempdir().unwrap();
    let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    let result = unpack(&mut Bytes(&entries.concat()), &tree, &dir.path().join("links"), None);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something was made outside");
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"mine", "something was changed outside");
    let known = ["tree", "outside", "links"];
    let all_known =
        fs::read_dir(dir.path()).unwrap().all(|entry| known.contains(&entry.unwrap().file_name().to_str().unwrap()));
    assert!(all_known, "something was made beside");
    result
}

#[test]
fn the_archives_of_these_tests_are_right_but_for_what_they_test() {
    let linked = file_with(b"linked", 0, 1, &[0], &[0; 16]);
    unpacked(&[&directory(b"d"), &file(b"f"), LEAVE, &link_to(b"l", b"d/f"), &linked, &hard_link(b"h", 1), END])
        .unwrap();
}

#[test]
fn no_name_leads_out() {
    for name in [&b".."[..], b".", b"", b"/etc/passwd", b"../outside/file", b"a/b", b"a\0b", b"/"] {
        for entry in [directory(name), file(name), link_to(name, b"x"), hard_link(name, 1)] {
            let fault = unpacked(&[&entry, END]).unwrap_err();
            assert!(matches!(fault, Fault::Malformed { .. }), "{name:?}: {fault}");
        }
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let to_dir = link_to(b"x", b"../outside");
    let to_file = link_to(b"x", b"../outside/file");
    for entries in [
        [to_dir.as_slice(), &directory(b"x"), &file(b"new"), LEAVE, END],
        [to_file.as_slice(), &file(b"x"), END, END, END],
        [to_dir.as_slice(), &link_to(b"x", b"y"), END, END, END],
        [to_file.as_slice(), &file_with(b"x", 0, 1, &[0], &[0; 16]), &hard_link(b"y", 1), END, END],
    ] {
        let fault = unpacked(&entries).unwrap_err();
        assert!(matches!(fault, Fault::Io { .. }), "{fault}");
    }
}

#[test]
fn hard_links_lead_only_to_files_that_came_before() {
    for number in [0, 1, 2, u32::MAX] {
        assert!(unpacked(&[&hard_link(b"h", number), END]).is_err());
    }
    for number in [2, 3, u32::MAX] {
        assert!(unpacked(&[&file_with(b"f", 0, number, &[0], &[0; 16]), END]).is_err());
    }
    assert!(unpacked(&[&file_with(b"f", 0, 1, &[0], &[0; 16]), &hard_link(b"h", 2), END]).is_err());
}

#[test]
fn an_archive_that_breaks_its_rules_is_refused() {
    let extent = |hole: u64, length: u64| [hole.to_be_bytes(), length.to_be_bytes()].concat();
    let attribute = |name: &[u8], length: u32| [short(name).as_slice(), &length.to_be_bytes(), &[1; 8]].concat();
    let deep = directory(b"d").repeat(600);
    for entries in [
        vec![LEAVE],
        vec![&[6][..]],
        vec![&[255][..]],
        vec![&directory(b"d"), END],
        vec![&deep, END],
        vec![&file_with(b"f", 3, 0, &[0], &[extent(0, 4), b"evil".to_vec(), vec![0; 16]].concat()), END],
        vec![&file_with(b"f", 3, 0, &[0], &extent(u64::MAX, 4)), END],
        vec![&file_with(b"f", 0, 0, &attribute(b"security.capability", 8), &[0; 16]), END],
        vec![&file_with(b"f", 0, 0, &attribute(b"trusted.x", 8), &[0; 16]), END],
        vec![&file_with(b"f", 0, 0, &attribute(b"user.x", 1 << 20), &[0; 16]), END],
        vec![&link_to(b"l", b""), END],
        vec![&link_to(b"l", b"a\0b"), END],
        vec![&link_to(b"l", &[b'x'; 5_000]), END],
        vec![&file(b"same"), &file(b"same"), END],
    ] {
        assert!(unpacked(&entries).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_unpacking_leave_its_place(pieces in proptest::collection::vec(prop_oneof![
        Just(directory(b"d")), Just(file(b"f")), Just(file(b"d")), Just(link_to(b"d", b"../outside")),
        Just(link_to(b"f", b"../outside/file")), Just(hard_link(b"h", 1)), Just(LEAVE.to_vec()),
        Just(file_with(b"g", 0, 1, &[0], &[0; 16])),
        proptest::collection::vec(any::<u8>(), 0..24),
    ], 0..12)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let _ = unpacked(&pieces);
    }
}

#[test]
fn sockets_pipes_and_devices_are_refused_by_name_and_the_tree_is_kept() {
    as_root("it makes a device");
    let place = Place::new();
    let mut workspace = place.create();
    let path = workspace.tree().join("workspace/plugin.sock");
    let made: [(&str, &dyn Fn()); 3] = [
        ("a socket", &|| drop(UnixListener::bind(&path).unwrap())),
        ("a named pipe", &|| rustix::fs::mkfifoat(CWD, &path, Mode::RUSR).unwrap()),
        ("a device", &|| {
            let null = rustix::fs::makedev(1, 3);
            rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::CharacterDevice, Mode::RUSR, null).unwrap();
        }),
    ];
    for (what, make) in made {
        make();
        let (back, fault) = kept(workspace.seal(place.terms(1)).unwrap_err());
        let text = fault.to_string();
        assert!(text.contains(what) && text.contains("workspace/plugin.sock"), "{text}");
        assert!(place.names().is_empty() && path.exists_at_all());
        fs::remove_file(&path).unwrap();
        workspace = back;
    }
    assert!(workspace.seal(place.terms(1)).is_ok());
}

trait ExistsAtAll {
    fn exists_at_all(&self) -> bool;
}

impl ExistsAtAll for Path {
    fn exists_at_all(&self) -> bool {
        fs::symlink_metadata(self).is_ok()
    }
}

#[test]
fn links_that_point_out_are_kept_as_links_and_never_followed() {
    let place = Place::new();
    let workspace = place.create();
    let outside = place.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "not the run's").unwrap();
    symlink(&outside, workspace.tree().join("workspace/dir")).unwrap();
    symlink(outside.join("secret"), workspace.tree().join("workspace/file")).unwrap();
    symlink("/dev/zero", workspace.tree().join("workspace/endless")).unwrap();
    let (sealed, report) = workspace.seal(place.terms(1)).unwrap();
    assert_eq!(report.tree_bytes, 0);
    let opened = sealed.open(&place.tree(), None).unwrap();
    assert_eq!(fs::read_link(opened.tree().join("workspace/dir")).unwrap(), outside);
    opened.remove().unwrap();
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"not the run's");
}

#[test]
fn a_tree_whose_rooms_are_links_is_not_adopted() {
    let place = Place::new();
    fs::create_dir(place.tree()).unwrap();
    fs::create_dir(place.tree().join("run")).unwrap();
    symlink("/etc", place.tree().join("workspace")).unwrap();
    assert!(Workspace::adopt(&place.tree(), None).is_err());
    assert!(Workspace::adopt(&place.dir.path().join("nowhere"), None).is_err());
}

/// Names the directory in which [`works_as_an_ordinary_user`] works.
const PLACE: &str = "AIRLOCK_TEST_ORDINARY_PLACE";
const NOBODY: u32 = 65_534;

#[test]
#[ignore = "is run by another test, as an ordinary user"]
fn works_as_an_ordinary_user() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(dir) = std::env::var_os(PLACE) else { return };
    let place = Place { dir: tempfile::tempdir_in(dir).unwrap() };
    fs::create_dir(place.sealed()).unwrap();
    let workspace = place.create();
    let root = workspace.tree().join("workspace");
    fs::create_dir_all(root.join("closed/inner")).unwrap();
    fs::write(root.join("closed/inner/file"), "x").unwrap();
    fs::create_dir(root.join("unsearchable")).unwrap();
    fs::write(root.join("unsearchable/file"), "y").unwrap();
    fs::write(root.join("unreadable"), "z").unwrap();
    let before = picture(workspace.tree());
    let modes = [("closed/inner", 0o000), ("closed", 0o100), ("unsearchable", 0o400), ("unreadable", 0o000)];
    let close =
        || modes.map(|(name, mode)| fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap());
    let reopen = || {
        ["closed", "closed/inner", "unsearchable"]
            .map(|name| fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap())
    };
    close();

    // Something that cannot be sealed stops it halfway: the modes are as before.
    rustix::fs::mkfifoat(CWD, workspace.tree().join("run/pipe"), Mode::RUSR).unwrap();
    let (workspace, _) = kept(workspace.seal(place.terms(1)).unwrap_err());
    for (name, mode) in [("closed", 0o100), ("unsearchable", 0o400), ("unreadable", 0o000)] {
        assert_eq!(fs::metadata(root.join(name)).unwrap().mode() & 0o777, mode, "{name}");
    }
    fs::remove_file(workspace.tree().join("run/pipe")).unwrap();

    let (sealed, _) = workspace.seal(place.terms(1)).unwrap();
    let workspace = sealed.open(&place.tree(), None).unwrap();
    for (name, mode) in [("closed", 0o100), ("unsearchable", 0o400), ("unreadable", 0o000)] {
        assert_eq!(fs::metadata(root.join(name)).unwrap().mode() & 0o777, mode, "{name}");
    }
    reopen();
    assert_eq!(fs::metadata(root.join("unreadable")).unwrap().mode() & 0o777, 0);
    fs::set_permissions(root.join("unreadable"), fs::Permissions::from_mode(0o644)).unwrap();
    let after = picture(workspace.tree());
    assert!(before.keys().eq(after.keys()));
    assert_eq!(fs::read(root.join("unreadable")).unwrap(), b"z");
    close();
    workspace.remove().unwrap();
    assert!(!place.tree().exists());
}

#[test]
fn an_ordinary_user_can_seal_open_and_remove_what_its_commands_closed() {
    as_root("it becomes an ordinary user");
    let dir = tempfile::tempdir().unwrap();
    // The program of these tests, where an ordinary user can start it.
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let output = std::process::Command::new(&program)
        .args(["--exact", "workspace::tests::hostile::works_as_an_ordinary_user", "--ignored", "--nocapture"])
        .env(PLACE, dir.path())
        .current_dir(dir.path())
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
