//! What a guest leaves: artifacts out of `/output`, and changes that become the workspace's.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
};

use super::{
    beneath::{Kind, Root, is_too_deep},
    changes::{Change, Views},
};
use crate::{
    crypt::Hasher,
    domain::limits::WORKSPACE_DEPTH,
    protocol::{Artifact, Caps},
};

const PIECE: usize = 256 << 10;

/// Where artifacts go: opens the file for the n-th, from 1.
pub type Place<'a> = dyn FnMut(usize) -> io::Result<File> + 'a;

/// Copies the regular files below `/output`; gives them, and what is to be said about the rest.
pub fn collect(output: BorrowedFd<'_>, caps: &Caps, place: &mut Place<'_>) -> io::Result<(Vec<Artifact>, Vec<String>)> {
    let mut collection = Collection { root: Root(output), left: caps.files_bytes, artifacts: Vec::new(), skipped: 0 };
    collection.directory(Path::new(""), 0, place)?;
    let warnings = (collection.skipped > 0).then(|| {
        format!(
            "{} entries of /output are no artifacts: only regular files with readable names are, up to {} bytes in all",
            collection.skipped, caps.files_bytes
        )
    });
    Ok((collection.artifacts, warnings.into_iter().collect()))
}

struct Collection<'a> {
    root: Root<'a>,
    /// Bytes that may still be copied: a file may claim to be larger than what it was written.
    left: u64,
    artifacts: Vec<Artifact>,
    skipped: u64,
}

impl Collection<'_> {
    fn directory(&mut self, path: &Path, depth: usize, place: &mut Place<'_>) -> io::Result<()> {
        if depth > WORKSPACE_DEPTH {
            self.skipped += 1;
            return Ok(());
        }
        for name in self.root.names(path)? {
            let path = path.join(name);
            match self.root.look(&path) {
                Err(error) if is_too_deep(&error) => self.skipped += 1,
                Err(error) => return Err(error),
                Ok(Some((Kind::Directory, _))) => self.directory(&path, depth + 1, place)?,
                Ok(Some((Kind::File(_), stat))) => self.file(&path, stat.st_size.cast_unsigned(), place)?,
                Ok(Some((Kind::Link | Kind::Other, _)) | None) => self.skipped += 1,
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, bytes: u64, place: &mut Place<'_>) -> io::Result<()> {
        let name = path.to_str().filter(|name| !name.chars().any(char::is_control));
        let (Some(name), true) = (name, bytes <= self.left) else {
            self.skipped += 1;
            return Ok(());
        };
        let (mut from, mut to) = (self.root.file(path)?.take(bytes), place(self.artifacts.len() + 1)?);
        let (mut hasher, mut piece, mut copied) = (Hasher::new(), vec![0; PIECE], 0);
        loop {
            let read = from.read(&mut piece)?;
            if read == 0 {
                break;
            }
            hasher.update(&piece[..read]);
            io::Write::write_all(&mut to, &piece[..read])?;
            copied += read as u64;
        }
        to.sync_data()?;
        self.left -= copied;
        self.artifacts.push(Artifact { path: name.to_owned(), bytes: copied, digest: hasher.digest() });
        Ok(())
    }
}

/// Bytes of the files that came or changed, holes included: a file may be longer than what it was written.
pub fn size(views: Views<'_>, changes: &[Change]) -> io::Result<u64> {
    changes.iter().filter(|change| matches!(change.after, Some(Kind::File(_)))).try_fold(0_u64, |sum, change| {
        let found = views.after.look(&change.path)?;
        Ok(sum.saturating_add(found.map_or(0, |(_, stat)| stat.st_size.cast_unsigned())))
    })
}

/// Makes the changes in the workspace itself. New things belong to `owner`.
pub fn keep(views: Views<'_>, changes: &[Change], workspace: BorrowedFd<'_>, owner: Option<u32>) -> io::Result<()> {
    let target = Target { workspace, owner };
    // What goes, from the inside out; then what comes, from the outside in.
    for change in changes.iter().rev().filter(|change| replaced(change)) {
        target.remove(change)?;
    }
    changes.iter().try_for_each(|change| target.make(views, change))
}

const fn replaced(change: &Change) -> bool {
    // A file that stays a file is written over.
    change.before.is_some() && !matches!((change.before, change.after), (Some(Kind::File(_)), Some(Kind::File(_))))
}

struct Target<'a> {
    workspace: BorrowedFd<'a>,
    owner: Option<u32>,
}

impl Target<'_> {
    fn remove(&self, change: &Change) -> io::Result<()> {
        let flags = if change.before == Some(Kind::Directory) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let (parent, name) = self.parent(&change.path)?;
        match rustix::fs::unlinkat(&parent, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn make(&self, views: Views<'_>, change: &Change) -> io::Result<()> {
        let (parent, name) = self.parent(&change.path)?;
        match change.after {
            None | Some(Kind::Other) => return Ok(()),
            Some(Kind::Directory) => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?,
            Some(Kind::Link) => {
                let target = PathBuf::from(std::ffi::OsStr::from_bytes(&views.after.link(&change.path)?));
                rustix::fs::symlinkat(target, &parent, name)?;
            }
            Some(Kind::File(mode)) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(mode & 0o777);
                let mut to = File::from(rustix::fs::openat(&parent, name, flags, mode)?);
                io::copy(&mut views.after.file(&change.path)?, &mut to)?;
            }
        }
        match self.owner {
            Some(id) => {
                let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
                Ok(rustix::fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            None => Ok(()),
        }
    }

    fn parent<'p>(&self, path: &'p Path) -> io::Result<(std::os::fd::OwnedFd, &'p std::ffi::OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok((rustix::fs::openat2(self.workspace.as_fd(), parent, flags, Mode::empty(), resolve)?, name))
    }
}
