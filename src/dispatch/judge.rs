//! Run tasks that are guests: each judges in a runner of its own, beside the slots.

use std::{fs, io, path::Path, time::Duration};

use super::{dir::ChainDir, spawn};
use crate::{
    actions::{Actions, Error, JUDGING, Judged, ToStart},
    domain::{Phase, TaskResultId, Verdict, limits},
    log::{LogFault, LogReader, Stream},
    protocol::{Produced, Record, file, guest_path},
};

/// Between two looks at whether the runner is done.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Lets one guest judge, and writes down what came of it.
pub(super) async fn one(actions: &Actions, binary: &Path, id: TaskResultId) {
    let judged = match actions.to_judge(id) {
        Ok(judge) => {
            let root = judge.dir.parent().unwrap_or(&judge.dir).to_owned();
            let judged = match carried_out(binary, judge).await {
                Ok(judged) => judged,
                Err(error) => failed(format!("the guest cannot be started: {error}")),
            };
            if let Err(error) = fs::remove_dir_all(&root) {
                tracing::warn!(result = %id, %error, "what a guest that judged left cannot be removed");
            }
            judged
        }
        Err(Error::Refused(refused)) => failed(refused.detail),
        Err(Error::Fault(fault)) => {
            tracing::error!(result = %id, %fault, "a guest cannot judge");
            failed("the plan cannot be handed to the guest".to_owned())
        }
    };
    if let Err(error) = actions.guest_judged(id, judged).await {
        tracing::error!(result = %id, %error, "what a guest said cannot be written down");
    }
}

fn failed(message: String) -> Judged {
    Judged { passed: None, message, outcomes: None }
}

async fn carried_out(binary: &Path, judge: ToStart) -> io::Result<Judged> {
    // One that a server left which was killed is begun again once it is gone: it changes nothing.
    let path = judge.dir.clone();
    if path.exists() {
        let old = ChainDir::at(&path);
        while old.try_lock()?.is_none() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        fs::remove_dir_all(&path)?;
    }
    let dir = ChainDir::make(&path)?;
    let Some(lock) = dir.try_lock()? else { return Err(io::Error::other("somebody else runs it")) };
    match spawn::start(binary, &dir, lock, &judge).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        Ok(()) | Err(_) => {}
    }
    while dir.try_lock()?.is_none() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let (records, _) = dir.records(0)?;
    let ended = records.into_iter().rev().find_map(|record| match record {
        Record::PhaseEnded { number, verdict, produced, .. } => Some((number, verdict, produced)),
        Record::Started { .. } | Record::PhaseStarted { .. } | Record::Ended { .. } => None,
    });
    Ok(match ended {
        Some((JUDGING, verdict, produced)) => judgement(&path, &verdict, &produced),
        Some((_, verdict, _)) => failed(format!("what the guest is to see cannot be prepared: {verdict}")),
        None => failed(format!("its runner ended: {}", dir.complaint())),
    })
}

/// The last line of its standard output.
fn last_line(dir: &Path) -> Result<Option<String>, LogFault> {
    let (text, index) = (file::log(JUDGING, Phase::Performing), file::index(JUDGING, Phase::Performing));
    LogReader::live(&dir.join(text), &dir.join(index))?.last_line(Stream::Stdout)
}

/// Exit code, last line, outcomes.
fn judgement(dir: &Path, verdict: &Verdict, produced: &Produced) -> Judged {
    let Verdict::Exited { code } = verdict else { return failed(format!("the guest was ended: {verdict}")) };
    let last = last_line(dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "what a guest that judged said cannot be read");
        None
    });
    let number = produced.artifacts.iter().position(|artifact| artifact.path == guest_path::OUTCOMES).map(|n| n + 1);
    let outcomes = number.and_then(|n| fs::read(dir.join(file::artifact(JUDGING, n))).ok());
    Judged {
        passed: Some(*code == 0),
        message: last.unwrap_or_else(|| format!("exit {code}")),
        outcomes: outcomes.filter(|outcomes| outcomes.len() <= limits::CALLBACK_BYTES),
    }
}
