//! Numbers for whoever watches the installation.

use std::{collections::BTreeMap, fs};

use crate::{
    domain::State,
    store::{Fault, Find, Rows, tables as t},
};

use super::{Queries, Result};

/// How much of everything there is.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Active runs by state; states without one are not in it.
    pub runs: BTreeMap<&'static str, u64>,
    pub slots: usize,
    pub slots_used: u64,
    /// Runs that only lack a slot.
    pub queued: u64,
    pub store_bytes: u64,
    pub disk_free_bytes: u64,
}

impl Queries {
    pub fn figures(&self) -> Result<Figures> {
        let view = self.view()?;
        let mut runs: BTreeMap<&'static str, u64> = BTreeMap::new();
        for run in view.all_active_runs()? {
            *runs.entry(State::word(run.state)).or_default() += 1;
        }
        let failed = |error: std::io::Error| Fault::Io(error.to_string());
        let disk = rustix::fs::statvfs(&self.data).map_err(|error| failed(error.into()))?;
        Ok(Figures {
            runs,
            slots: self.slots,
            slots_used: view.count(t::SLOT_RUN)?,
            queued: view.count(t::QUEUE_RUN)?,
            store_bytes: fs::metadata(self.data.join("airlock.redb")).map_err(failed)?.len(),
            disk_free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        })
    }
}
