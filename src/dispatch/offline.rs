//! Runners without a server: which are alive, and asking one of them to stop.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use super::dir::ChainDir;
use crate::{
    domain::RunId,
    protocol::{Request, file},
};

/// The directories of chains whose runner is alive. `runs` holds all runs of this installation.
pub fn living(runs: &Path) -> io::Result<Vec<PathBuf>> {
    let mut living = Vec::new();
    for run in subdirectories(runs)? {
        living.extend(living_of(&run)?);
    }
    Ok(living)
}

/// Asks the runner of a run to stop and waits until it is gone. Says whether there was one.
pub fn stop(runs: &Path, run: RunId) -> io::Result<bool> {
    let Some(chain) = living_of(&runs.join(run.to_string()))?.pop() else { return Ok(false) };
    let (_through, path) = ChainDir::at(&chain).control()?;
    let mut stream = UnixStream::connect(path)?;
    let mut line = serde_json::to_vec(&Request::Stop).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    // It rings until it ends, which may be before it took this connection.
    let mut bells = [0; 4_096];
    loop {
        match stream.read(&mut bells) {
            Ok(0) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
}

/// Removes what chains of no run left whose server was killed; those that live still are left alone.
pub fn clear_strays(runs: &Path, is_run: impl Fn(RunId) -> bool) -> io::Result<()> {
    for dir in subdirectories(runs)? {
        let id = dir.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        if id.is_some_and(|id| !is_run(id)) && living_of(&dir)?.is_empty() {
            fs::remove_dir_all(&dir)?;
        }
    }
    Ok(())
}

fn living_of(run: &Path) -> io::Result<Vec<PathBuf>> {
    let mut living = Vec::new();
    for chain in subdirectories(run)? {
        if chain.join(file::LOCK).exists() && ChainDir::at(&chain).try_lock()?.is_none() {
            living.push(chain);
        }
    }
    Ok(living)
}

fn subdirectories(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
