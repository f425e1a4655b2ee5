//! Mounts by descriptor: nothing here looks a target up by a path that somebody else could change.

use std::{
    ffi::CStr,
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, fchmod, mkdirat, openat, symlinkat},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
};

use super::{
    sys,
    wire::{Doing, Failure},
};

/// What mounts may not be used for.
pub(super) const READ_ONLY: MountAttrFlags = WRITABLE.union(MountAttrFlags::MOUNT_ATTR_RDONLY);
pub(super) const WRITABLE: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
/// For device nodes, one by one.
pub(super) const DEVICE: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A file system of its own, not attached yet. An option with an empty value is a flag.
pub(super) fn new_file_system(
    kind: &CStr,
    options: &[(&CStr, &str)],
    flags: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let name = kind.to_string_lossy();
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).doing(&format!("open a new {name}"))?;
    for (key, value) in options {
        let set = match *value {
            "" => fsconfig_set_flag(context.as_fd(), *key),
            value => fsconfig_set_string(context.as_fd(), *key, value),
        };
        set.doing(&format!("set {}={value} on a new {name}", key.to_string_lossy()))?;
    }
    fsconfig_create(context.as_fd()).doing(&format!("make a new {name}"))?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags).doing(&format!("mount a new {name}"))
}

/// A copy of what the host has at `source`, with everything mounted below it, restricted, not
/// attached yet. The restriction reaches every mount of the copy, which a remount would not.
pub(super) fn copy_of(source: &Path, attributes: MountAttrFlags, links: Links) -> io::Result<OwnedFd> {
    let follow = match links {
        Links::Follow => OpenTreeFlags::empty(),
        Links::Refuse => OpenTreeFlags::AT_SYMLINK_NOFOLLOW,
    };
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE | follow;
    let copy = open_tree(CWD, source, flags)?;
    sys::mount_setattr(copy.as_fd(), attributes, true)?;
    Ok(copy)
}

/// Whether the last component of a source may be a symbolic link.
#[derive(Clone, Copy)]
pub(super) enum Links {
    Follow,
    Refuse,
}

/// Attaches a mount on top of `target`.
pub(super) fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount.as_fd(), c"", target.as_fd(), c"", flags)?)
}

/// A directory that a root is built in.
pub(super) struct Tree {
    root: OwnedFd,
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Opens the directory at an absolute path inside, making what is missing. No symbolic link is
    /// followed: a root that has one there is refused.
    pub(super) fn directory(&self, inside: &Path) -> io::Result<OwnedFd> {
        let mut at = openat(&self.root, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for component in inside.components() {
            let name = match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name,
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL.into()),
            };
            match mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                // A read-only mount answers ROFS only where the name is missing.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = openat(&at, name, flags, Mode::empty())?;
        }
        Ok(at)
    }

    /// Opens the regular file at an absolute path inside, making it empty if it is missing.
    pub(super) fn file(&self, inside: &Path) -> io::Result<OwnedFd> {
        let (directory, name) = self.parent(inside)?;
        let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&directory, name, path, Mode::empty()) {
            Err(Errno::NOENT) => {
                let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                drop(openat(&directory, name, create, Mode::from_raw_mode(0o644))?);
                Ok(openat(&directory, name, path, Mode::empty())?)
            }
            opened => Ok(opened?),
        }
    }

    /// Writes a file that is not there yet.
    pub(super) fn write(&self, inside: &str, content: &str) -> io::Result<()> {
        let (directory, name) = self.parent(Path::new(inside))?;
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&directory, name, create, Mode::from_raw_mode(0o644))?;
        File::from(file).write_all(content.as_bytes())
    }

    pub(super) fn link(&self, inside: &str, target: &Path) -> io::Result<()> {
        let (directory, name) = self.parent(Path::new(inside))?;
        Ok(symlinkat(target, &directory, name)?)
    }

    /// Shows a directory or file of the host at `inside`.
    pub(super) fn bind(&self, host: &Path, inside: &Path, attributes: MountAttrFlags, links: Links) -> io::Result<()> {
        let copy = copy_of(host, attributes, links)?;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&copy)?.st_mode);
        let target = if kind.is_dir() { self.directory(inside)? } else { self.file(inside)? };
        attach(copy, target)
    }

    /// A directory of a given owner and mode.
    pub(super) fn owned_directory(&self, inside: &Path, owner: Owner, mode: u32) -> io::Result<()> {
        let directory = self.directory(inside)?;
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        chownat(&directory, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(fchmod(openat(&directory, c".", readable, Mode::empty())?, Mode::from_raw_mode(mode))?)
    }

    fn parent<'a>(&self, inside: &'a Path) -> io::Result<(OwnedFd, &'a std::ffi::OsStr)> {
        let name = inside.file_name().ok_or(Errno::INVAL)?;
        Ok((self.directory(inside.parent().unwrap_or(Path::new("/")))?, name))
    }
}

/// Who owns what is made for the jail, in numbers that the present user namespace knows.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Options of a file system in memory of bounded size.
pub(super) fn bounded(bytes: u64, files: u64, mode: u32) -> [(&'static CStr, String); 3] {
    let mut octal = String::new();
    write!(octal, "{mode:o}").expect("a String takes everything");
    [(c"size", bytes.to_string()), (c"nr_inodes", files.to_string()), (c"mode", octal)]
}

/// A new file system in memory, neither set-uid nor device.
pub(super) fn memory(options: &[(&CStr, String)]) -> Result<OwnedFd, Failure> {
    let options: Vec<(&CStr, &str)> = options.iter().map(|(key, value)| (*key, value.as_str())).collect();
    new_file_system(c"tmpfs", &options, WRITABLE)
}
