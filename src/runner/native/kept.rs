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
//! before it starts; if others run beside it, it is opened to them, too.
//!
//! Two files beside the directory are locked, where no run comes: one by whoever opens it, alone; the
//! other by every jail that shows it, for as long as it lives.

use std::{
    collections::BTreeMap,
    ffi::{CStr, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd, IntoRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
};

use rustix::{
    event::{Timespec, poll},
    fs::{
        AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, XattrFlags, chownat,
        fchmod, fchown, flock, fsetxattr, fstat, mkdirat, openat, openat2,
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
use crate::{
    domain::RelativePath,
    protocol::Bind,
    workspace::{Step, Walk},
};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What a file may be opened with that may be anything by now: nothing waits, nothing is followed.
const ANYTHING: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Pause between two looks at a lock that somebody else holds.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Entries given away between two signs of life.
const SIGN_EVERY: usize = 10_000;

/// The kept directories that this jail shows, and whether others showed them before it.
#[derive(Default)]
pub(super) struct Used(BTreeMap<PathBuf, Others>);

/// Told again and again by what may take long; why, where that is not obvious.
pub(super) type Busy<'a> = &'a dyn Fn(Option<Failure>);

/// Makes what is missing of a kept directory, for a run of this user. What is no kept one is left alone.
pub fn make_kept(bind: &Bind, user: Option<u32>) -> Result<(), JailError> {
    let Some(path) = &bind.kept else { return Ok(()) };
    let user = user.map(|user| Owner { uid: user, gid: user });
    let made = Kept::open(&bind.host, user, &|_| ()).and_then(|kept| kept.directory(path).map(drop));
    made.map_err(|failure| failure.within(&doing(bind, path)).into())
}

/// The kept directory at `path`, as a mount that is not attached yet. From here on it counts as in use
/// by this process, until that ends.
pub(super) fn copy_of(
    bind: &Bind,
    path: &RelativePath,
    attributes: MountAttrFlags,
    (user, used, busy): (Option<Owner>, &mut Used, Busy<'_>),
) -> Result<OwnedFd, Failure> {
    let mut copied = || -> Result<OwnedFd, Failure> {
        let kept = Kept::open(&bind.host, user, busy)?;
        let dir = kept.directory(path)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let copy = open_tree(&dir, c"", flags).doing("copy it")?;
        sys::mount_setattr(copy.as_fd(), attributes, false).doing("restrict it")?;
        kept.show_as_users(&copy, (bind.host.as_path(), used), busy)?;
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
    /// Locked by each jail that shows it.
    users: OwnedFd,
    /// Held as long as this.
    _alone: OwnedFd,
}

impl Kept {
    fn open(host: &Path, user: Option<Owner>, busy: Busy<'_>) -> Result<Self, Failure> {
        let root = openat(CWD, host, DIRECTORY, Mode::empty()).doing("open it")?;
        let Some(user) = user else { return Ok(Self { root, owners: None }) };
        let alone = beside(host, "lock")?;
        lock_alone(&alone, busy).doing("wait for the others that open it")?;
        let users = beside(host, "users")?;
        let keeper = match fstat(&root).doing("look at it")?.st_uid {
            // Nobody has come yet.
            0 => {
                give_all(&root, user, Others::Out, busy).doing("give it to the run's user")?;
                user
            }
            uid => Owner { uid, gid: uid },
        };
        Ok(Self { root, owners: Some(Owners { keeper, user, users, _alone: alone }) })
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
    fn show_as_users(self, mount: &OwnedFd, (host, used): (&Path, &mut Used), busy: Busy<'_>) -> Result<(), Failure> {
        let Some(Owners { keeper, user, users, _alone }) = self.owners else { return Ok(()) };
        // A jail with several mounts of one directory is nobody beside itself.
        let others = match used.0.get(host) {
            Some(others) => *others,
            None => use_it(users).doing("see who uses it")?,
        };
        used.0.insert(host.to_owned(), others);
        let mapped = namespace(keeper, user)
            .and_then(|namespace| sys::map_owners(mount.as_fd(), namespace.as_fd()).doing("map its owners"));
        match mapped {
            Err(failure) if has_no_mapping(failure.errno) => {
                busy(Some(failure));
                give_all(&self.root, user, others, busy).doing("give it to the run's user")
            }
            mapped => mapped,
        }
    }
}

/// Whether that is what a host answers that maps no owners: the kernel knows no such mounts, the file
/// system does not take part, or nobody gets user namespaces.
const fn has_no_mapping(errno: i32) -> bool {
    matches!(errno, libc::EINVAL | libc::EPERM | libc::EACCES | libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOSPC)
}

/// Opens a file that lies beside the directory, where no run comes.
fn beside(host: &Path, of: &str) -> Result<OwnedFd, Failure> {
    let mut name = OsString::from(".");
    name.push(host.file_name().unwrap_or_default());
    name.push(".");
    name.push(of);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, host.with_file_name(name), flags, Mode::RUSR | Mode::WUSR).doing("open the lock beside it")
}

/// Waits for its turn, and shows that it does.
fn lock_alone(lock: &OwnedFd, busy: Busy<'_>) -> Result<(), Errno> {
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                busy(None);
                // Woken earlier, it looks earlier.
                let _ = poll(&mut [], Some(&LOOK_AGAIN));
            }
            locked => return locked,
        }
    }
}

/// Counts among the users from here on, as long as this process lives; says whether there are others.
fn use_it(users: OwnedFd) -> Result<Others, Errno> {
    let others = match flock(&users, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Others::Out,
        Err(Errno::WOULDBLOCK) => Others::In,
        Err(error) => return Err(error),
    };
    // Nobody holds it alone for longer than whoever has its turn takes for this.
    flock(&users, FlockOperation::LockShared)?;
    // Open until the end of the process, and of no other: exec closes it.
    let _ = users.into_raw_fd();
    Ok(others)
}

/// A user namespace in which the keeper is who outside of it is the run's user. Nobody is in it.
fn namespace(keeper: Owner, user: Owner) -> Result<OwnedFd, Failure> {
    let (ours, theirs) = UnixStream::pair().doing("make a socket")?;
    match sys::fork().doing("fork into a user namespace")? {
        Fork::Child => {
            drop(ours);
            let Err(failure) = stand(&theirs) else { sys::exit_now(0) };
            let _ = wire::send(&theirs, &Some(failure), &[]);
            sys::exit_now(1)
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
    let done = None::<Failure>;
    wire::send(socket, &done, &[process.as_fd(), namespace.as_fd()]).doing("pass the user namespace on")?;
    wire::receive::<()>(socket).doing("wait for its maps").map(drop)
}

fn mapped(socket: &UnixStream, keeper: Owner, user: Owner) -> Result<OwnedFd, Failure> {
    let doing = "receive the user namespace";
    let gone = || Failure::new(doing, &io::ErrorKind::BrokenPipe.into());
    let (failure, descriptors) = wire::receive::<Option<Failure>>(socket).doing(doing)?.ok_or_else(gone)?;
    failure.map_or(Ok(()), Err)?;
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
fn give_all(root: &OwnedFd, user: Owner, others: Others, busy: Busy<'_>) -> Result<(), Errno> {
    let mut walk = Walk::new(root)?;
    for n in 1_usize.. {
        match walk.step() {
            Step::Entry(name, stat) => match give(walk.dir()?, (name.as_c_str(), &stat), user, others) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            },
            // Somebody moves it about.
            Step::Closed(Errno::STALE) | Step::Nothing => {}
            Step::Closed(error) => return Err(error),
            Step::End => break,
        }
        if n.is_multiple_of(SIGN_EVERY) {
            busy(None);
        }
    }
    if others == Others::In {
        let_in(root)?;
    }
    fchown(root, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))
}

fn give(dir: BorrowedFd<'_>, (name, stat): (&CStr, &Stat), user: Owner, others: Others) -> Result<(), Errno> {
    if (stat.st_uid, stat.st_gid) != (user.uid, user.gid) {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let kind = FileType::from_raw_mode(stat.st_mode);
    if others == Others::In && matches!(kind, FileType::Directory | FileType::RegularFile) {
        match openat2(dir, name, ANYTHING, Mode::empty(), BENEATH) {
            Ok(opened) => let_in(&opened)?,
            // It is something else by now.
            Err(Errno::LOOP | Errno::NXIO) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Lets everybody do what the owner may; no other user can come so far but those of the stack's runs.
fn let_in(opened: &OwnedFd) -> Result<(), Errno> {
    let stat = fstat(opened)?;
    let (mode, owners) = (stat.st_mode & 0o7777, (stat.st_mode >> 6) & 0o7);
    if mode | owners != mode {
        fchmod(opened, Mode::from_raw_mode(mode | owners))?;
    }
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
