use std::{
    fs,
    io::{Seek as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::PathBuf,
};

use tar::{Builder, EntryType, Header};

use super::*;
use crate::crypt::digest;

/// A tar under construction. Names are written as they are, so that hostile ones can be.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: EntryType, name: &str, mode: u32, target: &str, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_ustar_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, 0o644, "", content.as_bytes())
    }

    fn bytes(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, 0o644, "", content)
    }

    fn dir(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, 0o755, "", b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, 0o777, target, b"")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, 0o644, target, b"")
    }

    fn shell() -> Self {
        Self::new().dir("usr/").dir("usr/bin/").link("bin", "usr/bin").entry(
            EntryType::Regular,
            "usr/bin/sh",
            0o4755,
            "",
            b"#!",
        )
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

struct Place {
    dir: tempfile::TempDir,
    outside: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir_all(dir.path().join("root")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "precious").unwrap();
        Self { dir, outside }
    }

    fn unpack(&self, archive: &[u8]) -> Result<ImageInfo, ImageError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(archive).unwrap();
        file.rewind().unwrap();
        let root = fs::File::open(self.root("")).unwrap();
        let unpacked = unpack(&file, self.dir.path(), root.as_fd());
        assert_eq!(fs::read_to_string(self.outside.join("precious")).unwrap(), "precious");
        assert_eq!(fs::read_dir(&self.outside).unwrap().count(), 1);
        assert_eq!(fs::read_dir(self.dir.path()).unwrap().count(), 2, "nothing lies around");
        unpacked
    }

    fn root(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root(path)).ok()
    }
}

fn sha(bytes: &[u8]) -> String {
    digest(bytes).digits().to_owned()
}

/// What `docker save` writes of these layers.
fn saved(layers: &[&[u8]]) -> Vec<u8> {
    let names: Vec<String> = layers.iter().map(|layer| format!("blobs/sha256/{}", sha(layer))).collect();
    let manifest = serde_json::json!([{"Config": "blobs/sha256/x", "RepoTags": ["a:1"], "Layers": names}]);
    let with = |tar: Tar, (name, layer): (&String, &&[u8])| tar.bytes(name, layer);
    let tar = names.iter().zip(layers).fold(Tar::new().dir("blobs/"), with);
    tar.file("manifest.json", &manifest.to_string()).done()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_root_as_tar_is_unpacked_however_it_is_packed() {
    let plain = Tar::shell().file("./etc/os-release", "ID=tiny").hard("usr/bin/ash", "usr/bin/sh").done();
    let zst = zstd::encode_all(&plain[..], 3).unwrap();
    for archive in [&plain, &gzip(&plain), &zst] {
        let place = Place::new();
        let info = place.unpack(archive).unwrap();
        assert_eq!((info.layers, info.entries, info.bytes), (1, 6, 9));
        assert_eq!(place.read("etc/os-release").unwrap(), "ID=tiny");
        let shell = fs::metadata(place.root("usr/bin/sh")).unwrap();
        assert_eq!((shell.permissions().mode() & 0o7777, shell.nlink()), (0o755, 2), "no set-user-id survives");
    }
}

#[test]
fn later_layers_lie_over_earlier_ones_and_take_away_what_they_say() {
    let first = Tar::shell()
        .file("etc/one", "1")
        .file("etc/two", "1")
        .file("opt/app/old", "1")
        .file("opt/app/deep/old", "1")
        .file("was-a-file", "1")
        .file("was-a-dir/inner", "1")
        .done();
    // `bin` is a link by now: what is put below it lands where it leads.
    let second = Tar::new()
        .file("bin/tool", "2")
        .file("etc/.wh.one", "")
        .file("etc/two", "2")
        .file("opt/app/deep/new", "2")
        .file("opt/app/.wh..wh..opq", "")
        .file("was-a-file/now-a-dir", "2")
        .done();
    let place = Place::new();
    // A file does not become a directory by the way; an entry says so.
    assert!(place.unpack(&saved(&[&first, &second])).is_err());
    let second = Tar::new()
        .file("bin/tool", "2")
        .file("etc/.wh.one", "")
        .file("etc/two", "2")
        .file("opt/app/deep/new", "2")
        .file("opt/app/.wh..wh..opq", "")
        .dir("was-a-file/")
        .file("was-a-file/inner", "2")
        .file("was-a-dir", "2")
        .done();
    let third = Tar::new().file(".wh.nothing", "").file("etc/.wh..wh.plnk", "").done();
    let place = Place::new();
    let info = place.unpack(&saved(&[&first, &gzip(&second), &zstd::encode_all(&third[..], 3).unwrap()])).unwrap();
    assert_eq!(info.layers, 3);
    assert_eq!(place.read("usr/bin/tool").unwrap(), "2");
    assert_eq!((place.read("etc/one"), place.read("etc/two").as_deref()), (None, Some("2")));
    assert_eq!((place.read("opt/app/old"), place.read("opt/app/deep/old")), (None, None));
    assert_eq!(place.read("opt/app/deep/new").unwrap(), "2");
    assert_eq!((place.read("was-a-file/inner").unwrap(), place.read("was-a-dir").unwrap()), ("2".into(), "2".into()));
}

#[test]
fn no_link_and_no_name_leads_out() {
    let place = Place::new();
    let outside = place.outside.to_str().unwrap().to_owned();
    // Absolute links and `..` end in the image's own root.
    let tar = Tar::shell()
        .link("abs", &outside)
        .link("up", "../../../../../../../..")
        .link("etc", "/../../etc")
        .file("up/landed", "x");
    place.unpack(&tar.done()).unwrap();
    assert_eq!(place.read("landed").unwrap(), "x");
    // A link to what is not there within the root takes nothing in.
    for hostile in [
        Tar::shell().link("abs", &outside).file("abs/new", "x"),
        Tar::shell().link("abs", &outside).file("abs/precious", "x"),
        Tar::shell().file("../escaped", "x"),
        Tar::shell().file("usr/../../escaped", "x"),
        Tar::shell().link("abs", &outside).hard("stolen", "abs/precious"),
        Tar::shell().hard("stolen", &format!("{outside}/precious")),
        Tar::shell().hard("stolen", "../outside/precious"),
        Tar::shell().file("plain", "x").file("plain/below", "x"),
    ] {
        let place = Place::new();
        let error = place.unpack(&hostile.done()).unwrap_err();
        assert!(error.is_refusal(), "{error}");
        assert!(!place.dir.path().join("escaped").exists());
    }
    // A whiteout through a link takes away nothing of others.
    let place = Place::new();
    let outside = place.outside.to_str().unwrap().to_owned();
    let whiteouts = Tar::new().file("abs/.wh.precious", "").file("abs/.wh..wh..opq", "").file(".wh...", "").done();
    place.unpack(&saved(&[&Tar::shell().link("abs", &outside).done(), &whiteouts])).unwrap();
    // What takes a link's place does not write through it.
    let place = Place::new();
    let precious = place.outside.join("precious");
    let tar = Tar::shell().link("file", precious.to_str().unwrap()).file("file", "mine").done();
    place.unpack(&tar).unwrap();
    assert_eq!(place.read("file").unwrap(), "mine");
}

#[test]
fn devices_pipes_and_what_has_no_shell_are_refused_by_name() {
    for (kind, what) in [
        (EntryType::Char, "character device"),
        (EntryType::Block, "block device"),
        (EntryType::Fifo, "named pipe"),
        (EntryType::new(b'?'), "thing of an unknown kind"),
    ] {
        let error = Place::new().unpack(&Tar::shell().entry(kind, "dev/odd", 0o666, "", b"").done()).unwrap_err();
        assert_eq!(error.to_string(), format!("`dev/odd` is a {what}; images may hold files, directories and links"));
    }
    for without in [Tar::new().file("etc/x", ""), Tar::new().link("bin", "/nowhere"), Tar::new().dir("bin/sh")] {
        assert!(matches!(Place::new().unpack(&without.done()), Err(ImageError::NoShell)));
    }
}

#[test]
fn an_image_of_another_machine_several_images_and_damaged_blobs_are_refused() {
    let layer = Tar::shell().done();
    let manifest = serde_json::json!({"schemaVersion": 2, "layers": [{"digest": format!("sha256:{}", sha(&layer))}]});
    let manifest = manifest.to_string();
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let layout = |architectures: &[&str], layer: &[u8], named: &[u8]| {
        let manifests: Vec<serde_json::Value> = architectures
            .iter()
            .map(|architecture| {
                let platform = serde_json::json!({"os": "linux", "architecture": architecture});
                serde_json::json!({"digest": format!("sha256:{}", sha(manifest.as_bytes())), "platform": platform})
            })
            .collect();
        Tar::new()
            .file("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#)
            .file("index.json", &serde_json::json!({"manifests": manifests}).to_string())
            .file(&format!("blobs/sha256/{}", sha(manifest.as_bytes())), &manifest)
            .bytes(&format!("blobs/sha256/{}", sha(named)), layer)
            .done()
    };
    let good = layout(&["riscv64", machine, "unknown"], &layer, &layer);
    assert_eq!(Place::new().unpack(&good).unwrap().layers, 1);
    let refused = |archive: &[u8]| Place::new().unpack(archive).unwrap_err();
    assert!(matches!(refused(&layout(&["riscv64"], &layer, &layer)), ImageError::OtherMachine(_)));
    assert!(matches!(refused(&layout(&[machine, machine], &layer, &layer)), ImageError::Several(2)));
    let mut changed = layer.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert!(matches!(refused(&layout(&[machine], &changed, &layer)), ImageError::Damaged { .. }));
    let two = serde_json::json!([{"Layers": []}, {"Layers": []}]).to_string();
    assert!(matches!(refused(&Tar::new().file("manifest.json", &two).done()), ImageError::Several(2)));
    let lacks = serde_json::json!([{"Layers": ["gone/layer.tar"]}]).to_string();
    assert!(matches!(refused(&Tar::new().file("manifest.json", &lacks).done()), ImageError::Missing(_)));
    // Old archives share layers by links.
    let shares = serde_json::json!([{"Layers": ["a/layer.tar", "b/layer.tar"]}]).to_string();
    let old = Tar::new().bytes("a/layer.tar", &layer).link("b/layer.tar", "../a/layer.tar");
    assert_eq!(Place::new().unpack(&old.file("manifest.json", &shares).done()).unwrap().layers, 2);
    for nonsense in [&b"not an archive"[..], &[0x1f, 0x8b, 8, 0][..], &[0x28, 0xb5, 0x2f, 0xfd, 9][..], &good[..700]] {
        let error = refused(nonsense);
        assert!(error.is_refusal(), "{error}");
    }
    assert!(matches!(refused(b""), ImageError::NoShell));
}
