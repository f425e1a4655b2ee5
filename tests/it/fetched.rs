//! Programs of others that tests use as their users have them: fetched once, from the registries,
//! into `target/fetched/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

/// One at a time: two tests may want the same.
static TURN: Mutex<()> = Mutex::new(());

/// A directory whose `node_modules` holds a package.
pub fn npm(package: &str, version: &str) -> PathBuf {
    let wanted = format!("{package}@{version}");
    fetched(&wanted, |dir| {
        let mut command = Command::new("npm");
        command.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--prefix"]);
        command.arg(dir).arg(&wanted);
        command
    })
}

/// A directory for Python's path that holds a package and nothing that it needs.
pub fn pypi(package: &str, version: &str) -> PathBuf {
    let wanted = format!("{package}=={version}");
    fetched(&wanted, |dir| {
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"]);
        command.arg(dir).arg(&wanted);
        command
    })
}

/// Kept under its name once all of it is there.
fn fetched(wanted: &str, command: impl FnOnce(&Path) -> Command) -> PathBuf {
    let _turn = TURN.lock().unwrap();
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("fetched");
    let there = all.join(wanted.replace('/', "-"));
    if there.exists() {
        return there;
    }
    fs::create_dir_all(&all).unwrap();
    let scratch = tempfile::tempdir_in(&all).unwrap();
    let mut command = command(scratch.path());
    let ran = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{wanted} cannot be fetched, because {} cannot be started: {error}", command.get_program().display())
    });
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{wanted} cannot be fetched: {command:?}: {said}");
    fs::rename(scratch.keep(), &there).unwrap();
    there
}
