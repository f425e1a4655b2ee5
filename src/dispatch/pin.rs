//! What branches stand for: repositories are asked for runs that wait and for whoever tests a source, a few
//! at once.

use std::{io, path::Path};

use super::apart::{Left, carried_out};
use crate::{
    actions::{Actions, Asked, Error, ToStart},
    domain::{CommitSha, RunId, Verdict},
    protocol::Record,
};

/// Repositories that are asked at the same time.
pub(super) const AT_ONCE: usize = 4;

/// Asks for somebody who tests a source.
pub(super) async fn asked(binary: &Path, asked: Asked) {
    let found = looked_up(binary, &asked.chain).await;
    asked.answered(found);
}

/// Asks what the branch of one run stands for, and writes the answer down.
pub(super) async fn one(actions: &Actions, binary: &Path, run: RunId) {
    let found = match actions.to_look_up(run) {
        Ok(None) => return,
        Ok(Some(chain)) => looked_up(binary, &chain).await,
        Err(Error::Refused(refused)) => Err(refused.detail),
        Err(error @ Error::Fault(_)) => Err(error.to_string()),
    };
    if let Err(error) = actions.looked_up(run, found).await {
        tracing::error!(%run, %error, "the commit of a run cannot be written down");
    }
}

async fn looked_up(binary: &Path, chain: &ToStart) -> Result<CommitSha, String> {
    let left = carried_out(binary, chain, |left| Ok(commit(left))).await;
    left.unwrap_or_else(|error: io::Error| Err(format!("git cannot be started: {error}")))
}

/// The commit, or why there is none.
fn commit(left: &Left<'_>) -> Result<CommitSha, String> {
    let ended = left.records.iter().find_map(|record| match record {
        Record::PhaseEnded { verdict, produced, .. } => Some(match (verdict, &produced.commit) {
            (Verdict::Refused { reason }, _) => Err(reason.clone()),
            (_, Some(commit)) => Ok(commit.clone()),
            (verdict, None) => Err(verdict.to_string()),
        }),
        Record::Ended { fault: Some(fault), .. } => Some(Err(fault.clone())),
        Record::Started { .. } | Record::PhaseStarted { .. } | Record::Ended { .. } => None,
    });
    ended.unwrap_or_else(|| Err(format!("its runner ended: {}", left.complaint())))
}
