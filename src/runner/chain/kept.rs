//! What a program may add to directories that stay: measured before it starts, while it runs and at its end.
//!
//! Two bounds hold for all of a program's kept directories together. What they hold at all may be as
//! much as a workspace; those that hold more when the program starts may not grow, so that a task can
//! still tidy up. And what they grow by while a guest runs counts as written by it. Runs beside it that
//! share a directory count, too: nothing tells whose a file is.
//!
//! Nobody tidies a cache up. A program may add as much as a workspace to it, and what holds more than
//! that is emptied before a run that fills it anew.

use std::{collections::BTreeSet, fs, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use super::{Chain, desk::Desk};
use crate::{
    domain::verdict::bytes,
    protocol::{Bind, Keeps},
    runner::{
        fault::Fault,
        growing::{Bound, Growing},
        native::make_kept,
        size::{Extent, Measure},
        watch::Why,
    },
    workspace,
};

/// Entries looked at before somebody may want the end.
const STEP: usize = 10_000;

impl Chain {
    /// What is kept of these, measured. `growth`: what a guest may add.
    pub(super) fn kept(&self, binds: &[Bind], growth: Option<Extent>) -> Result<Vec<Growing>, Fault> {
        // What is made for them was written by nobody.
        binds.iter().try_for_each(|bind| make_kept(bind, self.jail.user)).map_err(Fault::of)?;
        let growing = [Keeps::Data, Keeps::Cache].map(|keeps| self.growing(binds, keeps, growth));
        growing.into_iter().filter_map(Result::transpose).collect()
    }

    fn growing(&self, binds: &[Bind], keeps: Keeps, growth: Option<Extent>) -> Result<Option<Growing>, Fault> {
        let kept = binds.iter().filter(|bind| bind.kept.is_some() && bind.keeps == keeps);
        // Several mounts may lie in one, and in each other.
        let hosts: BTreeSet<_> = kept.map(|bind| bind.host.as_path()).collect();
        if hosts.is_empty() {
            return Ok(None);
        }
        let before = self.measured(&hosts)?;
        let every = if growth.is_some() { super::shell::WRITTEN_EVERY } else { super::shell::SIZE_EVERY };
        let limit_bytes = self.jail.limits.workspace_bytes;
        let bounds = match keeps {
            Keeps::Data => bounds(before, limit_bytes, growth),
            Keeps::Cache => {
                vec![Bound { most: before.plus(Extent::of_bytes(limit_bytes)), why: Why::Cache { limit_bytes } }]
            }
        };
        Ok(Some(Growing::new(open(&hosts)?, before, bounds, every)))
    }

    /// Empties caches that are too full, as long as nothing of the run leads into them.
    pub(super) fn empty_full_caches(&self, binds: &[Bind], desk: &mut Desk) -> Result<(), Fault> {
        let limit_bytes = self.jail.limits.workspace_bytes;
        for bind in binds.iter().filter(|bind| bind.kept.is_some() && bind.keeps == Keeps::Cache) {
            if self.measured(&BTreeSet::from([bind.host.as_path()]))?.exceeds(Extent::of_bytes(limit_bytes)) {
                empty(&bind.host)?;
                desk.log.note(&format!(
                    "more than {} was cached in {}: it was emptied",
                    bytes(limit_bytes),
                    bind.inside.display()
                ));
            }
        }
        Ok(())
    }

    fn measured(&self, hosts: &BTreeSet<&Path>) -> Result<Extent, Fault> {
        let mut measure = Measure::of(open(hosts)?);
        while !measure.go_on(STEP) && !self.asked_to_end() {
            self.tools.asked.settle();
        }
        Ok(measure.seen())
    }
}

fn open(hosts: &BTreeSet<&Path>) -> Result<Vec<OwnedFd>, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = hosts.iter().map(|host| openat(CWD, *host, flags, Mode::empty()));
    opened.collect::<Result<_, Errno>>().map_err(Fault::io("measure the mounts"))
}

/// Removes what is in a directory. It stays itself, with its owner.
fn empty(dir: &Path) -> Result<(), Fault> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    for entry in entries.map_err(Fault::io("empty a cache"))? {
        workspace::remove_tree(&entry.path()).map_err(Fault::of)?;
    }
    Ok(())
}

fn bounds(before: Extent, limit_bytes: u64, growth: Option<Extent>) -> Vec<Bound> {
    let whole = Bound { most: Extent::of_bytes(limit_bytes).at_least(before), why: Why::Mounts { limit_bytes } };
    let growth = growth.map(|growth| Bound {
        most: before.plus(growth),
        why: Why::Written { limit_bytes: growth.bytes, files: growth.entries },
    });
    growth.into_iter().chain([whole]).collect()
}
