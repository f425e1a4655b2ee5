use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
};

use super::*;

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

#[test]
fn no_link_is_followed_and_nothing_is_made_through_one() {
    let (kept, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(kept.path().join("x")).unwrap();
    let relative = format!("../../{}", outside.path().file_name().unwrap().to_str().unwrap());
    symlink(outside.path(), kept.path().join("x/absolute")).unwrap();
    symlink(relative, kept.path().join("x/relative")).unwrap();
    fs::write(kept.path().join("x/file"), "").unwrap();
    let open = |text: &str| Kept::open(kept.path(), None, &|_| ()).unwrap().directory(&path(text));
    for name in ["absolute", "relative", "file"] {
        for below in ["", "/inner", "/inner/more"] {
            let failure = open(&format!("x/{name}{below}")).unwrap_err();
            assert!([libc::ELOOP, libc::ENOTDIR].contains(&failure.errno), "{failure:?}");
            assert_eq!(failure.doing, format!("open the directory `{name}`"));
        }
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(fs::metadata(outside.path()).unwrap().mode() & 0o777, 0o700);
    open("x/a/b").unwrap();
    assert!(kept.path().join("x/a/b").is_dir());
}

#[test]
fn all_of_it_is_given_away_and_nothing_that_a_link_leads_to() {
    assert!(rustix::process::geteuid().is_root(), "only root can give files away: run the tests as root");
    let (kept, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| kept.path().join(name);
    fs::write(outside.path().join("secret"), "").unwrap();
    fs::create_dir(at("private")).unwrap();
    fs::write(at("private/file"), "").unwrap();
    symlink(outside.path(), at("out")).unwrap();
    symlink(outside.path().join("secret"), at("private/secret")).unwrap();
    fs::set_permissions(at("private"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(at("private/file"), fs::Permissions::from_mode(0o640)).unwrap();
    for name in ["private", "private/file"] {
        chown(at(name), Some(60_001), Some(60_001)).unwrap();
    }
    let theirs = || {
        ["", "secret"].map(|name| {
            let meta = fs::metadata(outside.path().join(name)).unwrap();
            (meta.uid(), meta.mode())
        })
    };
    let before = theirs();
    let root = openat(CWD, kept.path(), DIRECTORY, Mode::empty()).unwrap();
    let seen = |name: &str| {
        let meta = fs::symlink_metadata(at(name)).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o777)
    };
    give_all(&root, Owner { uid: 60_002, gid: 60_002 }, Others::Out, &|_| ()).unwrap();
    assert_eq!(seen("private"), (60_002, 60_002, 0o700));
    assert_eq!(seen("private/file"), (60_002, 60_002, 0o640));
    give_all(&root, Owner { uid: 60_003, gid: 60_003 }, Others::In, &|_| ()).unwrap();
    assert_eq!(seen("private"), (60_003, 60_003, 0o707));
    assert_eq!(seen("private/file"), (60_003, 60_003, 0o646));
    assert_eq!((seen("out").0, seen("private/secret").0, seen("").0), (60_003, 60_003, 60_003));
    assert_eq!(theirs(), before);
}

#[test]
fn whoever_uses_it_alone_keeps_others_out() {
    let kept = tempfile::tempdir().unwrap();
    let host = kept.path().join("one");
    let users = || beside(&host, "users").unwrap();
    assert!(use_it(users()).unwrap() == Others::Out);
    // That one stays, as its process does.
    assert!(use_it(users()).unwrap() == Others::In);
    assert!(use_it(beside(&kept.path().join("two"), "users").unwrap()).unwrap() == Others::Out);
}
