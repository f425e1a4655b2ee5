//! The room that the WASI engine stands in: nothing of the host, only what a guest was granted.
//!
//! No programs, no libraries, no /proc, no devices but `null`. Whoever breaks out of the engine finds
//! the guest's own files and an inherited pipe.
//!
//! What a guest may write lies in one file system in memory whose size and number of files are the
//! guest's caps: `/tmp`, `/output`, its fresh mounts, and the upper half of an overlay over the
//! workspace, to which nothing of a mount belongs. The runner
//! gets directories of it before the guest starts; they stay when the jail is gone, and nobody writes
//! to them any more by then.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, mkdirat, openat},
    mount::{OpenTreeFlags, UnmountFlags, open_tree, unmount},
    process::fchdir,
};
use serde::{Deserialize, Serialize};

use super::{
    Program, fence,
    mounts::{DEVICE, Links, Owner, READ_ONLY, Tree, WRITABLE, attach, bounded, memory, new_file_system},
    root::{self, Plan},
    sys,
    wire::{Doing, Failure},
};
use crate::protocol::{file, guest_path, inside};

/// Directories of our own in the file system that a guest fills, beside its cap: its root, `/output`
/// and `/tmp`; of an overlay the two halves, what the kernel makes in the lower one, and what stands
/// for everything deleted.
const OWN_FILES: u64 = 3;
const OVERLAY_FILES: u64 = 4;
/// Where that file system is while the room is made.
const SCRATCH: &str = "/scratch";

/// What a room shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    pub workspace: RoomWorkspace,
    /// None: there is nothing to write to.
    pub writable: Option<Writable>,
    /// It shows the plan that a guest is to judge.
    pub judged: bool,
    /// More empty directories to write to, by absolute path. Need [`Room::writable`].
    pub fresh: Vec<PathBuf>,
}

/// Caps of what is written in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writable {
    pub bytes: u64,
    pub files: u64,
}

/// How a room shows the chain's workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomWorkspace {
    None,
    Read,
    /// Written files land in the room's memory. Needs [`Room::writable`].
    Copy,
}

/// What the runner sees of a writable room.
#[derive(Debug)]
pub struct RoomView {
    /// `/output`.
    pub output: OwnedFd,
    /// Of a copied workspace: what was touched (an overlay's upper directory), and the whole of it.
    pub changes: Option<(OwnedFd, OwnedFd)>,
    /// Files that were there before the guest wrote any.
    pub(super) files: u64,
}

impl RoomView {
    /// What was written, and whether there is room for more files and bytes.
    pub fn written(&self) -> io::Result<Written> {
        let now = rustix::fs::fstatvfs(&self.output)?;
        let used = now.f_files.saturating_sub(now.f_ffree);
        Ok(Written {
            files: used.saturating_sub(self.files),
            bytes: now.f_blocks.saturating_sub(now.f_bfree).saturating_mul(now.f_frsize),
            full: now.f_ffree == 0 || now.f_bfree == 0,
        })
    }
}

/// What became of a room's file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Files, directories and links.
    pub files: u64,
    pub bytes: u64,
    pub full: bool,
}

/// What init passes to the runner.
#[derive(Default)]
pub(super) struct Shown {
    pub directories: Vec<OwnedFd>,
    pub files: u64,
}

/// Where the program may write, for the second fence.
pub(super) fn writable(program: &Program) -> Vec<&Path> {
    match program {
        Program::Exec(_) => fence::WRITABLE.iter().map(Path::new).collect(),
        Program::Engine { room, .. } => {
            let files = room.writable.iter().flat_map(|_| [guest_path::TMP, guest_path::OUTPUT]);
            let workspace = (room.workspace == RoomWorkspace::Copy).then_some(inside::WORKSPACE);
            files.chain(workspace).map(Path::new).chain(room.fresh.iter().map(PathBuf::as_path)).collect()
        }
    }
}

/// Builds the room and makes it the calling process's root, the host's being gone.
pub(super) fn enter(plan: &Plan<'_>, room: &Room) -> Result<Shown, Failure> {
    let tree = root::scaffold()?;
    let null = Path::new("/dev/null");
    tree.bind(null, null, DEVICE, Links::Refuse).doing("show the host's /dev/null")?;
    let workspace = plan.dir.join(file::TREE).join(file::WORKSPACE);
    let mut shown = Shown::default();
    if room.workspace == RoomWorkspace::Read {
        tree.bind(&workspace, Path::new(inside::WORKSPACE), READ_ONLY, Links::Refuse)
            .doing(&format!("show {}", workspace.display()))?;
    }
    if room.judged {
        let plan = plan.dir.join(file::TREE).join(file::JUDGED);
        tree.bind(&plan, Path::new(guest_path::JUDGED), READ_ONLY, Links::Refuse)
            .doing(&format!("show {}", plan.display()))?;
    }
    if let Some(caps) = room.writable {
        let copied = (room.workspace == RoomWorkspace::Copy).then_some(workspace.as_path());
        shown = files(&tree, caps, Shows { workspace: copied, fresh: &room.fresh }, plan)?;
    }
    root::grants(&tree, plan)?;
    root::take_place(&tree)?;
    Ok(shown)
}

/// What the guest's own file system holds beside `/tmp` and `/output`.
struct Shows<'a> {
    /// Where a copy is shown of.
    workspace: Option<&'a Path>,
    fresh: &'a [PathBuf],
}

fn files(tree: &Tree, caps: Writable, shows: Shows<'_>, plan: &Plan<'_>) -> Result<Shown, Failure> {
    let Shows { workspace, fresh } = shows;
    let own_files = OWN_FILES + fresh.len() as u64 + workspace.map_or(0, |_| OVERLAY_FILES);
    let own = memory(&bounded(caps.bytes, caps.files + own_files, 0o700))?;
    // Older kernels make copies only of what is attached.
    tree.directory(Path::new(SCRATCH)).and_then(|target| attach(&own, target)).doing("attach the guest's files")?;
    let fresh_directory = |name: &str, inside: &Path| show(tree, &own, (name, inside), plan.owner);
    let output = fresh_directory("output", Path::new(guest_path::OUTPUT))?;
    fresh_directory("tmp", Path::new(guest_path::TMP))?;
    let mut directories = vec![output];
    if let Some(workspace) = workspace {
        let (upper, merged) = overlay(&own, workspace, plan.user_namespace).doing("show a copy of the workspace")??;
        tree.directory(Path::new(inside::WORKSPACE))
            .and_then(|target| attach(&merged, target))
            .doing("attach the copy of the workspace")?;
        directories.extend([upper, readable(&merged).doing("open the copy of the workspace")?]);
    }
    // On top of the workspace, whatever is shown of it.
    for (n, inside) in fresh.iter().enumerate() {
        fresh_directory(&format!("fresh-{n}"), inside)?;
    }
    // What was taken from it keeps it alive; from the room no path leads to the whole.
    fchdir(&own).doing("enter the guest's files")?;
    unmount(c".", UnmountFlags::DETACH).doing("detach the guest's files")?;
    let stat = rustix::fs::fstatvfs(&own).doing("count the guest's files")?;
    Ok(Shown { directories, files: stat.f_files - stat.f_ffree })
}

/// A directory of the guest's own at `inside`; opened for the runner.
fn show(tree: &Tree, files: &OwnedFd, (name, inside): (&str, &Path), owner: Owner) -> Result<OwnedFd, Failure> {
    let shown = || -> io::Result<OwnedFd> {
        let made = subdirectory(files, name, owner, 0o700)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let copy = open_tree(&made, c"", flags)?;
        sys::mount_setattr(copy.as_fd(), WRITABLE, false)?;
        attach(copy, tree.directory(inside)?)?;
        Ok(made)
    };
    shown().doing(&format!("make {}", inside.display()))
}

/// The workspace with what the guest writes on top of it: the upper directory, and the whole.
fn overlay(files: &OwnedFd, workspace: &Path, user_namespace: bool) -> io::Result<Result<(OwnedFd, OwnedFd), Failure>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lower = openat(rustix::fs::CWD, workspace, flags, Mode::empty())?;
    let stat = fstat(&lower)?;
    // The root of the whole has the upper directory's owner and mode.
    let owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
    let upper = subdirectory(files, "upper", owner, stat.st_mode & 0o7777)?;
    let work = subdirectory(files, "work", Owner { uid: 0, gid: 0 }, 0o700)?;
    // By descriptor: a path may hold characters that the options would take for separators.
    let named = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let (lower, above, work) = (named(&lower), named(&upper), named(&work));
    let mut options = vec![
        (c"lowerdir", lower.as_str()),
        (c"upperdir", above.as_str()),
        (c"workdir", work.as_str()),
        (c"index", "off"),
        (c"metacopy", "off"),
        (c"xino", "off"),
    ];
    // What the overlay notes down for itself; a user namespace may not use the usual names.
    options.push(if user_namespace { (c"userxattr", "") } else { (c"redirect_dir", "off") });
    Ok(new_file_system(c"overlay", &options, WRITABLE).map(|merged| (upper, merged)))
}

fn subdirectory(at: &OwnedFd, name: &str, owner: Owner, mode: u32) -> io::Result<OwnedFd> {
    mkdirat(at, name, Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(at, name, flags, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    chownat(&made, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    fchmod(&made, Mode::from_raw_mode(mode))?;
    Ok(made)
}

fn readable(mount: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(mount, c".", flags, Mode::empty())?)
}
