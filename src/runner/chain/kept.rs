//! What a program may add to directories that stay: measured before it starts, while it runs and at its end.
//!
//! Two bounds hold for all of a program's kept directories together. What they hold at all may be as
//! much as a workspace; those that hold more when the program starts may not grow, so that a task can
//! still tidy up. And what they grow by while a guest runs counts as written by it. Runs beside it that
//! share a directory count, too: nothing tells whose a file is.

use std::{collections::BTreeSet, os::fd::OwnedFd};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use super::Chain;
use crate::{
    protocol::Bind,
    runner::{
        fault::Fault,
        growing::{Bound, Growing},
        native::make_kept,
        size::{Extent, Measure},
        watch::Why,
    },
};

/// Entries looked at before somebody may want the end.
const STEP: usize = 10_000;

impl Chain {
    /// What is kept of these, measured; none where nothing is. `growth`: what a guest may add.
    pub(super) fn kept(&self, binds: &[Bind], growth: Option<Extent>) -> Result<Option<Growing>, Fault> {
        // What is made for them was written by nobody.
        binds.iter().try_for_each(|bind| make_kept(bind, self.jail.user)).map_err(Fault::of)?;
        let doing = "measure the mounts";
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Several mounts may lie in one, and in each other.
        let hosts: BTreeSet<_> = binds.iter().filter(|bind| bind.kept.is_some()).map(|bind| &bind.host).collect();
        let open = || -> Result<Vec<OwnedFd>, Errno> {
            hosts.iter().map(|host| openat(CWD, host.as_path(), flags, Mode::empty())).collect()
        };
        let trees = open().map_err(Fault::io(doing))?;
        if trees.is_empty() {
            return Ok(None);
        }
        let mut measure = Measure::of(open().map_err(Fault::io(doing))?);
        while !measure.go_on(STEP) && !self.asked_to_end() {
            self.tools.asked.settle();
        }
        let before = measure.seen();
        let every = if growth.is_some() { super::shell::WRITTEN_EVERY } else { super::shell::SIZE_EVERY };
        Ok(Some(Growing::new(trees, before, bounds(before, self.jail.limits.workspace_bytes, growth), every)))
    }
}

fn bounds(before: Extent, limit_bytes: u64, growth: Option<Extent>) -> Vec<Bound> {
    let whole = Bound { most: Extent::of_bytes(limit_bytes).at_least(before), why: Why::Mounts { limit_bytes } };
    let growth = growth.map(|growth| Bound {
        most: before.plus(growth),
        why: Why::Written { limit_bytes: growth.bytes, files: growth.entries },
    });
    growth.into_iter().chain([whole]).collect()
}
