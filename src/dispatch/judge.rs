//! Run tasks that are guests: each judges in a runner of its own, beside the slots.

use std::{fs, path::Path};

use super::apart::{Left, carried_out_unless};
use crate::{
    actions::{Actions, Error, JUDGING, Judged},
    domain::{Phase, TaskResultId, Verdict, limits},
    log::{LogFault, LogReader, Stream},
    protocol::{Produced, Record, file, guest_path},
};

/// Lets one guest judge, and writes down what came of it. Whose result has become final meanwhile is ended:
/// its place in the pool is somebody else's.
pub(super) async fn one(actions: &Actions, binary: &Path, id: TaskResultId) {
    let judged = match actions.to_judge(id) {
        Ok(judge) => {
            let moot = actions.judgement_is_moot(id);
            let judged = carried_out_unless(moot, binary, &judge, |left| Ok(judged(left))).await;
            judged.unwrap_or_else(|error| failed(format!("the guest cannot be started: {error}")))
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

/// The guest's judgement out of what its chain left.
fn judged(left: &Left<'_>) -> Judged {
    let ended = left.records.iter().rev().find_map(|record| match record {
        Record::PhaseEnded { number, verdict, produced, .. } => Some((*number, verdict, produced)),
        Record::Started { .. } | Record::PhaseStarted { .. } | Record::Ended { .. } => None,
    });
    match ended {
        Some((JUDGING, verdict, produced)) => judgement(left.path, verdict, produced),
        Some((_, verdict, _)) => failed(format!("what the guest is to see cannot be prepared: {verdict}")),
        None => failed(format!("its runner ended: {}", left.complaint())),
    }
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
        outcomes: outcomes.filter(|outcomes| outcomes.len() <= limits::OUTCOMES_FILE_BYTES),
    }
}
