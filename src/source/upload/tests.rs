use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::Path,
    process::Command,
};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tar::{EntryType, Header};

use super::*;
use crate::domain::limits;

/// An archive, header by header, with names that no honest program would write.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn entry(mut self, name: &str, kind: EntryType, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        self.raw(header, content)
    }

    fn raw(&mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        Self(std::mem::take(&mut self.0))
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(name, EntryType::Regular, "", content.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.entry(name, EntryType::Directory, "", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Symlink, target, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Link, target, b"")
    }

    /// A pax header for what follows.
    fn pax(self, key: &str, value: &str) -> Self {
        let rest = format!(" {key}={value}\n");
        let length = (1..9_999).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
        self.entry("pax", EntryType::XHeader, "", format!("{length}{rest}").as_bytes())
    }

    fn tar(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    fn gz(self) -> Vec<u8> {
        gzip(&self.tar())
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn refused(archive: &[u8]) -> String {
    let error = inspect(archive).unwrap_err();
    assert!(error.is_refusal(), "{error:?}");
    error.to_string()
}

/// Unpacks into a fresh directory.
fn unpacked(archive: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let info = inspect(archive).unwrap();
    let same = unpack(archive, File::open(dir.path()).unwrap().as_fd(), None, &info.digest).unwrap();
    assert_eq!(info, same, "both walks see the same");
    dir
}

#[test]
fn an_archive_is_counted_and_named_by_its_digest() {
    let archive = Archive::default().dir("infra/").file("infra/main.tf", "hello").symlink("link", "infra/main.tf").gz();
    let info = inspect(archive.as_slice()).unwrap();
    assert_eq!((info.size, info.entries, info.unpacked), (archive.len() as u64, 3, 5));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &archive);
    assert_eq!(info.digest, Digest::from_bytes(digest.as_ref().try_into().unwrap()));
}

#[test]
fn every_entry_that_is_not_allowed_is_named() {
    let a = Archive::default;
    let device = |kind| a().entry("dev/thing", kind, "", b"");
    for (archive, said) in [
        (a().file("/etc/passwd", "x"), "`/etc/passwd` is absolute"),
        (a().file("../x", "x"), "`../x` holds `..`"),
        (a().file("a/../../x", "x"), "`a/../../x` holds `..`"),
        (a().dir("a/.."), "`a/..` holds `..`"),
        (a().symlink("a", "/etc/passwd"), "`a` links out of the archive, to `/etc/passwd`"),
        (a().symlink("a", "../x"), "`a` links out of the archive, to `../x`"),
        (a().symlink("d/a", "../../x"), "`d/a` links out"),
        (a().symlink("d/a", "./x/../../../y"), "`d/a` links out"),
        (a().symlink("up", "d/e/..").symlink("out", "up/../.."), "`out` links out"),
        (a().dir("d").symlink("d/here", "..").symlink("d/out", "here/.."), "`d/out` links out"),
        (a().symlink("d/out", "here/..").symlink("d/here", ".."), "`d/out` links out"),
        (a().symlink("a", ""), "`a` is a link without a target"),
        (a().hard_link("a", "/etc/passwd"), "`a` links out of the archive, to `/etc/passwd`"),
        (a().hard_link("a", "../x"), "`a` links out of the archive, to `../x`"),
        (a().hard_link("a", "b").file("b", ""), "`a` is a hard link to `b`, which is no file before it"),
        (a().dir("b").hard_link("a", "b"), "`a` is a hard link to `b`, which is no file before it"),
        (a().symlink("b", "c").hard_link("a", "b"), "`a` is a hard link to `b`, which is no file before it"),
        (a().file("a", "").hard_link("a", "a"), "`a` is a hard link to `a`, which is no file before it"),
        (a().symlink("a", "b").file("a/x", ""), "`a/x` lies below `a`, which is not a directory"),
        (a().symlink("a", ".").dir("a/x/y"), "`a/x/y` lies below `a`, which is not a directory"),
        (a().file("a", "").file("a/x", ""), "`a/x` lies below `a`"),
        (a().dir("a").file("a/x", "").symlink("a", "b"), "`a` is in the archive twice"),
        (a().file("a", "").symlink("./a", "b"), "`a` is in the archive twice"),
        (a().symlink("a", "b").file("a", ""), "`a` is in the archive twice"),
        (device(EntryType::Char), "`dev/thing` is a character device"),
        (device(EntryType::Block), "`dev/thing` is a block device"),
        (device(EntryType::Fifo), "`dev/thing` is a named pipe"),
        (device(EntryType::new(b'Z')), "`dev/thing` is a thing of an unknown kind"),
        (device(EntryType::GNUSparse), "`dev/thing` is stored as a sparse file"),
        (a().pax("GNU.sparse.major", "1").file("a", ""), "`a` is stored as a sparse file"),
        (a().pax("path", "/etc/x").file("a", ""), "`/etc/x` is absolute"),
        (a().pax("path", "b/../../x").file("a", ""), "`b/../../x` holds `..`"),
        (a().pax("linkpath", "../../x").symlink("a", "b"), "`a` links out of the archive, to `../../x`"),
        (a().entry("L", EntryType::GNULongName, "", b"../long\0").file("a", ""), "`../long` holds `..`"),
        (a().entry("K", EntryType::GNULongLink, "", b"/etc\0").symlink("a", "b"), "`a` links out"),
        (a().pax("path", &"n".repeat(256)).file("a", ""), "is too long"),
        (a().pax("path", &"nnn/".repeat(1_000)).file("a", ""), "is too long"),
        (a().pax("path", "a\u{1b}[31m/../x").file("a", ""), "`a\\u{1b}[31m/../x` holds `..`"),
        (a().pax("path", "").file("a", ""), "an entry has no name"),
        (a().file("./", ""), "holds no files"),
        (a().file(".", "x"), "an entry has no name"),
        (a().symlink(".", "x"), "an entry has no name"),
        (a(), "holds no files"),
        (a().dir("./"), "holds no files"),
        (a().entry("pax", EntryType::XHeader, "", b"99 path=x\n").file("a", ""), "is not one of pax"),
        (a().entry("pax", EntryType::XHeader, "", b"x").file("a", ""), "is not one of pax"),
        (a().entry("pax", EntryType::XHeader, "", b"9 path=x\n3 \n").file("a", ""), "is not one of pax"),
        (a().entry("pax", EntryType::XHeader, "", &vec![b'x'; 70_000]).file("a", ""), "are too large"),
    ] {
        let archive = archive.gz();
        let error = refused(&archive);
        assert!(error.contains(said), "expected {said}: {error}");
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        let digest = Digest::from_bytes([0; 32]);
        assert!(unpack(archive.as_slice(), File::open(&below).unwrap().as_fd(), None, &digest).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was written outside ({said})");
    }
}

#[test]
fn links_that_stay_inside_are_fine() {
    let archive = Archive::default()
        .dir("a/b")
        .file("a/b/file", "x")
        .symlink("a/up", "..")
        .symlink("a/b/root", "../..")
        .symlink("through", "a/b/root/a/up/a/b/file")
        .symlink("dangling", "nowhere/at/all")
        .symlink("loop", "loop2")
        .symlink("loop2", "loop/../..")
        .symlink("self", ".")
        .hard_link("./hard", "./a/b/file")
        .gz();
    let dir = unpacked(&archive);
    assert_eq!(fs::read_to_string(dir.path().join("through")).unwrap(), "x");
    assert_eq!(
        dir.path().join("hard").metadata().unwrap().ino(),
        dir.path().join("a/b/file").metadata().unwrap().ino()
    );
}

#[test]
fn sizes_and_counts_are_bounded_before_they_cost_anything() {
    let a = Archive::default;
    let huge = |size: u64| {
        let mut header = Header::new_ustar();
        header.set_path("huge").unwrap();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        a().file("first", "x").raw(header, b"").gz()
    };
    assert_eq!(refused(&huge(limits::SOURCE_UNPACKED_BYTES)), "with `huge` the archive unpacks to more than 8 GiB");
    assert_eq!(refused(&huge(1 << 40)), "with `huge` the archive unpacks to more than 8 GiB");
    let pax = a().pax("size", &u64::MAX.to_string()).file("huge", "");
    assert!(refused(&pax.gz()).contains("unpacks to more than"));
    let deep = "d/".repeat(1_400);
    let mut implied = a();
    for n in 0..150 {
        implied = implied.pax("path", &format!("{n}/{deep}x")).file("a", "");
    }
    assert!(refused(&implied.gz()).contains("the names in the archive exceed 64 MiB"));
    let mut implied = a();
    for n in 0..20_000 {
        implied = implied.file(&format!("{n}/{}x", "d/".repeat(9)), "");
    }
    assert!(refused(&implied.gz()).contains("one entry too many; at most 200000 are allowed"));
}

#[test]
fn one_entry_too_many_is_named() {
    let mut tree = tree::Tree::default();
    let file = crate::archive::What::File { size: 0 };
    for n in 0..limits::SOURCE_ENTRIES {
        tree.add(n.to_string().as_bytes(), &file).unwrap();
    }
    tree.add(b"7", &file).expect("it is there already");
    let error = tree.add(b"last", &file).unwrap_err().to_string();
    assert_eq!(error, "`last` is one entry too many; at most 200000 are allowed");
}

#[test]
fn links_that_are_made_to_be_slow_are_refused() {
    let mut archive = Archive::default();
    for n in 0..39 {
        archive = archive.symlink(&format!("l{n}"), &format!("{}l{}", "./".repeat(40), n + 1));
    }
    let detour = "l0/".repeat(30);
    for n in 0..3_000 {
        archive = archive.symlink(&format!("x{n}"), &detour);
    }
    assert!(refused(&archive.gz()).contains("lead through too many others"));
}

#[test]
fn what_is_not_a_whole_gzip_is_told_apart() {
    let tar = Archive::default().file("a", &"x".repeat(5_000)).file("b", "y").tar();
    let whole = gzip(&tar);
    assert!(refused(b"").contains("is empty"));
    assert!(refused(b"PK\x03\x04 a zip").contains("is not gzip"));
    assert!(refused(&tar).contains("is not gzip"));
    assert!(refused(b"\x1f").contains("cut off") || refused(b"\x1f").contains("not gzip"));
    for cut in [whole.len() - 1, whole.len() - 8, whole.len() / 2, 20] {
        assert!(refused(&whole[..cut]).contains("cut off"), "{cut}: {}", refused(&whole[..cut]));
    }
    let mut damaged = whole.clone();
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    assert!(refused(&damaged).contains("damaged after `b`"), "{}", refused(&damaged));
    assert!(refused(&gzip(&tar[..600])).contains("cut off after `a`"));
    assert!(refused(&gzip(&tar[..700])).contains("cut off"));
    assert!(
        refused(&gzip(b"not a tar, but long enough for a header".repeat(40).as_slice())).contains("not one of tar")
    );
    assert!(refused(&[whole.clone(), b"garbage, and not a little".to_vec()].concat()).contains("damaged"));
    let longer = [tar.clone(), b"more".to_vec()].concat();
    assert!(refused(&gzip(&longer)).contains("goes on after its end"));
    assert!(refused(&gzip(&[tar.clone(), vec![0; 2 << 20]].concat())).contains("goes on after its end"));
}

#[test]
fn several_gzip_members_and_padding_are_one_archive() {
    let tar = Archive::default().file("a", "xyz").tar();
    let members = [gzip(&tar[..100]), gzip(&tar[100..]), gzip(&[0; 9_000])].concat();
    assert_eq!(inspect(members.as_slice()).unwrap().unpacked, 3);
    assert_eq!(inspect(gzip(&tar[..1_024]).as_slice()).unwrap().unpacked, 3, "without the blocks at its end");
    assert_eq!(inspect(gzip(&tar[..515]).as_slice()).unwrap().unpacked, 3, "without the last file's padding");
}

#[test]
fn a_source_that_cannot_be_read_is_not_the_archives_fault() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let whole = Archive::default().file("a", "x").gz();
    let error = inspect(whole[..20].chain(Broken)).unwrap_err();
    assert!(matches!(error, UploadError::Read(_)) && !error.is_refusal(), "{error:?}");
}

#[test]
fn unpacked_files_keep_permissions_and_times_and_nothing_more() {
    let archive = Archive::default().dir("d").file("d/tool", "#!/bin/sh\n").gz();
    let dir = unpacked(&archive);
    let tool = dir.path().join("d/tool").metadata().unwrap();
    assert_eq!(tool.permissions().mode() & 0o7777, 0o755, "without set-user-id");
    assert_eq!(tool.mtime(), 1_700_000_000);
    assert_eq!(dir.path().join("d").metadata().unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_read_only_directory_does_not_keep_its_files_out() {
    let mut archive = Archive::default();
    for (name, kind, mode) in [("d", EntryType::Directory, 0o500), ("d/f", EntryType::Regular, 0o000)] {
        let mut header = Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(0);
        archive = archive.raw(header, b"");
    }
    let dir = unpacked(&archive.gz());
    assert_eq!(dir.path().join("d/f").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_later_file_of_the_same_name_wins_and_leaves_its_hard_links_alone() {
    let archive = Archive::default().file("a", "first").hard_link("b", "a").file("a", "second").gz();
    let dir = unpacked(&archive);
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "second");
    assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "first");
}

#[test]
fn a_link_that_was_put_into_the_directory_is_never_followed() {
    let outside = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(outside.path(), dir.path().join("d")).unwrap();
    for archive in [
        Archive::default().file("d/x", "y").gz(),
        Archive::default().dir("d").gz(),
        Archive::default().file("d", "y").gz(),
        Archive::default().symlink("d/x", "y").gz(),
    ] {
        let digest = inspect(archive.as_slice()).unwrap().digest;
        let error = unpack(archive.as_slice(), File::open(dir.path()).unwrap().as_fd(), None, &digest).unwrap_err();
        assert!(matches!(error, UploadError::Write { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn the_owner_of_everything_is_the_runs_user() {
    assert!(rustix::process::geteuid().is_root(), "only root can give files away: run the tests as root");
    let archive = Archive::default().file("d/f", "x").symlink("l", "d").hard_link("h", "d/f").gz();
    let digest = inspect(archive.as_slice()).unwrap().digest;
    let dir = tempfile::tempdir().unwrap();
    unpack(archive.as_slice(), File::open(dir.path()).unwrap().as_fd(), Some(12_345), &digest).unwrap();
    for name in ["d", "d/f", "l", "h"] {
        let found = fs::symlink_metadata(dir.path().join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (12_345, 12_345), "{name}");
    }
}

#[test]
fn another_archive_than_the_one_asked_for_is_an_error() {
    let archive = Archive::default().file("a", "x").gz();
    let dir = tempfile::tempdir().unwrap();
    let digest = Digest::from_bytes([7; 32]);
    let error = unpack(archive.as_slice(), File::open(dir.path()).unwrap().as_fd(), None, &digest).unwrap_err();
    assert!(error.to_string().contains("sha256:0707…0707"), "{error}");
}

#[test]
fn what_tar_and_git_write_is_understood() {
    let source = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "directory-with-a-long-name/".repeat(6), "file-with-a-long-name".repeat(6));
    let file = source.path().join(&long);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "long").unwrap();
    fs::write(source.path().join("ä ö.txt"), "umlaut").unwrap();
    symlink(&long, source.path().join("link")).unwrap();
    fs::hard_link(&file, source.path().join("hard")).unwrap();
    for format in ["gnu", "pax", "ustar", "v7"] {
        let archive = tar(source.path(), format);
        if format == "v7" || format == "ustar" {
            // Too long for these; tar leaves it out.
            assert!(inspect(archive.as_slice()).is_ok());
            continue;
        }
        let dir = unpacked(&archive);
        assert_eq!(fs::read_to_string(dir.path().join("link")).unwrap(), "long", "{format}");
        assert_eq!(fs::read_to_string(dir.path().join("ä ö.txt")).unwrap(), "umlaut");
        assert_eq!(dir.path().join("hard").metadata().unwrap().nlink(), 2);
    }
}

fn tar(source: &Path, format: &str) -> Vec<u8> {
    Command::new("tar")
        .args(["--format", format, "-cz", "-C"])
        .arg(source)
        .arg(".")
        .output()
        .expect("this test needs tar on the PATH")
        .stdout
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_bytes_make_the_walk_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = inspect(bytes.as_slice());
        let _ = inspect(gzip(&bytes).as_slice());
    }

    #[test]
    fn no_archive_writes_outside_its_directory(
        entries in proptest::collection::vec(
            ("[ab./]{1,6}", 0..4_u8, "[ab./]{1,6}"),
            1..12,
        )
    ) {
        let mut archive = Archive::default();
        for (name, kind, target) in &entries {
            archive = match kind {
                0 => archive.file(name, "x"),
                1 => archive.dir(name),
                2 => archive.symlink(name, target),
                _ => archive.hard_link(name, target),
            };
        }
        let archive = archive.gz();
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("1/2/3/4/5/6/7/8");
        fs::create_dir_all(&inner).unwrap();
        let inspected = inspect(archive.as_slice());
        let digest = inspected.as_ref().map_or(Digest::from_bytes([0; 32]), |info| info.digest.clone());
        let written = unpack(archive.as_slice(), File::open(&inner).unwrap().as_fd(), None, &digest);
        prop_assert_eq!(inspected.is_ok(), written.is_ok(), "{:?} {:?}", inspected, written);
        let mut at = outer.path().to_owned();
        for part in 1..=8 {
            prop_assert_eq!(fs::read_dir(&at).unwrap().count(), 1);
            at = at.join(part.to_string());
        }
        if written.is_ok() {
            // And no link of the tree leads outside, says the kernel itself.
            stays_inside(&inner.canonicalize().unwrap(), &inner);
        }
    }
}

fn stays_inside(root: &Path, dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if let Ok(real) = path.canonicalize() {
            assert!(real.starts_with(root), "{} leads to {}", path.display(), real.display());
        }
        if !path.is_symlink() && path.is_dir() {
            stays_inside(root, &path);
        }
    }
}
