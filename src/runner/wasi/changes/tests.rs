use std::{
    fs::{self, File},
    os::unix::fs::symlink,
};

use super::*;

/// A directory as a stand-in for an overlay: what was touched is there as a whole.
fn changes(make: impl FnOnce(&Path), change: impl FnOnce(&Path)) -> Vec<(String, bool, bool)> {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    make(dirs[0].path());
    let mut copy = std::process::Command::new("cp");
    assert!(copy.args(["-a", "."]).arg(dirs[1].path()).current_dir(dirs[0].path()).status().unwrap().success());
    change(dirs[1].path());
    let [before, after] = dirs.each_ref().map(|dir| File::open(dir.path()).unwrap());
    let found = Views::new(&before, &after, &after).changes().unwrap();
    let name = |change: &Change| change.path.to_str().unwrap().to_owned();
    found.iter().map(|change| (name(change), change.before.is_some(), change.after.is_some())).collect()
}

fn write(dir: &Path, name: &str, content: &str) {
    fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
    fs::write(dir.join(name), content).unwrap();
}

#[test]
fn added_changed_and_deleted_files_are_found_and_touched_ones_are_not() {
    let found = changes(
        |dir| ["same", "old", "gone", "deep/same"].iter().for_each(|name| write(dir, name, "1")),
        |dir| {
            write(dir, "same", "1");
            write(dir, "old", "2");
            fs::remove_file(dir.join("gone")).unwrap();
            write(dir, "deep/new", "3");
        },
    );
    let expected = [("deep/new", false, true), ("gone", true, false), ("old", true, true)];
    assert_eq!(found, expected.map(|(name, before, after)| (name.to_owned(), before, after)));
}

#[test]
fn a_directory_that_is_gone_is_listed_with_all_that_was_in_it() {
    let found = changes(|dir| write(dir, "a/b/c", "1"), |dir| fs::remove_dir_all(dir.join("a")).unwrap());
    assert_eq!(found.iter().map(|one| one.0.as_str()).collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
}

#[test]
fn a_file_in_place_of_a_directory_and_links_are_changes() {
    let found = changes(
        |dir| {
            write(dir, "a/b", "1");
            symlink("a", dir.join("link")).unwrap();
        },
        |dir| {
            fs::remove_dir_all(dir.join("a")).unwrap();
            write(dir, "a", "1");
            fs::remove_file(dir.join("link")).unwrap();
            symlink("/etc/passwd", dir.join("link")).unwrap();
        },
    );
    let names: Vec<_> = found.iter().map(|one| one.0.as_str()).collect();
    assert_eq!(names, ["a", "a/b", "link"]);
}

#[test]
fn a_link_in_place_of_a_directory_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "secret", "1");
    let found = changes(
        |dir| write(dir, "a/b", "1"),
        |dir| {
            fs::remove_dir_all(dir.join("a")).unwrap();
            symlink(outside.path(), dir.join("a")).unwrap();
        },
    );
    assert!(found.iter().all(|one| !one.0.contains("secret")), "{found:?}");
}
