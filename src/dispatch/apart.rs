//! Chains that belong to no run: carried out apart from every queue, and nothing of them stays.

use std::{fs, io, path::Path, time::Duration};

use super::{dir::ChainDir, spawn};
use crate::{actions::ToStart, protocol::Record};

/// Between two looks at whether the runner is done.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a chain left, while it is still there.
pub(super) struct Left<'a> {
    pub(super) path: &'a Path,
    pub(super) records: Vec<Record>,
    dir: &'a ChainDir,
}

impl Left<'_> {
    /// What the runner had to say that is no record.
    pub(super) fn complaint(&self) -> String {
        self.dir.complaint()
    }
}

/// Carries a chain out and has `read` look at what it left, before that is removed.
pub(super) async fn carried_out<T>(
    binary: &Path,
    chain: &ToStart,
    read: impl FnOnce(&Left<'_>) -> io::Result<T>,
) -> io::Result<T> {
    let done = run(binary, chain, read).await;
    let root = chain.dir.parent().unwrap_or(&chain.dir);
    if let Err(error) = fs::remove_dir_all(root)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %root.display(), %error, "what a chain of no run left cannot be removed");
    }
    done
}

async fn run<T>(binary: &Path, chain: &ToStart, read: impl FnOnce(&Left<'_>) -> io::Result<T>) -> io::Result<T> {
    let path = chain.dir.as_path();
    if path.exists() {
        // A server that was killed left it. It changes nothing, so that it is begun again once it is gone.
        gone(&ChainDir::at(path)).await?;
        fs::remove_dir_all(path)?;
    }
    let dir = ChainDir::make(path)?;
    let Some(lock) = dir.try_lock()? else { return Err(io::Error::other("somebody else does it")) };
    match spawn::start(binary, &dir, lock, chain).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        Ok(()) | Err(_) => {}
    }
    gone(&dir).await?;
    let (records, _) = dir.records(0)?;
    read(&Left { path, records, dir: &dir })
}

async fn gone(dir: &ChainDir) -> io::Result<()> {
    while dir.try_lock()?.is_none() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
