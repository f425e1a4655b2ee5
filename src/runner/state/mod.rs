//! The managed state of a chain: the newest version in memory, every written one on the disk.
//!
//! Owns the versions and Terraform's lock on them. A version is encrypted under the chain's key and
//! durable before its writer hears so, whatever the server is doing meanwhile. Knows no HTTP: that
//! is [`http`].
//!
//! Invariants: nothing is read or written outside of a phase that may; a phase's lock ends with it;
//! versions of a phase are numbered from 1 without gaps.

pub mod http;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::{
    crypt::{Key, Secret, write_file_under},
    domain::RunId,
    protocol::{StateAccess, file, state_label},
};

use super::{dir::ChainDir, fault::Fault};

/// The endpoint's truth, shared by the thread that works and the one that talks.
#[derive(Debug)]
pub struct States {
    dir: Arc<ChainDir>,
    key: Key,
    run: RunId,
    password: Secret<String>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None between phases.
    phase: Option<Open>,
    current: Option<Arc<Secret<Vec<u8>>>>,
    lock: Option<Lock>,
}

#[derive(Debug)]
struct Open {
    number: u32,
    access: StateAccess,
    written: u32,
}

/// Terraform's lock: its id, and all that it said about itself.
#[derive(Clone, Debug)]
struct Lock {
    id: String,
    info: Vec<u8>,
}

/// Why a request about the state is not granted.
#[derive(Debug)]
pub enum No {
    /// No phase that may see the state is running.
    Closed,
    /// The phase may read, not write.
    ReadOnly,
    /// Somebody else's lock, as it described itself.
    Locked(Vec<u8>),
    /// What was said about a lock is not understood.
    Unclear,
    /// The disk refused; already written to `runner.err`.
    Fault,
}

#[derive(Deserialize)]
struct LockInfo {
    #[serde(rename = "ID")]
    id: String,
}

impl States {
    pub fn new(dir: Arc<ChainDir>, key: Key, run: RunId, password: Secret<String>, current: Secret<Vec<u8>>) -> Self {
        let inner = Inner { phase: None, current: version(current), lock: None };
        Self { dir, key, run, password, inner: Mutex::new(inner) }
    }

    pub fn password(&self) -> &Secret<String> {
        &self.password
    }

    /// From here on the phase's requests are answered.
    pub fn open(&self, number: u32, access: StateAccess) {
        let mut inner = self.inner();
        inner.phase = (access != StateAccess::None).then_some(Open { number, access, written: 0 });
    }

    /// Ends the phase's access and its lock; says how many versions it wrote.
    pub fn close(&self) -> u32 {
        let mut inner = self.inner();
        inner.lock = None;
        inner.phase.take().map_or(0, |phase| phase.written)
    }

    /// The newest version; none when there is none.
    pub fn read(&self) -> Result<Option<Arc<Secret<Vec<u8>>>>, No> {
        let inner = self.inner();
        inner.phase.as_ref().ok_or(No::Closed)?;
        Ok(inner.current.clone())
    }

    /// Makes a version durable, then makes it the newest. `lock` is the id that the writer claims.
    pub fn write(&self, state: Secret<Vec<u8>>, lock: Option<&str>) -> Result<(), No> {
        let mut inner = self.inner();
        let phase = inner.phase.as_ref().ok_or(No::Closed)?;
        if phase.access != StateAccess::Write {
            return Err(No::ReadOnly);
        }
        if let Some(held) = inner.lock.as_ref().filter(|held| Some(held.id.as_str()) != lock) {
            return Err(No::Locked(held.info.clone()));
        }
        let (number, n) = (phase.number, phase.written + 1);
        self.persist(number, n, state.expose()).map_err(|fault| {
            super::start::complain(&fault);
            No::Fault
        })?;
        inner.current = version(state);
        if let Some(phase) = &mut inner.phase {
            phase.written = n;
        }
        Ok(())
    }

    fn persist(&self, number: u32, n: u32, state: &[u8]) -> Result<(), Fault> {
        let (path, label) = (self.dir.file_path(&file::state(number, n)), state_label(self.run, number, n));
        write_file_under(&path, &self.key, label.as_bytes(), &mut &*state)
            .map(drop)
            .map_err(Fault::io("write a version of the state"))
    }

    /// Takes the lock that `info` describes. Taking one's own lock again is fine.
    pub fn lock(&self, info: Vec<u8>) -> Result<(), No> {
        let mut inner = self.inner();
        inner.phase.as_ref().ok_or(No::Closed)?;
        let LockInfo { id } = serde_json::from_slice(&info).map_err(|_| No::Unclear)?;
        match &inner.lock {
            Some(held) if held.id != id => Err(No::Locked(held.info.clone())),
            _ => {
                inner.lock = Some(Lock { id, info });
                Ok(())
            }
        }
    }

    /// Gives the lock back that `info` describes. Giving back what nobody holds is fine.
    pub fn unlock(&self, info: &[u8]) -> Result<(), No> {
        let mut inner = self.inner();
        inner.phase.as_ref().ok_or(No::Closed)?;
        let LockInfo { id } = serde_json::from_slice(info).map_err(|_| No::Unclear)?;
        match &inner.lock {
            Some(held) if held.id != id => Err(No::Locked(held.info.clone())),
            _ => {
                inner.lock = None;
                Ok(())
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An empty version means that there is none.
fn version(state: Secret<Vec<u8>>) -> Option<Arc<Secret<Vec<u8>>>> {
    (!state.expose().is_empty()).then(|| Arc::new(state))
}

#[cfg(test)]
mod tests;
