use std::{
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt, symlink},
    },
    process::Command,
};

use tempfile::TempDir;

use super::*;

fn patch(make: impl FnOnce(&Path), change: impl FnOnce(&Path)) -> (String, PatchSummary, [TempDir; 2]) {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    make(dirs[0].path());
    assert!(
        Command::new("cp")
            .args(["-a", "."])
            .arg(dirs[1].path())
            .current_dir(dirs[0].path())
            .status()
            .unwrap()
            .success()
    );
    change(dirs[1].path());
    let [before, after] = dirs.each_ref().map(|dir| File::open(dir.path()).unwrap());
    let views = Views::new(&before, &after, &after);
    let (text, summary) = write(views, &views.changes().unwrap()).unwrap();
    (text, summary, dirs)
}

/// Has `git` apply it in a directory.
fn applied(text: &str, dir: &Path) {
    let file = dir.with_extension("patch");
    fs::write(&file, text).unwrap();
    let applied = Command::new("git").arg("apply").arg(&file).current_dir(dir).output().unwrap();
    fs::remove_file(file).unwrap();
    assert!(applied.status.success(), "{text}\n{}", String::from_utf8_lossy(&applied.stderr));
}

#[test]
fn git_makes_the_same_tree_of_it() {
    let (text, summary, [before, after]) = patch(
        |dir| {
            fs::write(dir.join("main.tf"), "a\nb\nc\n").unwrap();
            fs::write(dir.join("no newline"), "x").unwrap();
            fs::write(dir.join("gone"), "bye\n").unwrap();
            fs::write(dir.join("run.sh"), "#!/bin/sh\n").unwrap();
            symlink("main.tf", dir.join("link")).unwrap();
            symlink("main.tf", dir.join("was")).unwrap();
            fs::write(dir.join("becomes"), "a file\n").unwrap();
            fs::create_dir(dir.join("dir")).unwrap();
            fs::write(dir.join("dir/deep"), "x\n").unwrap();
        },
        |dir| {
            fs::write(dir.join("main.tf"), "a\nB\nc\n").unwrap();
            fs::write(dir.join("no newline"), "y").unwrap();
            fs::remove_file(dir.join("gone")).unwrap();
            fs::set_permissions(dir.join("run.sh"), Permissions::from_mode(0o755)).unwrap();
            fs::create_dir(dir.join("new")).unwrap();
            fs::write(dir.join("new/ä\".txt"), "new\n").unwrap();
            fs::write(dir.join("empty"), "").unwrap();
            fs::remove_file(dir.join("link")).unwrap();
            symlink("run.sh", dir.join("link")).unwrap();
            fs::remove_file(dir.join("was")).unwrap();
            fs::write(dir.join("was"), "main.tf").unwrap();
            fs::remove_file(dir.join("becomes")).unwrap();
            symlink("a file\n", dir.join("becomes")).unwrap();
            fs::remove_dir_all(dir.join("dir")).unwrap();
            symlink("new", dir.join("dir")).unwrap();
            symlink("nowhere", dir.join("made")).unwrap();
        },
    );
    // What becomes something else counts as deleted and added.
    assert_eq!(summary, PatchSummary { added: 6, changed: 4, deleted: 4, ..PatchSummary::default() });
    applied(&text, before.path());
    let same =
        Command::new("diff").args(["-r", "--no-dereference"]).args([before.path(), after.path()]).output().unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
}

#[test]
fn what_is_not_text_or_too_large_is_named_only() {
    let (text, summary, _dirs) = patch(
        |dir| fs::write(dir.join("binary"), [0, 1]).unwrap(),
        |dir| {
            fs::write(dir.join("binary"), [0, 2]).unwrap();
            fs::write(dir.join("large"), "x".repeat(PATCH_FILE_BYTES as usize + 1)).unwrap();
        },
    );
    assert_eq!((summary.changed, summary.added, summary.unshown), (1, 1, 2));
    assert!(text.contains("a/binary b/binary\nBinary files differ") && text.len() < 1_000, "{text}");
}

#[test]
fn names_that_cannot_be_applied_are_named_only() {
    let (text, summary, _dirs) = patch(
        |dir| fs::write(dir.join("\"quoted\""), "one\n").unwrap(),
        |dir| {
            fs::write(dir.join("\"quoted\""), "two\n").unwrap();
            fs::write(dir.join("tab\there"), "new\n").unwrap();
            fs::write(dir.join(std::ffi::OsStr::from_bytes(b"\xff")), "new\n").unwrap();
        },
    );
    assert_eq!((summary.changed, summary.added, summary.unshown), (1, 2, 2));
    assert!(text.contains("b/tab\\011here\"\nnew file mode 100644\nBinary files differ\n"), "{text}");
}

#[test]
fn links_that_lead_out_are_told_however_they_do_it() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let after = dirs[1].path();
    fs::create_dir_all(after.join("d/e")).unwrap();
    for dir in [dirs[0].path(), after] {
        symlink("..", dir.join("old")).unwrap();
    }
    for (name, target) in [
        ("absolute", "/etc/passwd"),
        ("above", "../x"),
        ("d/above", "../../x"),
        ("nowhere", "absent/../../x"),
        ("through", "old/x"),
        ("d/fine", "../d/e"),
        ("fine", "absent"),
        ("loop", "loop"),
    ] {
        symlink(target, after.join(name)).unwrap();
    }
    let [before, after] = dirs.each_ref().map(|dir| File::open(dir.path()).unwrap());
    let views = Views::new(&before, &after, &after);
    let out = leading_out(views, &views.changes().unwrap()).unwrap();
    let names: Vec<_> = out.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    assert_eq!(names, ["above", "absolute", "d/above", "nowhere", "through"]);
    assert_eq!(out[1].1, Path::new("/etc/passwd"));
}

#[test]
fn a_patch_that_has_no_time_for_a_short_diff_is_right_all_the_same() {
    let (before, after): (String, String) =
        (0..2_000).map(|n| (format!("{}\n", n * 7 % 13), format!("{}\n", n * 5 % 13))).unzip();
    let dirs = [&before, &after].map(|text| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), text).unwrap();
        dir
    });
    let [old, new] = dirs.each_ref().map(|dir| File::open(dir.path()).unwrap());
    let views = Views::new(&old, &new, &new);
    let changes = views.changes().unwrap();
    let (text, summary) = write_by(Instant::now(), views, &changes).unwrap();
    assert_eq!((summary.changed, summary.unshown), (1, 0));
    assert!(text.len() > write(views, &changes).unwrap().0.len(), "there was no time");
    applied(&text, dirs[0].path());
    assert_eq!(fs::read_to_string(dirs[0].path().join("file")).unwrap(), after);
}

#[test]
fn what_does_not_fit_any_more_is_counted_and_named() {
    let large = "0123456789abcde\n".repeat(60_000);
    let (text, summary, _dirs) =
        patch(|_| {}, |dir| (0..20).for_each(|n| fs::write(dir.join(format!("{n:02}")), &large).unwrap()));
    assert_eq!((summary.added, summary.unshown), (20, 12));
    assert!(text.len() <= PATCH_BYTES && text.ends_with("Binary files differ\n"), "{}", text.len());
    assert_eq!(text.matches("diff --git").count(), 20);
}

#[test]
fn a_carriage_return_ends_no_line() {
    let (text, summary, [before, after]) = patch(
        |dir| fs::write(dir.join("old"), "one\rtwo\rthree\nfour\r").unwrap(),
        |dir| {
            fs::write(dir.join("old"), "one\r2\rthree\nfour\r\r").unwrap();
            fs::write(dir.join("windows"), "one\r\ntwo\r\n").unwrap();
            symlink("a\r\rb\r", dir.join("link")).unwrap();
        },
    );
    assert_eq!((summary.added, summary.changed, summary.unshown), (2, 1, 0));
    applied(&text, before.path());
    assert_eq!(fs::read(before.path().join("old")).unwrap(), fs::read(after.path().join("old")).unwrap());
    assert_eq!(fs::read_link(before.path().join("link")).unwrap(), Path::new("a\r\rb\r"));
}
