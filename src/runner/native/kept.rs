//! Directories that runs fill and that stay for later ones.
//!
//! Whatever lies in them was put there by a run, and another one may be changing it at this moment. So
//! no path is looked up in them: each component is opened by itself, in the mount namespace of the
//! jail that it is for, and what is mounted is the descriptor that this led to. A link is an error.
//!
//! Runs of root's server have users of their own, and yet each must be at home in what the others left.
//! On disk all belongs to one user, the *keeper*: whom the topmost directory belongs to, which is the
//! user of the first run. The mount shows the keeper's as the run's own, and keeps what the run makes as
//! the keeper's. Where the kernel or the file system has no such mounts, all of it is given to the run
//! before it starts, and opened to those that run beside it.

use std::{
    ffi::{CStr, OsStr},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags, chownat, fchmod,
        fchown, flock, fsetxattr, fstat, mkdirat, openat, openat2,
    },
    io::Errno,
    mount::{MountAttrFlags, OpenTreeFlags, open_tree},
    process::{Pid, WaitOptions, chdir, chroot, waitpid},
};

use super::{
    JailError,
    mounts::Owner,
    privileges,
    sys::{self, Fork},
    wire::{self, Doing, Failure},
};
use crate::{domain::RelativePath, protocol::Bind};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What a file may be opened with that may be anything by now: nothing waits, nothing is followed.
const ANYTHING: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Makes what is missing of a kept directory, for a run of this user. What is no kept one is left alone.
pub fn make_kept(bind: &Bind, user: Option<u32>) -> Result<(), JailError> {
    let Some(path) = &bind.kept else { return Ok(()) };
    let user = user.map(|user| Owner { uid: user, gid: user });
    let made = Kept::open(&bind.host, user).and_then(|kept| kept.directory(path).map(drop));
    made.map_err(|failure| failure.within(&doing(bind, path)).into())
}

/// The kept directory at `path`, as a mount that is not attached yet.
pub(super) fn copy_of(
    bind: &Bind,
    path: &RelativePath,
    attributes: MountAttrFlags,
    user: Option<Owner>,
) -> Result<OwnedFd, Failure> {
    let copied = || -> Result<OwnedFd, Failure> {
        let kept = Kept::open(&bind.host, user)?;
        let dir = kept.directory(path)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let copy = open_tree(&dir, c"", flags).doing("copy it")?;
        sys::mount_setattr(copy.as_fd(), attributes, false).doing("restrict it")?;
        kept.show_as_users(&copy)?;
        Ok(copy)
    };
    copied().map_err(|failure| failure.within(&doing(bind, path)))
}

pub(super) fn doing(bind: &Bind, path: &RelativePath) -> String {
    format!("show `{path}` of {} as {}", bind.host.display(), bind.inside.display())
}

/// A directory that stays, with nobody else at its owners.
struct Kept {
    root: OwnedFd,
    /// None where all runs have one user.
    owners: Option<Owners>,
}

struct Owners {
    keeper: Owner,
    user: Owner,
    /// Held on what no run can open.
    _alone: OwnedFd,
}

impl Kept {
    fn open(host: &Path, user: Option<Owner>) -> Result<Self, Failure> {
        let open = |path: &Path| openat(CWD, path, DIRECTORY, Mode::empty());
        let root = open(host).doing("open it")?;
        let Some(user) = user else { return Ok(Self { root, owners: None }) };
        let above = open(host.parent().unwrap_or(host)).doing("open what it lies in")?;
        flock(&above, FlockOperation::LockExclusive).doing("wait for the others that open it")?;
        let keeper = match fstat(&root).doing("look at it")?.st_uid {
            // Nobody has come yet.
            0 => {
                give_all(&root, user, Others::Out).doing("give it to the run's user")?;
                user
            }
            uid => Owner { uid, gid: uid },
        };
        Ok(Self { root, owners: Some(Owners { keeper, user, _alone: above }) })
    }

    /// Opens each component in what the one before led to, making those that are missing.
    fn directory(&self, path: &RelativePath) -> Result<OwnedFd, Failure> {
        let mut at = open_again(&self.root).doing("open it")?;
        for name in path.as_str().split('/').filter(|name| !name.is_empty()) {
            at = self.step(&at, name).doing(&format!("open the directory `{name}`"))?;
        }
        Ok(at)
    }

    fn step(&self, at: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
        match mkdirat(at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let dir = openat2(at, name, DIRECTORY, Mode::empty(), BENEATH)?;
        // Made just now, or by somebody who came no further.
        if let Some(Owners { keeper, .. }) = &self.owners
            && fstat(&dir)?.st_uid == 0
        {
            fchown(&dir, Some(Uid::from_raw(keeper.uid)), Some(Gid::from_raw(keeper.gid)))?;
        }
        Ok(dir)
    }

    /// Makes the run's user of the keeper on a mount, else in the directory itself.
    fn show_as_users(&self, mount: &OwnedFd) -> Result<(), Failure> {
        let Some(Owners { keeper, user, .. }) = &self.owners else { return Ok(()) };
        let namespace = namespace(*keeper, *user);
        if namespace.is_ok_and(|namespace| sys::map_owners(mount.as_fd(), namespace.as_fd()).is_ok()) {
            return Ok(());
        }
        give_all(&self.root, *user, Others::In).doing("give it to the run's user")
    }
}

/// A user namespace in which the keeper is who outside of it is the run's user. Nobody is in it.
fn namespace(keeper: Owner, user: Owner) -> Result<OwnedFd, Failure> {
    let (ours, theirs) = UnixStream::pair().doing("make a socket")?;
    match sys::fork().doing("fork into a user namespace")? {
        Fork::Child => {
            drop(ours);
            sys::exit_now(i32::from(stand(&theirs).is_err()))
        }
        Fork::Parent(pid) => {
            drop(theirs);
            let mapped = mapped(&ours, keeper, user);
            // The child ends when it hears no more.
            drop(ours);
            let _ = waitpid(Pid::from_raw(pid), WaitOptions::empty());
            mapped
        }
    }
}

/// Enters a user namespace, passes it on, and stays until it has got its maps.
fn stand(socket: &UnixStream) -> Result<(), Failure> {
    let process = privileges::own_process()?;
    // The jail's root is mounted over the host's by now: to whoever still has that one as its root the
    // kernel gives no user namespace. Above the root is what is mounted over it.
    chdir("/..").and_then(|()| chroot(".")).doing("enter the jail's root")?;
    sys::unshare(libc::CLONE_NEWUSER).doing("enter a user namespace")?;
    let namespace = openat(&process, "ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .doing("open the user namespace")?;
    wire::send(socket, &(), &[process.as_fd(), namespace.as_fd()]).doing("pass the user namespace on")?;
    wire::receive::<()>(socket).doing("wait for its maps").map(drop)
}

fn mapped(socket: &UnixStream, keeper: Owner, user: Owner) -> Result<OwnedFd, Failure> {
    let doing = "receive the user namespace";
    let gone = || Failure::new(doing, &io::ErrorKind::BrokenPipe.into());
    let ((), descriptors) = wire::receive::<()>(socket).doing(doing)?.ok_or_else(gone)?;
    let [process, namespace] = <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| gone())?;
    privileges::map_ids(&process, keeper.uid, user)?;
    Ok(namespace)
}

/// Whether others than the owner are let at what is given away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    In,
    Out,
}

/// Gives all that a directory holds, and at last itself, to a user. Follows no link; what disappears
/// meanwhile is nobody's.
fn give_all(root: &OwnedFd, user: Owner, others: Others) -> Result<(), Errno> {
    let mut waiting = vec![PathBuf::from(".")];
    while let Some(path) = waiting.pop() {
        let dir = match openat2(root, &path, DIRECTORY, Mode::empty(), BENEATH) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            opened => opened?,
        };
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match give(&dir, name, user, others) {
                Ok(FileType::Directory) => waiting.push(path.join(OsStr::from_bytes(name.to_bytes()))),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    if others == Others::In {
        let_in(root)?;
    }
    fchown(root, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))
}

fn give(dir: &OwnedFd, name: &CStr, user: Owner, others: Others) -> Result<FileType, Errno> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
    if others == Others::In && matches!(kind, FileType::Directory | FileType::RegularFile) {
        match openat2(dir, name, ANYTHING, Mode::empty(), BENEATH) {
            Ok(opened) => let_in(&opened)?,
            // It is something else by now.
            Err(Errno::LOOP | Errno::NXIO | Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(kind)
}

/// Lets everybody do what the owner may; no other user can come so far but those of the stack's runs.
fn let_in(opened: &OwnedFd) -> Result<(), Errno> {
    let stat = fstat(opened)?;
    fchmod(opened, Mode::from_raw_mode((stat.st_mode & 0o7777) | ((stat.st_mode >> 6) & 0o7)))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        // What is made in it is for all, too. Only a wish: file systems need not have such lists.
        let _ = fsetxattr(opened, "system.posix_acl_default", &FOR_ALL, XattrFlags::empty());
    }
    Ok(())
}

/// A list of access rights as the kernel takes it (linux/posix_acl_xattr.h): version 2; then owner, group
/// and others, who may do everything that a program gives its files.
const FOR_ALL: [u8; 28] = [
    2, 0, 0, 0, // version
    0x01, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, // ACL_USER_OBJ
    0x04, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, // ACL_GROUP_OBJ
    0x20, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, // ACL_OTHER
];

fn open_again(dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(dir, ".", DIRECTORY, Mode::empty())
}

#[cfg(test)]
mod tests;
