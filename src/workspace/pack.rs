//! From a tree to an archive. The tree is left as it was.

use std::{
    collections::HashMap,
    ffi::{CStr, CString, OsStr},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat},
    io::Errno,
};

use super::{
    Fault,
    archive::{ATTRIBUTE_BYTES, MODE, Output, tag},
    remove::set_mode,
    tree::is_dot,
    walk::open_dir,
};
use crate::domain::limits;

/// Archives what `tree` holds. Returns the bytes of all files' contents.
pub(super) fn pack(tree: &Path, out: &mut impl Output) -> Result<u64, Fault> {
    let io_error = |error: Errno| Fault::io("open", tree, error);
    let (top, stat, restore) = open_dir(CWD, tree).map_err(io_error)?;
    let mut packer = Packer {
        out,
        device: stat.st_dev,
        levels: vec![Level { dir: Dir::new(top).map_err(io_error)?, name: CString::default(), restore }],
        links: HashMap::new(),
        entries: 0,
        bytes: 0,
        names: vec![0; ATTRIBUTE_BYTES],
        value: vec![0; ATTRIBUTE_BYTES],
    };
    packer.run()?;
    Ok(packer.bytes)
}

struct Packer<'a, O> {
    out: &'a mut O,
    device: u64,
    levels: Vec<Level>,
    /// Inodes with several names that were archived, with their link numbers.
    links: HashMap<u64, u32>,
    entries: u64,
    bytes: u64,
    /// Room for the list of a file's attributes, and for one value.
    names: Vec<u8>,
    value: Vec<u8>,
}

/// A directory that is being read.
struct Level {
    dir: Dir,
    name: CString,
    /// The mode that it had before it was made readable.
    restore: Option<Mode>,
}

impl Drop for Level {
    fn drop(&mut self) {
        if let (Some(mode), Ok(fd)) = (self.restore, self.dir.fd()) {
            // It worked the other way round a moment ago.
            let _ = rustix::fs::fchmod(fd, mode);
        }
    }
}

impl<O: Output> Packer<'_, O> {
    fn run(&mut self) -> Result<(), Fault> {
        while let Some(level) = self.levels.last_mut() {
            let Some(entry) = level.dir.read() else {
                self.levels.pop();
                self.out.put(&[if self.levels.is_empty() { tag::END } else { tag::LEAVE }])?;
                continue;
            };
            let entry = entry.map_err(|error| self.fault("read", None, error))?;
            if !is_dot(entry.file_name()) {
                self.entry(entry.file_name(), entry.file_type())?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &CStr, kind: FileType) -> Result<(), Fault> {
        self.entries += 1;
        if self.entries > limits::WORKSPACE_ENTRIES {
            return Err(Fault::TooMany);
        }
        let kind = match kind {
            FileType::Unknown => FileType::from_raw_mode(self.stat(name)?.st_mode),
            known => known,
        };
        let special = |what| Err(Fault::Special { what, path: self.path(Some(name)) });
        match kind {
            FileType::Directory => self.directory(name),
            FileType::RegularFile => self.file(name),
            FileType::Symlink => self.symlink(name),
            FileType::Socket => special("a socket"),
            FileType::Fifo => special("a named pipe"),
            FileType::CharacterDevice | FileType::BlockDevice => special("a device"),
            FileType::Unknown => special("something of an unknown kind"),
        }
    }

    fn directory(&mut self, name: &CStr) -> Result<(), Fault> {
        if self.levels.len() >= limits::WORKSPACE_DEPTH {
            return Err(Fault::TooDeep { path: self.path(Some(name)) });
        }
        let open_error = |error| self.fault("open", Some(name), error);
        let (fd, stat, restore) = open_dir(self.present()?, name).map_err(open_error)?;
        let dir = Dir::new(fd).map_err(open_error)?;
        let level = Level { dir, name: name.to_owned(), restore };
        self.same_device(name, &stat)?;
        self.head(tag::DIRECTORY, name)?;
        self.mode_and_time(&stat)?;
        let fd = level.dir.fd().map_err(|error| self.fault("read", Some(name), error))?;
        self.attributes(name, fd)?;
        self.levels.push(level);
        Ok(())
    }

    fn file(&mut self, name: &CStr) -> Result<(), Fault> {
        let open_error = |error| self.fault("open", Some(name), error);
        let fd = open_file(self.present()?, name).map_err(open_error)?;
        let stat = rustix::fs::fstat(&fd).map_err(open_error)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Fault::Changed { path: self.path(Some(name)) });
        }
        self.same_device(name, &stat)?;
        let mut link = 0;
        if stat.st_nlink > 1 {
            let fresh = self.links.len() as u32 + 1;
            link = *self.links.entry(stat.st_ino).or_insert(fresh);
            if link != fresh {
                self.head(tag::LINK, name)?;
                return self.out.put(&link.to_be_bytes());
            }
        }
        self.head(tag::FILE, name)?;
        self.mode_and_time(&stat)?;
        self.out.put(&stat.st_size.cast_unsigned().to_be_bytes())?;
        self.out.put(&link.to_be_bytes())?;
        self.attributes(name, fd.as_fd())?;
        self.content(name, &fd, &stat)
    }

    fn symlink(&mut self, name: &CStr) -> Result<(), Fault> {
        let stat = self.stat(name)?;
        let target = rustix::fs::readlinkat(self.present()?, name, Vec::new())
            .map_err(|error| self.fault("read", Some(name), error))?;
        let target = target.as_bytes();
        let length = u16::try_from(target.len()).map_err(|_| Fault::Changed { path: self.path(Some(name)) })?;
        self.head(tag::SYMLINK, name)?;
        self.time(&stat)?;
        self.out.put(&length.to_be_bytes())?;
        self.out.put(target)
    }

    fn head(&mut self, tag: u8, name: &CStr) -> Result<(), Fault> {
        self.out.put(&[tag])?;
        self.short(name.to_bytes())
    }

    /// A name behind its length.
    fn short(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.out.put(&[u8::try_from(bytes.len()).expect("names have at most 255 bytes (NAME_MAX)")])?;
        self.out.put(bytes)
    }

    fn mode_and_time(&mut self, stat: &Stat) -> Result<(), Fault> {
        let mode = u16::try_from(stat.st_mode & MODE).expect("permission bits fit");
        self.out.put(&mode.to_be_bytes())?;
        self.time(stat)
    }

    fn time(&mut self, stat: &Stat) -> Result<(), Fault> {
        self.out.put(&stat.st_mtime.to_be_bytes())?;
        self.out.put(&(stat.st_mtime_nsec as u32).to_be_bytes())
    }

    fn attributes(&mut self, name: &CStr, fd: impl AsFd) -> Result<(), Fault> {
        let bytes = match rustix::fs::flistxattr(&fd, self.names.as_mut_slice()) {
            Ok(bytes) => bytes,
            Err(Errno::NOTSUP) => 0,
            Err(error) => return Err(self.fault("list the attributes of", Some(name), error)),
        };
        let mut at = 0;
        while at < bytes {
            let attribute = CStr::from_bytes_until_nul(&self.names[at..bytes])
                .map_err(|_| Fault::Changed { path: self.path(Some(name)) })?
                .to_owned();
            at += attribute.as_bytes_with_nul().len();
            if attribute.to_bytes().starts_with(b"user.") {
                let length = rustix::fs::fgetxattr(&fd, &attribute, self.value.as_mut_slice())
                    .map_err(|error| self.fault("read an attribute of", Some(name), error))?;
                self.short(attribute.to_bytes())?;
                self.out.put(&(length as u32).to_be_bytes())?;
                self.out.put(&self.value[..length])?;
            }
        }
        self.short(b"")
    }

    /// The extents of a file: all of it, or what lies between its holes.
    fn content(&mut self, name: &CStr, fd: &OwnedFd, stat: &Stat) -> Result<(), Fault> {
        let size = stat.st_size.cast_unsigned();
        let mut end = 0;
        while end < size {
            let is_sparse = stat.st_blocks.cast_unsigned() * 512 < size;
            let extent = if is_sparse { next_data(fd, end, size) } else { Ok(Some((end, size))) };
            let Some((from, to)) = extent.map_err(|error| self.fault("read", Some(name), error))? else { break };
            self.out.put(&(from - end).to_be_bytes())?;
            self.out.put(&(to - from).to_be_bytes())?;
            self.copy(name, fd, from, to)?;
            self.bytes += to - from;
            end = to;
        }
        self.out.put(&[0; 16])
    }

    fn copy(&mut self, name: &CStr, fd: &OwnedFd, mut from: u64, to: u64) -> Result<(), Fault> {
        while from < to {
            let space = self.out.space()?;
            let most = space.len().min(usize::try_from(to - from).unwrap_or(usize::MAX));
            match rustix::io::pread(fd, &mut space[..most], from) {
                Ok(0) => return Err(Fault::Changed { path: self.path(Some(name)) }),
                Ok(bytes) => {
                    self.out.advance(bytes);
                    from += bytes as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.fault("read", Some(name), error)),
            }
        }
        Ok(())
    }

    fn same_device(&self, name: &CStr, stat: &Stat) -> Result<(), Fault> {
        if stat.st_dev == self.device {
            return Ok(());
        }
        Err(Fault::OtherFileSystem { path: self.path(Some(name)) })
    }

    fn stat(&self, name: &CStr) -> Result<Stat, Fault> {
        rustix::fs::statat(self.present()?, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.fault("look at", Some(name), error))
    }

    fn present(&self) -> Result<rustix::fd::BorrowedFd<'_>, Fault> {
        let level = self.levels.last().expect("an entry is archived from an open directory");
        level.dir.fd().map_err(|error| self.fault("read", None, error))
    }

    fn fault(&self, doing: &'static str, name: Option<&CStr>, error: Errno) -> Fault {
        Fault::io(doing, self.path(name), error)
    }

    /// A path within the tree, for a fault.
    fn path(&self, name: Option<&CStr>) -> PathBuf {
        let levels = self.levels.iter().skip(1).map(|level| level.name.as_c_str());
        levels.chain(name).map(|name| OsStr::from_bytes(name.to_bytes())).collect()
    }
}

/// Opens a file to read, even if its owner, who we are, closed it.
fn open_file(at: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(&at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let handle = rustix::fs::openat(&at, name, flags | OFlags::PATH, Mode::empty())?;
            let mode = Mode::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode);
            set_mode(&handle, mode | Mode::RUSR)?;
            let opened = rustix::fs::openat(&at, name, flags, Mode::empty());
            set_mode(&handle, mode)?;
            opened
        }
        opened => opened,
    }
}

/// The first stretch of data from `from` on.
fn next_data(fd: &OwnedFd, from: u64, size: u64) -> Result<Option<(u64, u64)>, Errno> {
    let start = match rustix::fs::seek(fd, SeekFrom::Data(from)) {
        Err(Errno::NXIO) => return Ok(None),
        found => found?,
    };
    let end = rustix::fs::seek(fd, SeekFrom::Hole(start))?.min(size);
    Ok((start < end).then_some((start, end)))
}
