//! At every moment there is the plain tree or a complete sealed file.

use std::{
    process::{Child, Command, Stdio},
    thread,
};

use rustix::mount::{MountFlags, UnmountFlags};

use super::*;
use crate::workspace::{erase, recover};

/// Names the directory in which [`seals_until_it_is_killed`] works.
const PLACE: &str = "AIRLOCK_TEST_PLACE";

fn fill(tree: &Path) {
    for n in 0..300 {
        fs::write(tree.join(format!("workspace/{n}")), format!("{n}").repeat(20_000)).unwrap();
    }
}

#[test]
#[ignore = "is run, and killed, by another test"]
fn seals_until_it_is_killed() {
    let Some(dir) = std::env::var_os(PLACE) else { return };
    let dir = Path::new(&dir);
    Workspace::adopt(&dir.join("tree"), None).unwrap().seal(terms_in(&dir.join("sealed"), 1)).unwrap();
}

fn start_sealing(place: &Place) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "workspace::tests::crash::seals_until_it_is_killed", "--ignored"])
        .env(PLACE, place.dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the sealing process as soon as something can be seen.
fn kill_when(child: &mut Child, seen: impl Fn() -> bool) {
    while !seen() && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn a_kill_at_any_step_leaves_the_tree_or_the_sealed_file() {
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |stat| stat.len());
    for moment in 0..8 {
        let place = Place::new();
        let workspace = place.create();
        fill(workspace.tree());
        let before = picture(workspace.tree());
        let (tree, terms) = (place.tree(), place.terms(1));
        let beside = terms.paths.sealed.with_extension("sealed.tmp");
        let removing = place.dir.path().join("tree.removing");
        let mut child = start_sealing(&place);
        kill_when(&mut child, || match moment {
            0 => true,
            1 => terms.paths.erase.exists(),
            2 => beside.exists(),
            3 => bytes(&beside) > 1,
            4 => bytes(&beside) > 10_000,
            5 => terms.paths.sealed.exists(),
            6 => removing.exists(),
            _ => !tree.exists() && !removing.exists(),
        });

        let is_plain = tree.exists();
        let is_sealed = terms.paths.sealed.exists();
        assert!(is_plain || is_sealed, "moment {moment}: neither is there");
        recover(&place.sealed(), |_| false).unwrap();
        if is_plain {
            assert_eq!(picture(&tree), before, "moment {moment}: the plain tree is whole");
        }
        if is_sealed {
            let other = place.dir.path().join("other");
            let opened = Workspace::<Sealed>::at(terms).open(&other, None).unwrap();
            assert_eq!(picture(opened.tree()), before, "moment {moment}: the sealed file is whole");
            assert_eq!(place.names().len(), 2);
        } else {
            assert!(place.names().is_empty(), "moment {moment}: {:?}", place.names());
            let workspace = Workspace::adopt(&tree, None).unwrap();
            assert!(workspace.seal(terms).is_ok(), "sealing can be tried again");
        }
    }
}

#[test]
fn recovering_leaves_complete_files_live_runs_and_strangers_alone() {
    let place = Place::new();
    place.sealed_with(b"complete");
    let name = |run: u128, ending: &str| place.sealed().join(format!("{}.{ending}", RunId::from_number(run)));
    for (run, ending) in [(2, "key"), (2, "sealed.tmp"), (3, "key"), (3, "sealed.tmp"), (4, "sealed")] {
        fs::write(name(run, ending), [1; 32]).unwrap();
    }
    fs::write(place.sealed().join("README.tmp"), "a person's").unwrap();
    let mut recovered = recover(&place.sealed(), |run| run == RunId::from_number(3)).unwrap();
    recovered.removed.sort();
    let expected: Vec<OsString> =
        ["key", "sealed.tmp"].map(|ending| name(2, ending).file_name().unwrap().to_owned()).into();
    assert_eq!(recovered.removed, expected);
    assert_eq!(place.names().len(), 6);
    assert_eq!(recover(&place.sealed(), |_| true).unwrap(), super::super::Recovered::default());
}

#[test]
fn what_a_crash_left_beside_the_tree_does_not_hinder_opening_or_removing() {
    let place = Place::new();
    let (sealed, _) = place.sealed_with(b"x");
    for left in ["tree.opening", "tree.removing"] {
        fs::create_dir_all(place.dir.path().join(left).join("half/a")).unwrap();
    }
    let opened = sealed.open(&place.tree(), None).unwrap();
    assert_eq!(place.beside(), ["sealed", "tree", "tree.removing"]);
    fs::create_dir(place.dir.path().join("tree.opening")).unwrap();
    opened.remove().unwrap();
    assert_eq!(place.beside(), ["sealed"]);
}

#[test]
fn opening_never_replaces_a_tree() {
    let place = Place::new();
    let (sealed, _) = place.sealed_with(b"x");
    fs::create_dir(place.tree()).unwrap();
    assert!(matches!(sealed.open(&place.tree(), None), Err(Fault::Exists { .. })));
    assert!(matches!(Workspace::create(&place.tree(), None), Err(Fault::Exists { .. })));
    assert_eq!(place.beside(), ["sealed", "tree"]);
}

#[test]
fn sealing_again_ends_what_was_sealed_before() {
    let place = Place::new();
    let (sealed, _) = place.sealed_with(b"x");
    let old = [&sealed.paths().sealed, &sealed.paths().erase].map(|path| fs::read(path).unwrap());
    let workspace = sealed.open(&place.tree(), None).unwrap();
    let (sealed, _) = workspace.seal(place.terms(1)).unwrap();
    assert_ne!(fs::read(&sealed.paths().erase).unwrap(), old[1]);
    fs::write(&sealed.paths().sealed, &old[0]).unwrap();
    assert!(matches!(sealed.open(&place.tree(), None), Err(Fault::WrongKey { .. })));
}

/// A small file system that disappears with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, options: &str) -> Self {
        as_root("it mounts a small file system");
        fs::create_dir_all(&at).unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("airlock-test", &at, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
            .expect("this test needs to mount a tmpfs: run it where root may mount");
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

/// Bytes that no compression makes small.
fn noise(bytes: usize) -> Vec<u8> {
    (0..=bytes / 32).flat_map(|_| crate::crypt::random_bytes::<32>()).take(bytes).collect()
}

#[test]
fn a_full_disk_is_named_and_the_tree_is_kept() {
    let place = Place::new();
    let disk = SmallDisk::mount(place.sealed(), "size=2m,mode=700");
    let workspace = place.create();
    fs::write(workspace.tree().join("workspace/large"), noise(6 << 20)).unwrap();
    let before = picture(workspace.tree());
    let failed = workspace.seal(place.terms(1)).unwrap_err();
    assert!(failed.to_string().contains("no space left"), "{failed}");
    let (workspace, fault) = kept(failed);
    assert!(matches!(fault, Fault::Full { .. }), "{fault}");
    assert_eq!(picture(workspace.tree()), before);
    assert!(place.names().is_empty(), "{:?}", place.names());
    drop(disk);
    assert!(workspace.seal(place.terms(1)).is_ok());
}

#[test]
fn a_disk_without_a_free_inode_keeps_the_tree_too() {
    let place = Place::new();
    let _disk = SmallDisk::mount(place.sealed(), "size=2m,nr_inodes=2,mode=700");
    let (workspace, fault) = kept(place.create().seal(place.terms(1)).unwrap_err());
    assert!(matches!(fault, Fault::Full { .. }), "{fault}");
    assert!(place.names().is_empty());
    erase(&place.terms(1).paths).unwrap();
    assert!(workspace.tree().exists());
}

#[test]
fn opening_onto_a_full_disk_leaves_the_sealed_file_and_nothing_else() {
    let place = Place::new();
    let workspace = place.create();
    fs::write(workspace.tree().join("workspace/large"), noise(4 << 20)).unwrap();
    let (sealed, _) = workspace.seal(place.terms(1)).unwrap();
    let small = place.dir.path().join("small");
    let _disk = SmallDisk::mount(small.clone(), "size=1m,mode=700");
    let fault = sealed.open(&small.join("tree"), None).unwrap_err();
    assert!(matches!(fault, Fault::Full { .. }), "{fault}");
    assert_eq!(fs::read_dir(&small).unwrap().count(), 0);
    assert!(sealed.open(&place.tree(), None).is_ok());
}
