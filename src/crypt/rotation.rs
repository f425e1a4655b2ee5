//! Changing the master key.
//!
//! While a rotation is under way the old key lies in `<file>.previous`, so that a crash at any
//! point leaves both keys at hand. The order is: write the old key there; replace the file; (the
//! store re-wraps its rows); erase the copy.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{
    Key, Keyring, MasterKey, MasterKeyError,
    file::{Existing, sync_parent},
};

/// The key in `path`, and the previous one where a rotation has not finished.
pub fn load_keyring(path: &Path) -> Result<Keyring, MasterKeyError> {
    let keyring = Keyring::new(MasterKey::load(path)?);
    match MasterKey::load(&previous(path)) {
        // Broken off before the new key was in its place: there is nothing to go on with.
        Ok(old) if old.id() == keyring.present() => {
            finish_rotation(path)?;
            Ok(keyring)
        }
        Ok(old) => Ok(keyring.with_previous(old)),
        // Broken off while it was being erased.
        Err(_) if is_blank(&previous(path)) => {
            finish_rotation(path)?;
            Ok(keyring)
        }
        Err(MasterKeyError::Missing { .. }) => Ok(keyring),
        Err(error) => Err(error),
    }
}

/// Puts a new random key into `path`, keeping the old one beside it. Re-wrap everything, then
/// [`finish_rotation`].
pub fn begin_rotation(path: &Path) -> Result<Keyring, MasterKeyError> {
    let old = MasterKey::load(path)?;
    match load_keyring(path)? {
        keyring if keyring.is_rotating() => {
            return Err(MasterKeyError::RotationUnderWay { path: previous(path) });
        }
        _ => old.write(&previous(path), Existing::Replace)?,
    }
    let new = MasterKey::from_key(Key::random());
    new.write(path, Existing::Replace)?;
    Ok(Keyring::new(new).with_previous(old))
}

/// Overwrites and removes the previous key. Does nothing where there is none.
pub fn finish_rotation(path: &Path) -> Result<(), MasterKeyError> {
    let path = previous(path);
    erase(&path).map_err(|source| MasterKeyError::Io { doing: "erase", path, source })
}

fn erase(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let bytes = file.metadata()?.len() as usize;
    file.write_all(&vec![0; bytes])?;
    file.sync_all()?;
    fs::remove_file(path)?;
    sync_parent(path)
}

fn is_blank(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

fn previous(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".previous");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::{AssociatedData, Purpose};

    const DATA: AssociatedData<'_> = AssociatedData { kind: Purpose::Token, owner: "a", field: "b" };

    #[test]
    fn a_rotation_keeps_the_old_key_until_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let before = Keyring::new(MasterKey::create(&path).unwrap());
        let sealed = before.seal(DATA, b"secret");

        let during = begin_rotation(&path).unwrap();
        assert_ne!(during.present(), before.present());
        assert!(matches!(begin_rotation(&path), Err(MasterKeyError::RotationUnderWay { .. })));

        let restarted = load_keyring(&path).unwrap();
        assert_eq!(restarted.present(), during.present());
        let moved = restarted.rewrap(DATA, &sealed).unwrap();

        finish_rotation(&path).unwrap();
        finish_rotation(&path).unwrap();
        let after = load_keyring(&path).unwrap();
        assert!(!after.is_rotating());
        assert_eq!(after.open(DATA, &moved).unwrap().expose(), b"secret");
        assert!(after.open(DATA, &sealed).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_crash_between_the_two_files_of_a_rotation_loses_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let key = MasterKey::create(&path).unwrap();
        key.write(&previous(&path), Existing::Replace).unwrap();
        let keyring = load_keyring(&path).unwrap();
        assert!(!keyring.is_rotating());
        assert_eq!(keyring.present(), key.id());
        assert!(!previous(&path).exists(), "there was nothing to go on with");
        assert!(begin_rotation(&path).unwrap().is_rotating());
    }

    #[test]
    fn a_crash_while_the_old_key_is_erased_is_made_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let key = MasterKey::create(&path).unwrap();
        fs::write(previous(&path), vec![0; 100]).unwrap();
        assert_eq!(load_keyring(&path).unwrap().present(), key.id());
        assert!(!previous(&path).exists());
        fs::write(previous(&path), "neither a key nor nothing").unwrap();
        assert!(load_keyring(&path).is_err());
    }
}
