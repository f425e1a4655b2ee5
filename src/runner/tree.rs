//! The open workspace: `tree/workspace` and `tree/run`, which phases may fill with anything, and where
//! it is made, `tree/output`.
//!
//! Phases own these directories, so nothing in them is trusted: no link is followed out of them, no
//! name is opened that is not a regular file, nothing is read without a bound.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
};
use zeroize::Zeroizing;

use crate::{
    domain::{RelativePath, limits, verdict::bytes},
    protocol::{file, guest_path},
    workspace::{Open, SealReport, SealTerms, Workspace, remove_tree},
};

use super::{
    dir::ChainDir,
    fault::Fault,
    patching::{Entry, Files},
    wasi::{Kind, Root},
};

/// Configuration files of a project root that are looked at.
const CONFIGURATION_FILES: usize = 2_000;
/// Bytes of one of them.
const CONFIGURATION_BYTES: u64 = 4 * limits::MIB;

/// The two directories, held open.
#[derive(Debug)]
pub struct Tree {
    open: Workspace<Open>,
    root: OwnedFd,
    workspace: OwnedFd,
    run: OwnedFd,
    /// Whom the phases run as, when that is not this process's user.
    owner: Option<u32>,
}

impl Tree {
    /// Makes empty directories. There must be none yet.
    pub fn make(dir: &ChainDir, owner: Option<u32>) -> Result<Self, Fault> {
        let made = Workspace::create(&dir.file_path(file::TREE), owner).map_err(Fault::of)?;
        Self::of(made, dir, owner)
    }

    /// Opens directories that an earlier chain kept.
    pub fn find(dir: &ChainDir, owner: Option<u32>) -> Result<Self, Fault> {
        let found = Workspace::adopt(&dir.file_path(file::TREE), owner).map_err(Fault::of)?;
        Self::of(found, dir, owner)
    }

    /// The directories of a workspace that is open in `dir`.
    pub fn of(open: Workspace<Open>, dir: &ChainDir, owner: Option<u32>) -> Result<Self, Fault> {
        let doing = "open the workspace";
        let root = directory(dir.fd(), file::TREE).map_err(Fault::io(doing))?;
        let workspace = directory(&root, file::WORKSPACE).map_err(Fault::io(doing))?;
        let run = directory(&root, file::RUN).map_err(Fault::io(doing))?;
        Ok(Self { open, root, workspace, run, owner })
    }

    /// Removes what lies in `dir` although nobody opened it.
    pub fn remove_left_over(dir: &ChainDir) -> Result<(), Fault> {
        remove_tree(&dir.file_path(file::TREE)).map_err(Fault::of)
    }

    /// For sealing or removing it.
    pub fn into_workspace(self) -> Workspace<Open> {
        self.open
    }

    /// Bytes that it takes up on disk.
    pub fn size(&self) -> Result<u64, Fault> {
        self.open.size().map(|size| size.disk_bytes).map_err(Fault::of)
    }

    /// Seals a copy, and goes on.
    pub fn save(&self, terms: &SealTerms) -> Result<SealReport, Fault> {
        self.open.save(terms).map_err(Fault::of)
    }

    /// Lets phases without a jail find their way to their directories by path, if the directories
    /// above let them come so far.
    pub fn let_through(&self) -> Result<(), Fault> {
        rustix::fs::fchmod(&self.root, Mode::from_raw_mode(0o711)).map_err(Fault::io("open the way to the workspace"))
    }

    /// What is measured: all that phases can fill.
    pub fn root(&self) -> Result<OwnedFd, Fault> {
        self.root.try_clone().map_err(Fault::io("open the workspace"))
    }

    pub fn workspace(&self) -> BorrowedFd<'_> {
        self.workspace.as_fd()
    }

    /// Opens a file that a phase left in `tree/run`; none when there is none.
    pub fn run_file(&self, name: &str) -> Result<Option<File>, Fault> {
        regular(&self.run, Path::new(name), ResolveFlags::NO_SYMLINKS)
    }

    /// Reads such a file whole.
    pub fn read_run_file(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        let Some(file) = self.run_file(name)? else { return Ok(None) };
        read_bounded(file, name, most).map(Some)
    }

    /// Puts a file of ours into `tree/run`.
    pub fn write_run_file(&self, name: &str, content: &[u8]) -> Result<(), Fault> {
        self.replace(self.run.as_fd(), name, content, name)
    }

    /// Puts the run's settings beside what phases see, to be sealed with it.
    pub fn leave_settings(&self, content: &[u8]) -> Result<(), Fault> {
        let (root, name) = (self.root.as_fd(), file::SETTINGS);
        self.replace(root, name, content, name)
    }

    /// Takes them out again, before any phase runs; none when none were sealed.
    pub fn take_settings(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        let name = file::SETTINGS;
        let Some(file) = regular(&self.root, Path::new(name), ResolveFlags::NO_SYMLINKS)? else { return Ok(None) };
        let content = Zeroizing::new(read_bounded(file, name, limits::SETTINGS_BYTES)?);
        rustix::fs::unlinkat(&self.root, name, AtFlags::empty()).map_err(Fault::io(format!("remove `{name}`")))?;
        Ok(Some(content))
    }

    /// Lays the plan that a guest is to judge where its room shows it.
    pub fn place_plan(&self, plan: &[u8]) -> Result<(), Fault> {
        let doing = "lay out the plan";
        match rustix::fs::mkdirat(&self.root, file::JUDGED, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Fault::io(doing)(error)),
        }
        let dir = directory(&self.root, file::JUDGED).map_err(Fault::io(doing))?;
        give(&dir, self.owner).map_err(Fault::io(doing))?;
        self.replace(dir.as_fd(), guest_path::PLAN_JSON, plan, guest_path::PLAN_JSON)
    }

    /// Makes the directory for what a native task leaves. There must be none yet.
    pub fn make_output(&self) -> Result<(), Fault> {
        let doing = "make the task's output";
        rustix::fs::mkdirat(&self.root, file::OUTPUT, Mode::from_raw_mode(0o700)).map_err(Fault::io(doing))?;
        let made = directory(&self.root, file::OUTPUT).map_err(Fault::io(doing))?;
        give(&made, self.owner).map_err(Fault::io(doing))
    }

    /// The beginning of the outcomes that were left there; none when there are none.
    pub fn outcomes(&self, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        let output = directory(&self.root, file::OUTPUT).map_err(Fault::io("open the task's output"))?;
        let name = guest_path::OUTCOMES;
        let Some(file) = regular(&output, Path::new(name), ResolveFlags::NO_SYMLINKS)? else { return Ok(None) };
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content).map_err(Fault::io(format!("read `{name}`")))?;
        Ok(Some(content))
    }

    /// Removes a file from `tree/run`; it is fine when there is none.
    pub fn remove_run_file(&self, name: &str) -> Result<(), Fault> {
        unlink(self.run.as_fd(), name).map_err(Fault::io(format!("remove `{name}`")))
    }

    /// Opens a regular file of the workspace; none when there is none of that name.
    pub fn workspace_file(&self, path: &RelativePath) -> Result<Option<File>, Fault> {
        regular(&self.workspace, Path::new(path.as_str()), ResolveFlags::NO_SYMLINKS)
    }

    /// Whom the phases run as, when that is not this process's user.
    pub const fn owner(&self) -> Option<u32> {
        self.owner
    }

    /// Puts a file into the workspace, in place of what is there, through no link.
    pub fn place(&self, path: &RelativePath, content: &[u8]) -> Result<(), Fault> {
        let (parents, name) = apart(path.as_str());
        self.place_in(parents, name, content)
    }

    /// As [`Self::place`], with the directory and the name apart.
    pub fn place_in(&self, parents: &str, name: &str, content: &[u8]) -> Result<(), Fault> {
        let parent = self.directories(parents)?;
        self.replace(parent.as_fd(), name, content, name)
    }

    /// Makes the directories of a path where they are missing, and opens the last.
    pub fn directories(&self, path: &str) -> Result<OwnedFd, Fault> {
        let doing = || format!("make the directory `{path}` in the workspace");
        let mut at = self.workspace.try_clone().map_err(Fault::io(doing()))?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    let made = directory(&at, name).map_err(Fault::io(doing()))?;
                    give(&made, self.owner).map_err(Fault::io(doing()))?;
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(Fault::io(doing())(error)),
            }
            at = directory(&at, name).map_err(Fault::io(doing()))?;
        }
        Ok(at)
    }

    fn replace(&self, dir: BorrowedFd<'_>, name: &str, content: &[u8], shown: &str) -> Result<(), Fault> {
        let doing = || format!("place the file `{shown}`");
        unlink(dir, name).map_err(Fault::io(doing()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(Fault::io(doing()))?;
        give(&fd, self.owner).map_err(Fault::io(doing()))?;
        File::from(fd).write_all(content).map_err(Fault::io(doing()))
    }

    /// The first bytes of a file of the source; none when there is none. Links are not followed: they
    /// are no part of what an archive's walk sees either.
    pub fn beginning(&self, path: &RelativePath, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        let Some(file) = regular(&self.workspace, Path::new(path.as_str()), ResolveFlags::NO_SYMLINKS)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content).map_err(Fault::io(format!("read `{path}`")))?;
        Ok(Some(content))
    }

    /// Names and contents of the files of a directory of the workspace that `wanted` names. Links
    /// are followed as far as they stay in the workspace.
    pub fn configuration(
        &self,
        root: &RelativePath,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        let doing = || format!("look into the project root `{root}`");
        let at = if root.as_str().is_empty() { "." } else { root.as_str() };
        let dir = match beneath(&self.workspace, Path::new(at), OFlags::DIRECTORY, ResolveFlags::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(Fault::io(doing())(error)),
        };
        let mut found = Vec::new();
        for entry in Dir::read_from(&dir).map_err(Fault::io(doing()))? {
            let entry = entry.map_err(Fault::io(doing()))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !wanted(name) {
                continue;
            }
            if found.len() == CONFIGURATION_FILES {
                return Err(Fault::Other(format!(
                    "the project root has more than {CONFIGURATION_FILES} configuration files"
                )));
            }
            let path = Path::new(at).join(name);
            if let Some(file) = regular(&self.workspace, &path, ResolveFlags::empty())? {
                found.push((name.to_owned(), read_bounded(file, name, CONFIGURATION_BYTES)?));
            }
        }
        Ok(found)
    }
}

impl Files for Tree {
    type Error = Fault;

    fn read(&self, path: &RelativePath) -> Result<Option<Entry>, Fault> {
        if let Some(file) = self.workspace_file(path)? {
            return read_bounded(file, path.as_str(), limits::PATCH_FILE_BYTES)
                .map(|content| Some(Entry::File(content)));
        }
        let (root, at) = (Root(self.workspace()), Path::new(path.as_str()));
        let read = || match root.look(at)? {
            Some((Kind::Link, _)) => root.link(at).map(|target| Some(Entry::Link(target))),
            Some((Kind::File(_) | Kind::Directory | Kind::Other, _)) | None => Ok(None),
        };
        read().map_err(Fault::io(format!("look at `{path}`")))
    }

    fn write(&self, path: &RelativePath, content: &[u8], executable: Option<bool>) -> Result<(), Fault> {
        let doing = || format!("set the mode of `{path}`");
        let before = match self.workspace_file(path)? {
            Some(file) => rustix::fs::fstat(&file).map_err(Fault::io(doing()))?.st_mode & 0o777,
            None => 0o644,
        };
        self.place(path, content)?;
        let mode = match executable {
            Some(true) => before | 0o111,
            Some(false) => before & !0o111,
            None => before,
        };
        let Some(file) = self.workspace_file(path)? else { return Ok(()) };
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(Fault::io(doing()))
    }

    fn link(&self, path: &RelativePath, target: &[u8]) -> Result<(), Fault> {
        let doing = || format!("make the link `{path}`");
        let (parents, name) = apart(path.as_str());
        let parent = self.directories(parents)?;
        unlink(parent.as_fd(), name).map_err(Fault::io(doing()))?;
        rustix::fs::symlinkat(OsStr::from_bytes(target), &parent, name).map_err(Fault::io(doing()))?;
        let Some(id) = self.owner else { return Ok(()) };
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        rustix::fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(Fault::io(doing()))
    }

    fn remove(&self, path: &RelativePath) -> Result<(), Fault> {
        let (mut parents, mut name) = apart(path.as_str());
        let mut flags = AtFlags::empty();
        loop {
            let parent = self.directories(parents)?;
            match rustix::fs::unlinkat(&parent, name, flags) {
                Err(Errno::NOTEMPTY | Errno::EXIST) if flags == AtFlags::REMOVEDIR => return Ok(()),
                other => other.map_err(Fault::io(format!("remove `{path}`")))?,
            }
            if parents.is_empty() {
                return Ok(());
            }
            (parents, name) = apart(parents);
            flags = AtFlags::REMOVEDIR;
        }
    }
}

/// The directories of a path, and the name in the last.
fn apart(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Removes what is no directory; it is fine when there is none.
fn unlink(dir: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

fn directory(at: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn give(fd: &OwnedFd, owner: Option<u32>) -> Result<(), Errno> {
    match owner {
        Some(id) => rustix::fs::fchown(fd, Some(Uid::from_raw(id)), Some(Gid::from_raw(id))),
        None => Ok(()),
    }
}

fn beneath(at: &OwnedFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    // A FIFO would make an open without NONBLOCK wait for its other end.
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = resolve | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(at, path, flags, Mode::empty(), resolve)
}

/// Opens a regular file; none when there is nothing of that name or when it is something else.
fn regular(at: &OwnedFd, path: &Path, resolve: ResolveFlags) -> Result<Option<File>, Fault> {
    let doing = || format!("open `{}`", path.display());
    let fd = match beneath(at, path, OFlags::empty(), resolve) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NXIO | Errno::ACCESS) => return Ok(None),
        Err(error) => return Err(Fault::io(doing())(error)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(Fault::io(doing()))?;
    Ok((FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| File::from(fd)))
}

fn read_bounded(file: File, name: &str, most: u64) -> Result<Vec<u8>, Fault> {
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content).map_err(Fault::io(format!("read `{name}`")))?;
    if content.len() as u64 > most {
        return Err(Fault::Other(format!("`{name}` is larger than {}", bytes(most))));
    }
    Ok(content)
}

#[cfg(test)]
mod tests;
