//! One living chain, from its start or adoption to its last record.

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::watch,
    time::Instant,
};

use crate::{
    actions::{Actions, ChainAsk, Error, Fault, LiveChain, Report},
    domain::Phase,
    protocol::{Bell, Record, Request, file},
    workspace,
};

use super::{dir::ChainDir, spawn};

/// How often a runner that is gone without a trace is started again.
const STARTS: u32 = 3;
/// Before another try of what a full disk or a closed store refused.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at whether a runner that does not talk is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long records wait for others to be taken over with them. What ends a chain does not wait.
const TOGETHER: Duration = Duration::from_millis(10);

/// Why a chain could not be attended to.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Action(#[from] Error),
}

impl Trouble {
    /// Whether it is the store's, and not the chain's: then it is tried again, and the runner goes on.
    const fn passes(&self) -> bool {
        match self {
            Self::Action(Error::Fault(fault)) => {
                matches!(fault, Fault::Io(_) | Fault::Full(_) | Fault::Busy | Fault::Closed)
            }
            Self::Action(Error::Refused(_)) | Self::Io(_) => false,
        }
    }
}

/// Attends to a chain until its end was taken over.
pub(super) async fn attend(
    actions: &Actions,
    binary: &Path,
    chain: LiveChain,
    asked: watch::Receiver<Option<ChainAsk>>,
) {
    let (run, number) = (chain.run, chain.number);
    let mut attending = Attending { actions, binary, taken: chain.records, due: None, chain, asked, starts: 0 };
    while let Err(trouble) = attending.settle().await {
        tracing::error!(%run, chain = number, %trouble, "a chain has to wait");
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

struct Attending<'a> {
    actions: &'a Actions,
    binary: &'a Path,
    chain: LiveChain,
    /// Bytes of records that were taken over.
    taken: u64,
    /// When those that are there and wait are taken over, too.
    due: Option<Instant>,
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
    /// Sees the chain to its end, or its run to a failure that says why. What passes is handed on.
    async fn settle(&mut self) -> Result<(), Trouble> {
        let trouble = match self.all().await {
            Err(trouble) if !trouble.passes() => trouble,
            other => return other,
        };
        tracing::error!(run = %self.chain.run, chain = self.chain.number, %trouble, "a chain cannot go on");
        let begun = self.begun().await?;
        self.remove_trees().await;
        self.actions.chain_failed(self.chain.run, self.chain.number, trouble.to_string(), begun).await?;
        Ok(())
    }

    /// Removes the workspace that a runner left in clear, before anybody sees that the run has ended; the
    /// chain before has it still if it could not be handed on. What stays is a chore.
    async fn remove_trees(&self) {
        let before = (self.chain.number - 1).to_string();
        let trees = [self.chain.dir.clone(), self.chain.dir.with_file_name(before)].map(|dir| dir.join(file::TREE));
        let remove = move || trees.map(|tree| workspace::remove_tree(&tree)).into_iter().collect::<Result<(), _>>();
        let trouble = match tokio::task::spawn_blocking(remove).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::error!(run = %self.chain.run, %trouble, "cannot remove a workspace yet");
    }

    /// The last phase that the chain began, once nobody works on it any more.
    async fn begun(&self) -> Result<Option<Phase>, Trouble> {
        let Ok(dir) = ChainDir::make(&self.chain.dir) else { return Ok(None) };
        while dir.try_lock()?.is_none() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let (records, _) = dir.records(0)?;
        Ok(records.iter().rev().find_map(|record| match record {
            Record::PhaseStarted { phase, .. } if *phase != Phase::Ending => Some(*phase),
            Record::Started { .. } | Record::PhaseStarted { .. } | Record::PhaseEnded { .. } | Record::Ended { .. } => {
                None
            }
        }))
    }

    async fn all(&mut self) -> Result<(), Trouble> {
        // What is over by now may be filed away at any moment, and is not touched.
        if !self.actions.is_present_chain(self.chain.run, self.chain.number)? {
            return Ok(());
        }
        let dir = ChainDir::make(&self.chain.dir)?;
        loop {
            match look(&dir)? {
                Found::Alive => self.listen(&dir).await?,
                Found::Done => return self.take(&dir).await.map(drop),
                Found::Lost => {
                    self.take(&dir).await?;
                    self.remove_trees().await;
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
        dir.remove_begun_logs()?;
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

    /// Listens until the runner is gone and its lock is free. One that does not talk yet is called
    /// again.
    async fn listen(&mut self, dir: &ChainDir) -> Result<(), Trouble> {
        loop {
            if let Some(stream) = connect(dir).await? {
                self.hear(dir, stream).await?;
            }
            if dir.try_lock()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
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
                () = at(self.due) => self.take(dir).await?,
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
            let (records, to) = dir.records(self.taken)?;
            if matches!(records.last(), Some(Record::Ended { .. })) {
                self.take_over(records, to).await?;
            } else {
                self.due.get_or_insert_with(|| Instant::now() + TOGETHER);
            }
        }
        self.actions.bells().ring_log(self.chain.run, bell.phase, bell.log);
        Ok(())
    }

    /// Takes new records over.
    async fn take(&mut self, dir: &ChainDir) -> Result<(), Trouble> {
        let (records, to) = dir.records(self.taken)?;
        self.take_over(records, to).await
    }

    async fn take_over(&mut self, records: Vec<Record>, to: u64) -> Result<(), Trouble> {
        self.due = None;
        if records.is_empty() {
            return Ok(());
        }
        let report = Report { run: self.chain.run, chain: self.chain.number, from: self.taken, to, records };
        self.actions.report(report).await?;
        self.taken = to;
        Ok(())
    }
}

/// Waits for a moment that may never come.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
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
