//! Guests on their way in: each is compiled by a runner that runs nothing.

use std::{fs, io, path::Path, time::Duration};

use super::{dir::ChainDir, spawn};
use crate::{
    actions::{Actions, Error, ToCompile, ToStart},
    domain::{RunId, Verdict},
    protocol::Record,
};

/// Between two looks at whether the compiler is done.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Compiles everything that waits, one after the other.
pub(super) async fn perform(actions: &Actions, binary: &Path) {
    let waiting = match actions.guests_to_compile() {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::error!(%error, "guests that wait cannot be looked up");
            return;
        }
    };
    for guest in waiting {
        if let Err(error) = one(actions, binary, &guest).await {
            tracing::error!(guest = %guest.name, %error, "what became of a guest cannot be written down");
        }
    }
}

async fn one(actions: &Actions, binary: &Path, guest: &ToCompile) -> Result<(), Error> {
    let outcome = match compile(actions, binary, guest).await {
        Ok(outcome) => outcome,
        Err(error) => Err(format!("the compiler cannot be started: {error}")),
    };
    actions.guest_compiled(guest.id, outcome).await
}

async fn compile(actions: &Actions, binary: &Path, guest: &ToCompile) -> io::Result<Result<(), String>> {
    let (jail, spec) = actions.compiling(guest);
    let path = jail.dir.clone();
    let dir = ChainDir::make(&path)?;
    let outcome = carried_out(
        binary,
        &dir,
        ToStart {
            run: RunId::from_number(guest.id),
            chain: spec.chain,
            dir: path.clone(),
            goes_on_from: None,
            jail,
            spec,
        },
    )
    .await;
    fs::remove_dir_all(path.parent().unwrap_or(&path))?;
    outcome
}

async fn carried_out(binary: &Path, dir: &ChainDir, chain: ToStart) -> io::Result<Result<(), String>> {
    let Some(lock) = dir.try_lock()? else { return Err(io::Error::other("somebody else compiles it")) };
    match spawn::start(binary, dir, lock, &chain).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        Ok(()) | Err(_) => {}
    }
    while dir.try_lock()?.is_none() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let (records, _) = dir.records(0)?;
    Ok(outcome(&records).unwrap_or_else(|| Err(format!("its compiler ended: {}", dir.complaint()))))
}

/// What the records say; none when they end too early.
fn outcome(records: &[Record]) -> Option<Result<(), String>> {
    records.iter().find_map(|record| match record {
        Record::PhaseEnded { verdict, .. } if verdict.is_success() => Some(Ok(())),
        Record::PhaseEnded { verdict: Verdict::Refused { reason }, .. } => Some(Err(reason.clone())),
        Record::PhaseEnded { verdict, .. } => Some(Err(format!("it cannot be compiled: {verdict}"))),
        Record::Ended { fault: Some(fault), .. } => Some(Err(fault.clone())),
        Record::Started { .. } | Record::PhaseStarted { .. } | Record::Ended { .. } => None,
    })
}
