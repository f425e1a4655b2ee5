//! Reading trees that a guest filled, when it is dead: no link is followed, nothing but what is
//! beneath is opened, everything has a bound.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::{fd::BorrowedFd, fd::OwnedFd, unix::ffi::OsStringExt},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Directory,
    /// With its permission bits.
    File(u32),
    Link,
    /// Devices, pipes, sockets: guests cannot make them, and nobody needs them.
    Other,
}

/// Whether a path is longer than the kernel takes: a guest nests directories as deep as it likes.
pub fn is_too_deep(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error())
}

/// A tree to read in.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a>(pub BorrowedFd<'a>);

impl Root<'_> {
    /// What stands there; none where nothing does.
    pub fn look(self, path: &Path) -> io::Result<Option<(Kind, Stat)>> {
        let opened = match self.open(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::statat(&opened, "", AtFlags::EMPTY_PATH)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File(stat.st_mode & 0o7777),
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        };
        Ok(Some((kind, stat)))
    }

    /// The names in a directory, sorted; none where there is no such directory.
    pub fn names(self, path: &Path) -> io::Result<Vec<OsString>> {
        let opened = match self.open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names = Vec::new();
        for entry in Dir::new(opened)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }

    pub fn file(self, path: &Path) -> io::Result<File> {
        Ok(File::from(self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?))
    }

    /// At most so many bytes; none where there are more.
    pub fn read(self, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.file(path)?.take(most + 1).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= most).then_some(bytes))
    }

    pub fn link(self, path: &Path) -> io::Result<Vec<u8>> {
        let opened = self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        Ok(rustix::fs::readlinkat(&opened, "", Vec::new())?.into_bytes())
    }

    fn open(self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        // A link as the last component is still opened as itself by PATH with NOFOLLOW.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        rustix::fs::openat2(self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }
}
