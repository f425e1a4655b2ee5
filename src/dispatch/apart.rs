//! Chains that belong to no run: carried out apart from every queue, and nothing of them stays.

use std::{
    fs,
    future::{Future, pending},
    io,
    path::Path,
    pin::{Pin, pin},
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, net::UnixStream};

use super::{dir::ChainDir, spawn};
use crate::{
    actions::ToStart,
    protocol::{Record, Request},
};

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
    carried_out_unless(pending(), binary, chain, read).await
}

/// As [`carried_out`]; once it is `moot`, its runner is made to end.
pub(super) async fn carried_out_unless<T>(
    moot: impl Future<Output = ()>,
    binary: &Path,
    chain: &ToStart,
    read: impl FnOnce(&Left<'_>) -> io::Result<T>,
) -> io::Result<T> {
    let done = run(pin!(moot), binary, chain, read).await;
    let root = chain.dir.parent().unwrap_or(&chain.dir);
    if let Err(error) = fs::remove_dir_all(root)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %root.display(), %error, "what a chain of no run left cannot be removed");
    }
    done
}

async fn run<T>(
    mut moot: Pin<&mut impl Future<Output = ()>>,
    binary: &Path,
    chain: &ToStart,
    read: impl FnOnce(&Left<'_>) -> io::Result<T>,
) -> io::Result<T> {
    let path = chain.dir.as_path();
    if path.exists() {
        // A server that was killed left it. It changes nothing, so that it is begun again once it is gone.
        if !gone_unless(moot.as_mut(), &ChainDir::at(path)).await? {
            return Err(io::Error::other("nobody wants it any more"));
        }
        fs::remove_dir_all(path)?;
    }
    let dir = ChainDir::make(path)?;
    let Some(lock) = dir.try_lock()? else { return Err(io::Error::other("somebody else does it")) };
    match spawn::start(binary, &dir, lock, chain).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        Ok(()) | Err(_) => {}
    }
    gone_unless(moot, &dir).await?;
    let (records, _) = dir.records(0)?;
    read(&Left { path, records, dir: &dir })
}

/// Waits until nobody works on a chain any more. False when its runner was made to end.
async fn gone_unless(moot: Pin<&mut impl Future<Output = ()>>, dir: &ChainDir) -> io::Result<bool> {
    tokio::select! {
        gone = gone(dir) => return gone.map(|()| true),
        () = moot => {}
    }
    if let Err(error) = kill(dir).await {
        // It may have ended by itself meanwhile.
        tracing::debug!(%error, "a runner was not made to end");
    }
    gone(dir).await.map(|()| false)
}

/// Nothing of it counts any more, so that it gets no time to say anything.
async fn kill(dir: &ChainDir) -> io::Result<()> {
    let (_through, path) = dir.control()?;
    let mut control = UnixStream::connect(path).await?;
    let mut line = serde_json::to_vec(&Request::Kill).map_err(io::Error::other)?;
    line.push(b'\n');
    control.write_all(&line).await?;
    // It rings until it ends.
    tokio::io::copy(&mut control, &mut tokio::io::sink()).await.map(drop)
}

async fn gone(dir: &ChainDir) -> io::Result<()> {
    while dir.try_lock()?.is_none() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
