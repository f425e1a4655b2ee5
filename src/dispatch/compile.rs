//! Guests on their way in: each is compiled by a runner that runs nothing.

use std::{io, path::Path};

use super::apart::carried_out;
use crate::{
    actions::{Actions, Error, ToCompile},
    domain::Verdict,
    protocol::Record,
};

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
    carried_out(binary, &actions.compiling(guest), |left| {
        Ok(outcome(&left.records).unwrap_or_else(|| Err(format!("its compiler ended: {}", left.complaint()))))
    })
    .await
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
