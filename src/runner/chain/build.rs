//! A build hook: run once for a source and a declaration; every later run begins with what it left.
//!
//! What it leaves is the workspace, kept as sealed workspaces are: archived, encrypted under a key of
//! its own, bound to its stack and to what it was built from. A file that somebody else wrote, or that
//! was damaged, counts as none. Whoever builds holds a lock; whoever wants the same waits for it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::FlockOperation,
    io::Errno,
};

use super::{Chain, desk::Desk};
use crate::{
    crypt::Key,
    domain::{Digest, RunId, Timestamp, Verdict, limits, verdict::bytes},
    protocol::{Build, SlugPlace, file},
    runner::{fault::Fault, tree::Tree},
    workspace::{self, Binding, SealPaths, SealTerms, Sealed, Workspace},
};

/// Between two looks at whether another run's build is over.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Where a kept build is opened before it becomes the workspace.
const OPENED: &str = "slug";

impl Chain {
    pub(super) fn build(&mut self, build: &Build, desk: &mut Desk) -> Result<Verdict, Fault> {
        let Some(slug) = &build.slug else { return self.shell(&build.shell, None, desk) };
        let kept = Kept::of(slug).map_err(Fault::io("use the kept builds"))?;
        let Some(_alone) = self.alone_with(&kept, desk)? else { return Ok(Verdict::Stopped) };
        let terms = self.slug_terms(&kept)?;
        if kept.paths.sealed.exists() {
            match self.reuse(&kept, &terms) {
                Ok(()) => {
                    desk.log.note("an earlier run has built this source: its result is used");
                    return Ok(Verdict::SUCCESS);
                }
                Err(fault) => desk.log.note(&format!("what an earlier run has built cannot be used: {fault}")),
            }
        }
        let verdict = self.shell(&build.shell, None, desk)?;
        if verdict.is_success()
            && let Err(fault) = self.keep(&kept, &terms, desk)
        {
            desk.produced.warnings.push(format!("the result of the build is not kept: {fault}"));
        }
        Ok(verdict)
    }

    /// The build's lock; none when somebody wants the end meanwhile.
    fn alone_with(&self, kept: &Kept, desk: &mut Desk) -> Result<Option<File>, Fault> {
        let doing = "wait for another run's build";
        let until = Instant::now() + limits::PHASE_WALL;
        let mut told = false;
        loop {
            if let Some(lock) = kept.try_lock().map_err(Fault::io(doing))? {
                return Ok(Some(lock));
            }
            if self.asked_to_end() {
                return Ok(None);
            }
            if Instant::now() >= until {
                return Err(Fault::Other("another run's build of the same source does not end".to_owned()));
            }
            if !std::mem::replace(&mut told, true) {
                desk.log.note("another run is building the same source: its result is waited for");
            }
            let mut asked = [PollFd::from_borrowed_fd(self.tools.asked.wake(), PollFlags::IN)];
            let timeout = Timespec::try_from(LOOK_AGAIN).ok();
            match rustix::event::poll(&mut asked, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => self.tools.asked.settle(),
                Err(error) => return Err(Fault::io(doing)(error)),
            }
        }
    }

    /// Makes what was built earlier the workspace. After a fault the workspace is what it was.
    fn reuse(&mut self, kept: &Kept, terms: &SealTerms) -> Result<(), Fault> {
        let (dir, uid) = (&self.tools.dir, self.jail.user);
        let (opened, tree) = (dir.file_path(OPENED), dir.file_path(file::TREE));
        workspace::remove_tree(&opened).map_err(Fault::of)?;
        Workspace::<Sealed>::at(terms.clone()).open(&opened, uid).map_err(Fault::of)?;
        self.remove_workspace()?;
        fs::rename(&opened, &tree).map_err(Fault::io("use what was built"))?;
        self.use_tree(Tree::find(&self.tools.dir, uid)?)?;
        kept.touch(self.tools.clock.now()).map_err(Fault::io("use what was built"))?;
        // What there is to be said about it was said when it was built.
        self.read_carried().map(drop)
    }

    fn keep(&self, kept: &Kept, terms: &SealTerms, desk: &mut Desk) -> Result<(), Fault> {
        let doing = "keep what was built";
        let size = self.tree()?.size()?;
        if size > limits::SLUG_BYTES {
            let (size, most) = (bytes(size), bytes(limits::SLUG_BYTES));
            return Err(Fault::Other(format!("it takes {size}; up to {most} are kept")));
        }
        evict(&kept.dir, limits::SLUGS_BYTES.saturating_sub(size), limits::SLUGS - 1).map_err(Fault::io(doing))?;
        let report = self.tree()?.save(terms)?;
        kept.touch(self.tools.clock.now()).map_err(Fault::io(doing))?;
        desk.log.note(&format!("kept what was built for later runs ({})", bytes(report.sealed_bytes)));
        Ok(())
    }

    fn slug_terms(&self, kept: &Kept) -> Result<SealTerms, Fault> {
        let key = self.spec.secrets.slug_key.as_ref().ok_or(Fault::Missing("key for kept builds"))?;
        let key = Key::from_slice(key.expose()).map_err(Fault::of)?;
        Ok(SealTerms {
            paths: kept.paths.clone(),
            record_key: key.expand(b"airlock slug v1", &[kept.of.digits().as_bytes()]),
            // Not a run's: the first half of what it was built from stands in its place.
            binding: Binding {
                run: kept.owner(),
                stack: self.spec.run.stack,
                commit: None,
                plan: Some(kept.of.clone()),
            },
        })
    }
}

/// Where the result of one build is kept.
struct Kept {
    dir: PathBuf,
    of: Digest,
    paths: SealPaths,
}

impl Kept {
    fn of(slug: &SlugPlace) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&slug.dir)?;
        let path = |suffix| slug.dir.join(format!("{}.{suffix}", slug.of.digits()));
        let paths = SealPaths { sealed: path("sealed"), erase: path("key") };
        Ok(Self { dir: slug.dir.clone(), of: slug.of.clone(), paths })
    }

    fn owner(&self) -> RunId {
        RunId::from_number(u128::from_str_radix(&self.of.digits()[..32], 16).expect("a digest is hexadecimal"))
    }

    fn try_lock(&self) -> io::Result<Option<File>> {
        lock_of(&self.paths.sealed)
    }

    fn touch(&self, now: Timestamp) -> io::Result<()> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(now.millis().unsigned_abs());
        OpenOptions::new().append(true).open(&self.paths.sealed)?.set_modified(time)
    }
}

/// The lock beside a kept build, if nobody holds it. It stays when the build goes: whoever waits for
/// it must wait for the same one.
fn lock_of(sealed: &Path) -> io::Result<Option<File>> {
    let path = sealed.with_extension("lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes the builds that were not used for the longest time, until so many bytes and builds are left;
/// none that somebody uses.
fn evict(dir: &Path, most_bytes: u64, most: usize) -> io::Result<()> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sealed")
            && let Ok(meta) = fs::symlink_metadata(&path)
        {
            kept.push((meta.modified()?, meta.len(), path));
        }
    }
    kept.sort_unstable();
    let (mut bytes, mut count) = (kept.iter().map(|(_, bytes, _)| bytes).sum::<u64>(), kept.len());
    for (_, size, sealed) in kept {
        if bytes <= most_bytes && count <= most {
            break;
        }
        let Some(_alone) = lock_of(&sealed)? else { continue };
        let paths = SealPaths { erase: sealed.with_extension("key"), sealed };
        workspace::erase(&paths).map_err(io::Error::other)?;
        (bytes, count) = (bytes - size, count - 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_that_was_not_used_for_the_longest_time_goes_first_unless_somebody_is_at_it() {
        let dir = tempfile::tempdir().unwrap();
        let kept =
            |n: u8| Kept::of(&SlugPlace { dir: dir.path().to_owned(), of: Digest::from_bytes([n; 32]) }).unwrap();
        for n in 1..=3 {
            let kept = kept(n);
            fs::write(&kept.paths.sealed, [0; 100]).unwrap();
            fs::write(&kept.paths.erase, [1; 32]).unwrap();
            kept.touch(Timestamp::from_millis(i64::from(n) * 1_000)).unwrap();
        }
        let left = || (1..=3).filter(|n| kept(*n).paths.sealed.exists()).collect::<Vec<_>>();
        evict(dir.path(), 300, 3).unwrap();
        assert_eq!(left(), [1, 2, 3]);
        let at_it = kept(1).try_lock().unwrap().unwrap();
        assert!(kept(1).try_lock().unwrap().is_none());
        evict(dir.path(), 250, 3).unwrap();
        assert_eq!(left(), [1, 3]);
        assert!(!kept(2).paths.erase.exists());
        drop(at_it);
        evict(dir.path(), 300, 1).unwrap();
        assert_eq!(left(), [3]);
    }
}
