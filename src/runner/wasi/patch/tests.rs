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

#[test]
fn git_makes_the_same_tree_of_it() {
    let (text, summary, [before, after]) = patch(
        |dir| {
            fs::write(dir.join("main.tf"), "a\nb\nc\n").unwrap();
            fs::write(dir.join("no newline"), "x").unwrap();
            fs::write(dir.join("gone"), "bye\n").unwrap();
            fs::write(dir.join("run.sh"), "#!/bin/sh\n").unwrap();
            symlink("main.tf", dir.join("link")).unwrap();
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
        },
    );
    assert_eq!(summary, PatchSummary { added: 2, changed: 4, deleted: 1, unshown: 0, masked: false });
    let file = before.path().with_extension("patch");
    fs::write(&file, &text).unwrap();
    let applied = Command::new("git").arg("apply").arg(&file).current_dir(before.path()).output().unwrap();
    fs::remove_file(file).unwrap();
    assert!(applied.status.success(), "{text}\n{}", String::from_utf8_lossy(&applied.stderr));
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
