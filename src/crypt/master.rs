//! The installation's root key and the file that it lives in.
//!
//! The file is text, so that it can be printed and typed in again; its id line finds typing errors:
//!
//! ```text
//! # …
//! airlock-master-key v1
//! id k1a2b3c4d
//! key 0123…  (64 hexadecimal digits)
//! ```

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroize as _;

use super::{
    Key, Purpose, Secret,
    file::{Existing, write_durably},
};

const HEADING: &str = "airlock-master-key";
const REMARK: &str = "# Airlock's master key. Who has it can read every stored secret; without it no backup can be opened.\n\
                      # Keep a copy of this file, away from the backups.\n";
/// A key file is some 250 bytes; more is something else.
const FILE_BYTES: u64 = 4_096;

/// The root of all keys.
#[derive(Clone)]
pub struct MasterKey {
    id: MasterKeyId,
    key: Key,
}

/// Names a master key without telling anything about it: `k` and 8 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MasterKeyId([u8; 4]);

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("there is no master key file at {}", path.display())]
    Missing { path: PathBuf },
    #[error("there is already a file at {}; a master key is never overwritten", path.display())]
    Exists { path: PathBuf },
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is open to other users (mode {mode:04o}); run `chmod 600` on it", path.display())]
    OpenToOthers { path: PathBuf, mode: u32 },
    #[error("{} belongs to the user {owner}, who could read it; it must belong to {expected} or to root", path.display())]
    ForeignOwner { path: PathBuf, owner: u32, expected: u32 },
    #[error("{} is not a master key file: {why}", path.display())]
    Malformed { path: PathBuf, why: &'static str },
    #[error("{} says that its key is {stated}, but the key in it is {actual}; it was changed or mistyped", path.display())]
    WrongId { path: PathBuf, stated: String, actual: MasterKeyId },
    #[error("{} was written by a newer version of Airlock (`{version}`)", path.display())]
    Newer { path: PathBuf, version: String },
    #[error("a rotation is already under way: {} still exists; let it finish first", path.display())]
    RotationUnderWay { path: PathBuf },
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

impl MasterKey {
    pub fn from_key(key: Key) -> Self {
        let id = key.expand(b"airlock key id v1", &[]).expose()[..4].try_into().expect("a key has more than 4 bytes");
        Self { id: MasterKeyId(id), key }
    }

    /// A new random key in a new file (0600, fsynced). Refuses to overwrite anything.
    pub fn create(path: &Path) -> Result<Self, MasterKeyError> {
        let master = Self::from_key(Key::random());
        master.write(path, Existing::Refuse)?;
        Ok(master)
    }

    /// The key in a file that only this user (or root) can read.
    pub fn load(path: &Path) -> Result<Self, MasterKeyError> {
        Self::read(path, 0o077)
    }

    /// The key in a systemd credential (`$CREDENTIALS_DIRECTORY/…`).
    ///
    /// systemd lets a service's user in by an access list, whose mask shows as read permission of
    /// the group (0440); the directory around it is closed to everybody else.
    pub fn load_credential(path: &Path) -> Result<Self, MasterKeyError> {
        Self::read(path, 0o037)
    }

    pub const fn id(&self) -> MasterKeyId {
        self.id
    }

    /// HKDF-SHA256: a key for one purpose and one context.
    pub fn derive(&self, purpose: Purpose, context: &[u8]) -> Key {
        self.key.derive(purpose, context)
    }

    pub(super) fn write(&self, path: &Path, existing: Existing) -> Result<(), MasterKeyError> {
        write_durably(path, self.to_text().expose().as_bytes(), existing).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => MasterKeyError::Exists { path: path.into() },
            _ => MasterKeyError::Io { doing: "write", path: path.into(), source },
        })
    }

    fn read(path: &Path, forbidden: u32) -> Result<Self, MasterKeyError> {
        let mut file = open_private(path, forbidden)?;
        let mut text = Secret::new(String::with_capacity(FILE_BYTES as usize));
        file.by_ref().take(FILE_BYTES).read_to_string(text.expose_mut()).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => MasterKeyError::Malformed { path: path.into(), why: "it is not text" },
            _ => MasterKeyError::Io { doing: "read", path: path.into(), source },
        })?;
        Self::parse(path, text.expose())
    }

    fn parse(path: &Path, text: &str) -> Result<Self, MasterKeyError> {
        let malformed = |why| MasterKeyError::Malformed { path: path.into(), why };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut field = |name: &str, why| {
            lines.next().and_then(|line| line.strip_prefix(name)).map(str::trim).ok_or_else(|| malformed(why))
        };
        match field(HEADING, "it does not begin with `airlock-master-key`")? {
            "v1" => {}
            version => {
                return Err(MasterKeyError::Newer { path: path.into(), version: version.chars().take(20).collect() });
            }
        }
        let stated = field("id ", "it has no line `id …`")?;
        let digits = field("key ", "it has no line `key …`")?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| malformed("its key is not 64 hexadecimal digits"))?;
        let master = Self::from_key(Key::new(bytes));
        bytes.zeroize();
        if lines.next().is_some() {
            return Err(malformed("there is something behind its key"));
        }
        if stated != master.id.to_string() {
            return Err(MasterKeyError::WrongId {
                path: path.into(),
                stated: stated.chars().take(20).collect(),
                actual: master.id,
            });
        }
        Ok(master)
    }

    fn to_text(&self) -> Secret<String> {
        let mut digits = Secret::new(hex::encode(self.key.expose()));
        Secret::new(format!("{REMARK}{HEADING} v1\nid {}\nkey {}\n", self.id, digits.expose_mut()))
    }
}

impl MasterKeyId {
    pub(super) const BYTES: usize = 4;

    pub(super) const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

/// Opens a file that nobody else may read. A pipe or a device is not opened at all.
fn open_private(path: &Path, forbidden: u32) -> Result<File, MasterKeyError> {
    let io_error = |doing| move |source| MasterKeyError::Io { doing, path: path.into(), source };
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(MasterKeyError::Missing { path: path.into() });
        }
        opened => opened.map_err(io_error("open"))?,
    };
    let metadata = file.metadata().map_err(io_error("look at"))?;
    let (mode, owner, expected) = (metadata.mode() & 0o7777, metadata.uid(), rustix::process::geteuid().as_raw());
    if !metadata.is_file() {
        return Err(MasterKeyError::NotAFile { path: path.into() });
    }
    if mode & forbidden != 0 {
        return Err(MasterKeyError::OpenToOthers { path: path.into(), mode });
    }
    if owner != expected && owner != 0 {
        return Err(MasterKeyError::ForeignOwner { path: path.into(), owner, expected });
    }
    Ok(file)
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}", hex::encode(self.0))
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

#[cfg(test)]
mod tests;
