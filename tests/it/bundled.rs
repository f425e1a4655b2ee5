//! The guests that come along are what their sources say.
//!
//! Rust promises the same bytes only for the same toolchain and paths. With the one that made
//! `guests/built` bytes are compared; with any other imports, exports and, roughly, size are.

use std::{fs, path::Path, process::Command};

use airlock::guest;

const NAMES: [&str; 3] = ["guard", "patcher", "surveyor"];

fn guests() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/guests"))
}

#[test]
fn the_bundled_guests_are_small_and_ask_for_nothing_but_wasi() {
    for name in NAMES {
        let bundled = guest::bundled(name).unwrap();
        let facts = guest::inspect(bundled.code).unwrap();
        assert_eq!(facts.form, guest::Form::Core);
        assert!(facts.bytes <= 300_000, "{name} has {} bytes", facts.bytes);
        let strangers: Vec<_> =
            facts.imports.iter().filter(|import| !import.starts_with("wasi_snapshot_preview1.")).collect();
        assert_eq!(strangers, [""; 0], "{name}");
    }
}

/// `tests/run` installs the compiler; where it is missing, this fails with what to install.
#[test]
fn building_the_bundled_guests_again_makes_the_same() {
    let into = tempfile::tempdir().unwrap();
    let rustc = std::env::var("RUSTC_WASI").unwrap_or_else(|_| "/usr/bin/rustc".to_owned());
    let built = Command::new(guests().join("build")).arg(into.path()).env("RUSTC", &rustc).output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{said}");
    let version = Command::new(&rustc).arg("--version").output().unwrap().stdout;
    let same_toolchain = fs::read(guests().join("built/TOOLCHAIN")).unwrap() == version;
    for name in NAMES {
        let new = fs::read(into.path().join(format!("{name}.wasm"))).unwrap();
        let old = guest::bundled(name).unwrap().code;
        if same_toolchain {
            assert!(new == old, "{name} is not what guests/{name}.rs makes: run guests/build");
            continue;
        }
        let (new, old) = (guest::inspect(&new).unwrap(), guest::inspect(old).unwrap());
        assert_eq!((new.form, &new.exports), (old.form, &old.exports), "{name}");
        assert!(
            new.bytes < old.bytes * 3 && old.bytes < new.bytes * 3,
            "{name}: {} and {} bytes",
            new.bytes,
            old.bytes
        );
    }
}
