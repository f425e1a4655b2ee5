//! One living chain, from its start or adoption to its last record.

use std::{io, path::Path};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::watch,
};

use crate::{
    actions::{Actions, ChainAsk, Error, LiveChain, Report},
    protocol::{Bell, Record, Request},
};

use super::{dir::ChainDir, spawn};

/// How often a runner that is gone without a trace is started again.
const STARTS: u32 = 3;

/// Why a chain could not be attended to.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Action(#[from] Error),
}

/// Attends to a chain until its end was taken over.
pub(super) async fn attend(
    actions: &Actions,
    binary: &Path,
    chain: LiveChain,
    asked: watch::Receiver<Option<ChainAsk>>,
) {
    let (run, number) = (chain.run, chain.number);
    let mut attending = Attending { actions, binary, taken: chain.records, chain, asked, starts: 0 };
    if let Err(trouble) = attending.all().await {
        tracing::error!(%run, chain = number, %trouble, "a chain cannot go on");
        if let Err(error) = actions.chain_failed(run, number, trouble.to_string()).await {
            tracing::error!(%run, %error, "and its run cannot be told");
        }
    }
}

struct Attending<'a> {
    actions: &'a Actions,
    binary: &'a Path,
    chain: LiveChain,
    /// Bytes of records that were taken over.
    taken: u64,
    asked: watch::Receiver<Option<ChainAsk>>,
    starts: u32,
}

/// What a look into the directory showed.
enum Found {
    Alive,
    Done,
    Lost,
    NeverRan(std::fs::File),
}

impl Attending<'_> {
    async fn all(&mut self) -> Result<(), Trouble> {
        let dir = ChainDir::make(&self.chain.dir)?;
        loop {
            match look(&dir)? {
                Found::Alive => self.listen(&dir).await?,
                Found::Done => return self.take(&dir).await.map(drop),
                Found::Lost => {
                    self.take(&dir).await?;
                    self.actions.chain_lost(self.chain.run, self.chain.number).await?;
                    return Ok(());
                }
                Found::NeverRan(lock) => {
                    if !self.start(&dir, lock).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Starts the runner. False when the run does not want one any more.
    async fn start(&mut self, dir: &ChainDir, lock: std::fs::File) -> Result<bool, Trouble> {
        if self.starts == STARTS {
            let complaint = dir.complaint();
            return Err(io::Error::other(format!("the runner ended before it began: {complaint}")).into());
        }
        self.starts += 1;
        let Some(to_start) = self.actions.to_start(self.chain.run)? else { return Ok(false) };
        if to_start.chain != self.chain.number {
            return Ok(false);
        }
        if let Some(from) = &to_start.goes_on_from {
            dir.take_tree(from)?;
        }
        match spawn::start(self.binary, dir, lock, &to_start).await {
            Ok(()) => {}
            // It closed the pipe before it had read everything: the directory says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Listens until the runner is gone and its lock is free.
    async fn listen(&mut self, dir: &ChainDir) -> Result<(), Trouble> {
        if let Some(stream) = connect(dir).await? {
            self.hear(dir, stream).await?;
        }
        let waits = dir.clone();
        tokio::task::spawn_blocking(move || waits.lock().map(drop)).await.map_err(io::Error::other)??;
        Ok(())
    }

    async fn hear(&mut self, dir: &ChainDir, stream: UnixStream) -> Result<(), Trouble> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        self.pass_on(&mut writer).await;
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => self.bell(dir, &line).await?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                changed = self.asked.changed() => {
                    if changed.is_ok() {
                        self.pass_on(&mut writer).await;
                    }
                }
            }
        }
    }

    /// Tells the runner what was asked of it. A runner that is going needs no telling.
    async fn pass_on(&mut self, writer: &mut tokio::net::unix::OwnedWriteHalf) {
        let request = match *self.asked.borrow_and_update() {
            None => return,
            Some(ChainAsk::Stop) => Request::Stop,
            Some(ChainAsk::Kill) => Request::Kill,
        };
        let line = serde_json::to_string(&request).unwrap_or_default() + "\n";
        if let Err(error) = writer.write_all(line.as_bytes()).await {
            tracing::debug!(%error, "a runner was gone before it could be asked to stop");
        }
    }

    async fn bell(&mut self, dir: &ChainDir, line: &str) -> Result<(), Trouble> {
        let Ok(bell) = serde_json::from_str::<Bell>(line) else { return Ok(()) };
        if bell.records > self.taken {
            self.take(dir).await?;
        }
        self.actions.bells().ring_log(self.chain.run, bell.phase, bell.log);
        Ok(())
    }

    /// Takes new records over.
    async fn take(&mut self, dir: &ChainDir) -> Result<(), Trouble> {
        let (records, to) = dir.records(self.taken)?;
        if records.is_empty() {
            return Ok(());
        }
        let report = Report { run: self.chain.run, chain: self.chain.number, from: self.taken, to, records };
        self.actions.report(report).await?;
        self.taken = to;
        Ok(())
    }
}

fn look(dir: &ChainDir) -> io::Result<Found> {
    let Some(lock) = dir.try_lock()? else { return Ok(Found::Alive) };
    let (records, _) = dir.records(0)?;
    Ok(match (records.first(), records.last()) {
        (_, Some(Record::Ended { .. })) => Found::Done,
        (Some(_), _) => Found::Lost,
        (None, _) => Found::NeverRan(lock),
    })
}

/// Connects to a runner; none when it is gone or does not listen any more.
async fn connect(dir: &ChainDir) -> io::Result<Option<UnixStream>> {
    let (_through, path) = dir.control()?;
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}
