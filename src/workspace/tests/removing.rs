//! Whatever was made can be removed.

use std::os::unix::fs::symlink;

use rustix::fs::{Mode, OFlags};

use super::*;
use crate::workspace::remove_tree;

#[test]
fn a_tree_of_thousands_of_levels_goes() {
    let place = Place::new();
    let top = place.dir.path().join("deep");
    fs::create_dir(&top).unwrap();
    let mut dir = rustix::fs::open(&top, OFlags::DIRECTORY, Mode::empty()).unwrap();
    let name = "d".repeat(200);
    for _ in 0..5_000 {
        rustix::fs::mkdirat(&dir, &name, Mode::RWXU).unwrap();
        rustix::fs::openat(&dir, "file", OFlags::CREATE, Mode::RUSR).unwrap();
        dir = rustix::fs::openat(&dir, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    remove_tree(&top).unwrap();
    assert_eq!(place.beside(), ["sealed"]);
}

#[test]
fn links_go_and_what_they_point_to_stays() {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    let top = place.dir.path().join("top");
    fs::create_dir(&top).unwrap();
    symlink(&outside, top.join("dir")).unwrap();
    symlink(outside.join("file"), top.join("file")).unwrap();
    remove_tree(&top).unwrap();
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"mine");

    symlink(&outside, &top).unwrap();
    remove_tree(&top).unwrap();
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"mine");
    assert_eq!(place.beside(), ["outside", "sealed"]);
}

#[test]
fn removing_what_is_not_there_is_done_already() {
    let place = Place::new();
    remove_tree(&place.dir.path().join("nothing")).unwrap();
    let workspace = place.create();
    fs::remove_dir_all(workspace.tree()).unwrap();
    workspace.remove().unwrap();
}

#[test]
fn a_fault_is_reported_but_the_rest_is_removed() {
    as_root("it makes a file that cannot be removed");
    let place = Place::new();
    let top = place.dir.path().join("top");
    fs::create_dir_all(top.join("a")).unwrap();
    fs::create_dir_all(top.join("z")).unwrap();
    let stuck = top.join("a/stuck");
    fs::create_dir(&stuck).unwrap();
    let options = Some(c"size=64k");
    rustix::mount::mount("airlock-test", &stuck, "tmpfs", rustix::mount::MountFlags::empty(), options)
        .expect("this test needs to mount a tmpfs: run it where root may mount");
    let failed = remove_tree(&top);
    rustix::mount::unmount(&stuck, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(matches!(failed, Err(Fault::Io { .. })));
    assert!(!top.join("z").exists());
    remove_tree(&top).unwrap();
}
