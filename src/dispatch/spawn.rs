//! Starting a runner: its own binary, the lock handed over as descriptor 1, the spec through a pipe.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use tokio::io::{AsyncWriteExt as _, Interest};

use crate::{actions::ToStart, crypt::Secret};

use super::dir::ChainDir;

/// Starts the runner of a chain and waits until it listens, or is gone.
pub(super) async fn start(binary: &Path, dir: &ChainDir, lock: File, chain: &ToStart) -> io::Result<()> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let mut command = Command::new(binary);
    command
        .arg0("airlock")
        .arg("runner")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(reader))
        .stdout(Stdio::from(OwnedFd::from(lock)))
        .stderr(Stdio::from(dir.errors()?));
    let mut child = tokio::process::Command::from(command).spawn()?;
    // It outlives the server; while both live, somebody must collect it.
    tokio::spawn(async move {
        if let Err(error) = child.wait().await {
            tracing::warn!(%error, "a runner could not be collected");
        }
    });
    let mut pipe = tokio::net::unix::pipe::Sender::from_owned_fd(writer)?;
    for line in lines(chain)? {
        pipe.write_all(line.expose().as_bytes()).await?;
    }
    // The reading end closes when the runner listens, or when it is gone.
    pipe.ready(Interest::ERROR).await?;
    Ok(())
}

fn lines(chain: &ToStart) -> io::Result<[Secret<String>; 2]> {
    let line = |json: serde_json::Result<String>| {
        let mut text = json.map_err(io::Error::other)?;
        text.push('\n');
        Ok::<_, io::Error>(Secret::new(text))
    };
    Ok([line(serde_json::to_string(&chain.jail))?, line(serde_json::to_string(&chain.spec))?])
}
