//! From an archive to a tree.
//!
//! Nothing can leave the target: an entry has one name, checked to be one, and is made relative to
//! the descriptor of the directory that was made for it, by calls that neither follow a link nor
//! take what is there already (`mkdirat`, `O_CREAT | O_EXCL | O_NOFOLLOW`, `symlinkat`, `linkat`).

use std::{
    ffi::{CString, OsStr},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags},
    io::Errno,
};

use super::{
    Fault,
    archive::{ATTRIBUTE_BYTES, Input, MODE, TARGET_BYTES, tag},
    tree::make_private,
};
use crate::domain::limits;

/// Unpacks into the empty directory `tree`. `links` is a directory to be made on the same file
/// system where it is needed; whoever calls removes it.
pub(super) fn unpack(input: &mut impl Input, tree: &Path, links: &Path, uid: Option<u32>) -> Result<(), Fault> {
    let top = open_dir(CWD, tree).map_err(|error| Fault::io("open", tree, error))?;
    let owner = uid.filter(|uid| *uid != rustix::process::geteuid().as_raw());
    let mut unpacker = Unpacker {
        input,
        owner: owner.map(|uid| (Uid::from_raw(uid), Gid::from_raw(uid))),
        levels: vec![Level { fd: top, name: CString::default(), facts: Facts::default() }],
        links: Links { path: links, dir: None, count: 0 },
        entries: 0,
    };
    unpacker.run()
}

struct Unpacker<'a, I> {
    input: &'a mut I,
    /// Who entries are given to.
    owner: Option<(Uid, Gid)>,
    levels: Vec<Level>,
    links: Links<'a>,
    entries: u64,
}

/// A directory that is being filled.
struct Level {
    fd: OwnedFd,
    name: CString,
    /// Set when it is full: before, it has to be writable, and filling it changes its time.
    facts: Facts,
}

#[derive(Clone, Copy, Default)]
struct Facts {
    mode: u16,
    seconds: i64,
    nanoseconds: u32,
}

/// The first names of files with several, by number.
struct Links<'a> {
    path: &'a Path,
    dir: Option<OwnedFd>,
    count: u32,
}

impl<I: Input> Unpacker<'_, I> {
    fn run(&mut self) -> Result<(), Fault> {
        loop {
            let [tag] = self.input.array()?;
            match tag {
                tag::END if self.levels.len() == 1 => return Ok(()),
                tag::LEAVE if self.levels.len() > 1 => self.leave()?,
                tag::DIRECTORY | tag::FILE | tag::SYMLINK | tag::LINK => self.entry(tag)?,
                tag::END => return malformed("it ends within a directory"),
                tag::LEAVE => return malformed("it leaves its own top"),
                _ => return malformed("it holds an entry of an unknown kind"),
            }
        }
    }

    fn entry(&mut self, kind: u8) -> Result<(), Fault> {
        self.entries += 1;
        if self.entries > limits::WORKSPACE_ENTRIES {
            return Err(Fault::TooMany);
        }
        let name = self.name()?;
        match kind {
            tag::DIRECTORY => self.directory(name),
            tag::FILE => self.file(&name),
            tag::SYMLINK => self.symlink(&name),
            _ => self.link(&name),
        }
    }

    fn directory(&mut self, name: CString) -> Result<(), Fault> {
        if self.levels.len() >= limits::WORKSPACE_DEPTH {
            return malformed("it is nested too deep");
        }
        let facts = self.facts()?;
        rustix::fs::mkdirat(self.present(), &name, Mode::RWXU).map_err(|error| self.fault("create", &name, error))?;
        let fd = open_dir(self.present(), &name).map_err(|error| self.fault("open", &name, error))?;
        self.attributes(&name, &fd)?;
        self.levels.push(Level { fd, name, facts });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Fault> {
        let level = self.levels.pop().expect("the caller saw a level");
        self.finish(&level.name, &level.fd, level.facts)
    }

    fn file(&mut self, name: &CString) -> Result<(), Fault> {
        let facts = self.facts()?;
        let size = u64::from_be_bytes(self.input.array()?);
        let link = u32::from_be_bytes(self.input.array()?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.present(), name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| self.fault("create", name, error))?;
        self.attributes(name, &fd)?;
        self.content(name, &fd, size)?;
        self.finish(name, &fd, facts)?;
        if link == 0 { Ok(()) } else { self.remember(name, link) }
    }

    fn symlink(&mut self, name: &CString) -> Result<(), Fault> {
        let facts = self.time(0)?;
        let length = usize::from(u16::from_be_bytes(self.input.array()?));
        if !(1..TARGET_BYTES).contains(&length) {
            return malformed("the target of a symbolic link is empty or too long");
        }
        let Ok(target) = CString::new(self.input.vector(length)?) else {
            return malformed("the target of a symbolic link holds a zero byte");
        };
        let dir = self.present();
        rustix::fs::symlinkat(&target, dir, name).map_err(|error| self.fault("create", name, error))?;
        let (owner, group) = self.owner.unzip();
        if owner.is_some() {
            rustix::fs::chownat(dir, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| self.fault("give away", name, error))?;
        }
        rustix::fs::utimensat(dir, name, &facts.times(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.fault("set the time of", name, error))
    }

    fn link(&mut self, name: &CString) -> Result<(), Fault> {
        let number = u32::from_be_bytes(self.input.array()?);
        let Some(dir) = self.links.dir.as_ref().filter(|_| (1..=self.links.count).contains(&number)) else {
            return malformed("a hard link names a file that did not come before");
        };
        rustix::fs::linkat(dir, number.to_string(), self.present(), name, AtFlags::empty())
            .map_err(|error| self.fault("link", name, error))
    }

    /// Keeps a file at hand for its further names.
    fn remember(&mut self, name: &CString, number: u32) -> Result<(), Fault> {
        if Some(number) != self.links.count.checked_add(1) {
            return malformed("the numbers of hard links do not count up");
        }
        if self.links.dir.is_none() {
            make_private(self.links.path)?;
            let dir = open_dir(CWD, self.links.path).map_err(|error| Fault::io("open", self.links.path, error))?;
            self.links.dir = Some(dir);
        }
        let dir = self.links.dir.as_ref().expect("it was just made");
        rustix::fs::linkat(self.present(), name, dir, number.to_string(), AtFlags::empty())
            .map_err(|error| self.fault("link", name, error))?;
        self.links.count = number;
        Ok(())
    }

    fn content(&mut self, name: &CString, fd: &OwnedFd, size: u64) -> Result<(), Fault> {
        let mut at = 0_u64;
        loop {
            let hole = u64::from_be_bytes(self.input.array()?);
            let length = u64::from_be_bytes(self.input.array()?);
            if (hole, length) == (0, 0) {
                break;
            }
            let end = at.checked_add(hole).and_then(|from| from.checked_add(length)).filter(|end| *end <= size);
            let Some(end) = end else { return malformed("a file is longer than it says") };
            at += hole;
            while at < end {
                let most = usize::try_from(end - at).unwrap_or(usize::MAX);
                let piece = self.input.piece(most)?;
                match rustix::io::pwrite(fd, piece, at) {
                    // What was taken has to be written whole before the next piece.
                    Ok(bytes) if bytes == piece.len() => at += bytes as u64,
                    written => at += rest(fd, piece, at, written).map_err(|error| self.fault("write", name, error))?,
                }
            }
        }
        if at < size {
            rustix::fs::ftruncate(fd, size).map_err(|error| self.fault("write", name, error))?;
        }
        Ok(())
    }

    fn attributes(&mut self, name: &CString, fd: &OwnedFd) -> Result<(), Fault> {
        loop {
            let attribute = self.short()?;
            if attribute.is_empty() {
                return Ok(());
            }
            let length = u32::from_be_bytes(self.input.array()?) as usize;
            if !attribute.starts_with(b"user.") || length > ATTRIBUTE_BYTES {
                return malformed("an attribute is not one of a user");
            }
            let value = self.input.vector(length)?;
            let Ok(attribute) = CString::new(attribute) else {
                return malformed("an attribute's name holds a zero byte");
            };
            rustix::fs::fsetxattr(fd, &attribute, &value, XattrFlags::empty())
                .map_err(|error| self.fault("set an attribute of", name, error))?;
        }
    }

    /// Owner, mode and time, in this order: giving a file away drops mode bits, both change times.
    fn finish(&self, name: &CString, fd: &OwnedFd, facts: Facts) -> Result<(), Fault> {
        let (owner, group) = self.owner.unzip();
        if owner.is_some() {
            rustix::fs::fchown(fd, owner, group).map_err(|error| self.fault("give away", name, error))?;
        }
        let mode = Mode::from_raw_mode(u32::from(facts.mode) & MODE);
        rustix::fs::fchmod(fd, mode).map_err(|error| self.fault("set the mode of", name, error))?;
        rustix::fs::futimens(fd, &facts.times()).map_err(|error| self.fault("set the time of", name, error))
    }

    fn facts(&mut self) -> Result<Facts, Fault> {
        let mode = u16::from_be_bytes(self.input.array()?);
        self.time(mode)
    }

    fn time(&mut self, mode: u16) -> Result<Facts, Fault> {
        let seconds = i64::from_be_bytes(self.input.array()?);
        let nanoseconds = u32::from_be_bytes(self.input.array()?);
        if nanoseconds > 999_999_999 {
            return malformed("a time is none");
        }
        Ok(Facts { mode, seconds, nanoseconds })
    }

    fn name(&mut self) -> Result<CString, Fault> {
        let name = self.short()?;
        if matches!(name.as_slice(), b"" | b"." | b"..") || name.contains(&b'/') {
            return malformed("a name would lead out of its directory");
        }
        CString::new(name).map_err(|_| Fault::Malformed { why: "a name holds a zero byte" })
    }

    fn short(&mut self) -> Result<Vec<u8>, Fault> {
        let [length] = self.input.array()?;
        self.input.vector(usize::from(length))
    }

    fn present(&self) -> BorrowedFd<'_> {
        self.levels.last().expect("the top is left only at the end").fd.as_fd()
    }

    fn fault(&self, doing: &'static str, name: &CString, error: Errno) -> Fault {
        let levels = self.levels.iter().skip(1).map(|level| &level.name);
        let path: PathBuf = levels.chain([name]).map(|name| OsStr::from_bytes(name.as_bytes())).collect();
        Fault::io(doing, path, error)
    }
}

impl Facts {
    fn times(self) -> Timestamps {
        Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: self.seconds, tv_nsec: self.nanoseconds.into() },
        }
    }
}

/// Writes what a first, short write left over; returns the bytes of the whole piece.
fn rest(fd: &OwnedFd, piece: &[u8], at: u64, first: Result<usize, Errno>) -> Result<u64, Errno> {
    let mut done = 0;
    let mut written = first;
    loop {
        match written {
            Ok(0) => return Err(Errno::IO),
            Ok(bytes) => done += bytes,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if done == piece.len() {
            return Ok(done as u64);
        }
        written = rustix::io::pwrite(fd, &piece[done..], at + done as u64);
    }
}

fn open_dir(at: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn malformed<T>(why: &'static str) -> Result<T, Fault> {
    Err(Fault::Malformed { why })
}
