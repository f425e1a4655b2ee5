//! Layers over one another, in a directory that becomes a root.
//!
//! Layers hold links, and later ones write through them (`bin/sh` where `bin` is a link to `usr/bin`).
//! So every path is resolved by the kernel with the directory as its root (`openat2`,
//! `RESOLVE_IN_ROOT`): an absolute link and any number of `..` end inside. The last name is never
//! followed.
//!
//! A file `.wh.NAME` takes NAME away that an earlier layer left; `.wh..wh..opq` empties its directory of
//! what earlier layers left there.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps},
    io::Errno,
};

use super::{EXTENDED_BYTES, ImageError};
use crate::{
    archive::{ArchiveError, Entry, PATH_BYTES, Reader, What, shown},
    domain::limits,
    workspace::remove_tree,
};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Bytes of one name (ext4, xfs, btrfs).
const NAME_BYTES: usize = 255;
/// Mode of directories that no entry named.
const IMPLIED_MODE: u32 = 0o755;
/// The last second of the year 9999; a later time is an accident.
const LATEST: u64 = 253_402_300_799;

/// The directory that layers are unpacked into.
pub struct Root<'d> {
    dir: BorrowedFd<'d>,
    entries: u64,
    bytes: u64,
    /// What the present layer has made, by path: whiteouts are about earlier ones only.
    made: BTreeSet<Vec<u8>>,
}

impl<'d> Root<'d> {
    pub fn new(dir: BorrowedFd<'d>) -> Self {
        Self { dir, entries: 0, bytes: 0, made: BTreeSet::new() }
    }

    pub const fn entries(&self) -> u64 {
        self.entries
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Unpacks a layer over what is there.
    pub fn apply(&mut self, layer: &mut dyn Read) -> Result<(), ImageError> {
        self.made.clear();
        let mut reader = Reader::new(layer, EXTENDED_BYTES);
        while let Some(entry) = reader.next_entry()? {
            self.take(&entry, &mut reader)?;
        }
        Ok(())
    }

    /// What everything that runs in it needs.
    pub fn check(&self) -> Result<(), ImageError> {
        let shell = self.open(b"bin/sh", OFlags::PATH).ok();
        let stat = shell.and_then(|shell| rustix::fs::fstat(shell).ok());
        match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Some(FileType::RegularFile) => Ok(()),
            _ => Err(ImageError::NoShell),
        }
    }

    fn take<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<(), ImageError> {
        self.entries += 1;
        if self.entries > limits::IMAGE_ENTRIES {
            return Err(ImageError::TooMany { entry: shown(&entry.name) });
        }
        let path = normalized(&entry.name)?;
        let (above, name) = split(&path);
        if name.is_empty() {
            // The root itself is there.
            return Ok(());
        }
        if name.starts_with(WHITEOUT) {
            if let What::File { size } = entry.what {
                reader.content(size, |_| Ok::<_, ArchiveError>(()))?;
            }
            return self.white_out(above, name);
        }
        let parent = self.parent(above)?;
        match &entry.what {
            What::Directory => directory(&parent, &path, name, entry.mode)?,
            What::File { size } => self.file(&parent, &path, entry, *size, reader)?,
            What::Symlink { target } => {
                make_way(&parent, &path, name)?;
                let target = OsStr::from_bytes(target);
                rustix::fs::symlinkat(target, &parent, OsStr::from_bytes(name)).map_err(failed(&path, "symlinkat"))?;
            }
            What::HardLink { target } => self.hard_link(&parent, &path, name, target)?,
            What::Sparse => return Err(ImageError::Special { entry: shown(&path), what: "sparse file" }),
            What::Special { what } => return Err(ImageError::Special { entry: shown(&path), what }),
        }
        self.made.insert(path);
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        parent: &OwnedFd,
        path: &[u8],
        entry: &Entry,
        size: u64,
        reader: &mut Reader<R>,
    ) -> Result<(), ImageError> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > limits::IMAGE_UNPACKED_BYTES {
            return Err(ImageError::TooLarge { entry: shown(path) });
        }
        self.check_room(path, size)?;
        let (_, name) = split(path);
        make_way(parent, path, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(parent, OsStr::from_bytes(name), flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(made.map_err(failed(path, "openat"))?);
        reader.content(size, |piece| {
            let written = file.write_all(piece);
            written.map_err(|error| ImageError::Write { entry: shown(path), call: "write", error })
        })?;
        rustix::fs::fchmod(&file, permissions(entry.mode, 0o400)).map_err(failed(path, "fchmod"))?;
        let time = Timespec { tv_sec: entry.modified.min(LATEST) as i64, tv_nsec: 0 };
        rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })
            .map_err(failed(path, "futimens"))
    }

    fn hard_link(&self, parent: &OwnedFd, path: &[u8], name: &[u8], target: &[u8]) -> Result<(), ImageError> {
        let nothing = || ImageError::LinksToNothing { entry: shown(path), target: shown(target) };
        let to = normalized(target)?;
        let (to_above, to_name) = split(&to);
        let to_parent = self.open(to_above, OFlags::PATH | OFlags::DIRECTORY).map_err(|_| nothing())?;
        if to == path || kind(&to_parent, to_name).is_none_or(|kind| kind == FileType::Directory) {
            return Err(nothing());
        }
        make_way(parent, path, name)?;
        let (from, at) = (OsStr::from_bytes(to_name), OsStr::from_bytes(name));
        rustix::fs::linkat(&to_parent, from, parent, at, AtFlags::empty()).map_err(|_| nothing())
    }

    /// Takes away what an earlier layer left.
    fn white_out(&self, above: &[u8], name: &[u8]) -> Result<(), ImageError> {
        let Ok(dir) = self.open(above, OFlags::RDONLY | OFlags::DIRECTORY) else { return Ok(()) };
        if name == OPAQUE {
            return self.empty(&dir, above, 0);
        }
        let name = &name[WHITEOUT.len()..];
        // Others that begin so are notes of old tools about themselves.
        let is_note = name.starts_with(WHITEOUT) || matches!(name, b"" | b"." | b"..");
        if is_note || self.made.contains(&joined(above, name)) {
            return Ok(());
        }
        remove(dir.as_fd(), name, above)
    }

    /// Empties a directory of what the present layer has not made.
    fn empty(&self, dir: &OwnedFd, path: &[u8], depth: usize) -> Result<(), ImageError> {
        if depth > limits::WORKSPACE_DEPTH {
            return Err(ImageError::Name { entry: shown(path), why: "it lies too deep" });
        }
        for entry in Dir::read_from(dir).map_err(failed(path, "readdir"))? {
            let entry = entry.map_err(failed(path, "readdir"))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let inner = joined(path, name);
            if !self.holds(&inner) {
                remove(dir.as_fd(), name, path)?;
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(below) = rustix::fs::openat(dir, entry.file_name(), flags, Mode::empty()) {
                self.empty(&below, &inner, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Whether the present layer has made this, or something below it.
    fn holds(&self, path: &[u8]) -> bool {
        let below = joined(path, b"");
        self.made.contains(path) || self.made.range(below.clone()..).next().is_some_and(|made| made.starts_with(&below))
    }

    /// Opens something within the root, by a path whose links lead nowhere else.
    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(self.dir, OsStr::from_bytes(path), flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// The directory that an entry lies in; what is missing of it is made.
    fn parent(&mut self, above: &[u8]) -> Result<OwnedFd, ImageError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(above, flags) {
            Ok(dir) => return Ok(dir),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(above, "openat2")(errno)),
        }
        let (higher, name) = split(above);
        let parent = self.parent(higher)?;
        // What is there already is a link to what is not.
        rustix::fs::mkdirat(&parent, OsStr::from_bytes(name), Mode::RWXU).map_err(failed(above, "mkdirat"))?;
        let mode = Mode::from_raw_mode(IMPLIED_MODE);
        rustix::fs::chmodat(&parent, OsStr::from_bytes(name), mode, AtFlags::empty())
            .map_err(failed(above, "fchmodat"))?;
        self.made.insert(above.to_vec());
        self.open(above, flags).map_err(failed(above, "openat2"))
    }

    /// The server writes to the same disk.
    fn check_room(&self, path: &[u8], size: u64) -> Result<(), ImageError> {
        let disk = rustix::fs::fstatvfs(self.dir).map_err(failed(path, "fstatvfs"))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < limits::DISK_FLOOR_BYTES.saturating_add(size) {
            return Err(ImageError::NoRoom { entry: shown(path) });
        }
        Ok(())
    }
}

fn kind(parent: &OwnedFd, name: &[u8]) -> Option<FileType> {
    let stat = rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn directory(parent: &OwnedFd, path: &[u8], name: &[u8], mode: u32) -> Result<(), ImageError> {
    let at = OsStr::from_bytes(name);
    match kind(parent, name) {
        Some(FileType::Directory) => {}
        _ => {
            make_way(parent, path, name)?;
            rustix::fs::mkdirat(parent, at, Mode::RWXU).map_err(failed(path, "mkdirat"))?;
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, at, flags, Mode::empty()).map_err(failed(path, "openat"))?;
    rustix::fs::fchmod(&made, permissions(mode, 0o700)).map_err(failed(path, "fchmod"))
}

/// Removes what an entry replaces.
fn make_way(parent: &OwnedFd, path: &[u8], name: &[u8]) -> Result<(), ImageError> {
    match rustix::fs::unlinkat(parent, OsStr::from_bytes(name), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => remove(parent.as_fd(), name, split(path).0),
        Err(errno) => Err(failed(path, "unlinkat")(errno)),
    }
}

/// Removes whatever has this name in a directory.
fn remove(dir: BorrowedFd<'_>, name: &[u8], above: &[u8]) -> Result<(), ImageError> {
    let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(OsStr::from_bytes(name));
    remove_tree(&path).map_err(|fault| ImageError::Write {
        entry: shown(&joined(above, name)),
        call: "remove",
        error: io::Error::other(fault),
    })
}

fn failed<'p>(path: &'p [u8], call: &'static str) -> impl Fn(Errno) -> ImageError + use<'p> {
    move |errno| match errno {
        Errno::NOTDIR | Errno::LOOP | Errno::EXIST | Errno::NAMETOOLONG => {
            ImageError::Name { entry: shown(path), why: "what it lies in is no directory that can be reached" }
        }
        errno => ImageError::Write { entry: shown(path), call, error: errno.into() },
    }
}

/// The permission bits of a mode, with what the owner needs in any case.
fn permissions(mode: u32, always: u32) -> Mode {
    Mode::from_raw_mode((mode & 0o777) | always)
}

/// A name without `.`, slashes too many, and a slash at either end. Absolute names are those below the
/// root.
fn normalized(name: &[u8]) -> Result<Vec<u8>, ImageError> {
    let wrong = |why| Err(ImageError::Name { entry: shown(name), why });
    let mut path = Vec::with_capacity(name.len().min(PATH_BYTES));
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return wrong("it holds `..`"),
            _ if part.len() > NAME_BYTES => return wrong("it is too long"),
            _ if part.contains(&0) => return wrong("it holds NUL"),
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
        if path.len() > PATH_BYTES {
            return wrong("it is too long");
        }
    }
    Ok(path)
}

/// The directory that a path lies in, and its last part.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    }
}

fn joined(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() }
}
