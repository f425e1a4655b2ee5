//! A chain without a server: started for whoever asks, listened to until its runner is gone.

use std::{io, path::Path};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use super::{dir::ChainDir, spawn};
use crate::{
    actions::ToStart,
    protocol::{Record, Request},
};

/// A chain that nobody attends to but the caller.
#[derive(Debug)]
pub struct Alone {
    dir: ChainDir,
    /// None when the runner was gone before anybody could listen.
    control: Option<BufReader<UnixStream>>,
}

/// Starts the runner of a chain whose directory nobody else knows.
pub async fn start_alone(binary: &Path, chain: &ToStart) -> io::Result<Alone> {
    let dir = ChainDir::make(&chain.dir)?;
    let lock = dir.try_lock()?.ok_or(io::ErrorKind::ResourceBusy)?;
    spawn::start(binary, &dir, lock, chain).await?;
    let (_through, path) = dir.control()?;
    let control = UnixStream::connect(path).await.ok().map(BufReader::new);
    Ok(Alone { dir, control })
}

impl Alone {
    /// Waits for the next bell; false when the runner is gone. May be dropped while it waits.
    pub async fn bell(&mut self) -> bool {
        let Some(control) = &mut self.control else { return false };
        // What a bell says, the files say, too.
        match control.fill_buf().await {
            Ok(heard) if !heard.is_empty() => {
                let heard = heard.len();
                control.consume(heard);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Asks the runner to stop its phase.
    pub async fn stop(&mut self) -> io::Result<()> {
        let Some(control) = &mut self.control else { return Ok(()) };
        let mut line = serde_json::to_vec(&Request::Stop).map_err(io::Error::other)?;
        line.push(b'\n');
        control.get_mut().write_all(&line).await
    }

    pub fn records(&self) -> io::Result<Vec<Record>> {
        self.dir.records(0).map(|(records, _)| records)
    }

    /// What the runner itself complained about.
    pub fn complaint(&self) -> String {
        self.dir.complaint()
    }
}
