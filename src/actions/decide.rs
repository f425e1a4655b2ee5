//! What people decide about runs that exist.

use crate::{
    auth::Permit,
    domain::{Digest, Note, Refused, RunId, State, limits},
    machine::Event,
    store::{
        Error, Find, Rows, Tx,
        record::{Comment, Run},
        tables as t,
    },
};

use super::{Actions, Deed, Moment, Once, approval, life, life::Why, missing};

/// A decision about one run.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Apply exactly the plan that was shown.
    Confirm {
        plan_digest: Option<Digest>,
        note: Option<Note>,
    },
    Discard {
        note: Option<Note>,
    },
    /// Plan again for these addresses only.
    Replan {
        targets: Vec<String>,
    },
    Stop {
        note: Option<Note>,
    },
    Cancel {
        note: Option<Note>,
    },
    Prioritize {
        prioritized: bool,
    },
    Comment {
        text: Note,
    },
    Acknowledge {
        note: Option<Note>,
    },
    ForceStop {
        note: Note,
    },
}

impl Decision {
    /// The verb in the audit log.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Confirm { .. } => "run.confirm",
            Self::Discard { .. } => "run.discard",
            Self::Replan { .. } => "run.replan",
            Self::Stop { .. } => "run.stop",
            Self::Cancel { .. } => "run.cancel",
            Self::Prioritize { .. } => "run.prioritize",
            Self::Comment { .. } => "run.comment",
            Self::Acknowledge { .. } => "run.acknowledge",
            Self::ForceStop { .. } => "run.force_stop",
        }
    }
}

impl Actions {
    /// Carries out a decision. The permit must be about the run's stack.
    pub async fn decide(&self, permit: &Permit, run: RunId, decision: Decision) -> Result<Run, Error> {
        self.decide_once(permit, run, decision, None).await
    }

    /// As [`Actions::decide`]; asked again under the same key, it changes nothing and answers with the
    /// run as it is then.
    pub async fn decide_once(
        &self,
        permit: &Permit,
        run: RunId,
        decision: Decision,
        once: Option<Once>,
    ) -> Result<Run, Error> {
        let judging = matches!(decision, Decision::Confirm { .. }).then(|| self.judging(run));
        if judging.is_some()
            && let Err(error) = self.judge(run).await
        {
            tracing::error!(%run, %error, "the approval policies could not be asked");
        }
        let discards = matches!(decision, Decision::Discard { .. });
        let deed = Deed::new(decision.verb(), run);
        let covers = permit.clone();
        let decided = self.change(permit, deed, move |tx, moment| {
            let run = tx.run(run)?.ok_or_else(|| missing(run))?;
            covers.covers(run.stack)?;
            if let Some(once) = &once {
                if once.seen(tx, moment.now)?.is_some() {
                    return Ok((run, Some("repeated".to_owned())));
                }
                once.remember(tx, &run.id.to_string(), moment.now)?;
            }
            let detail = detail_of(&run, &decision);
            Ok((carry_out(tx, moment, run, decision.clone())?, Some(detail)))
        });
        let run = decided.await?;
        if discards && run.state == State::Discarded {
            self.destroy_seal_now(&run).await;
        }
        Ok(run)
    }
}

fn detail_of(run: &Run, decision: &Decision) -> String {
    let name = format!("{} run #{} of {}", run.kind, run.number, run.slug);
    match decision {
        Decision::Confirm { note, .. }
        | Decision::Discard { note }
        | Decision::Stop { note }
        | Decision::Cancel { note }
        | Decision::Acknowledge { note } => match note {
            Some(note) => format!("{name}: {note}"),
            None => name,
        },
        Decision::Replan { targets } => format!("{name}: {}", targets.join(", ")),
        Decision::Prioritize { prioritized } => format!("{name}: {}", if *prioritized { "on" } else { "off" }),
        Decision::Comment { .. } => name,
        Decision::ForceStop { note } => format!("{name}: {note}"),
    }
}

fn carry_out(tx: &Tx<'_>, moment: &Moment, run: Run, decision: Decision) -> Result<Run, Error> {
    let text = |note: Option<Note>| Why::note(note.map(|note| note.to_string()));
    match decision {
        Decision::Confirm { plan_digest, note } => confirm(tx, moment, run, plan_digest.as_ref(), text(note)),
        Decision::Discard { note } => life::advance(tx, moment, run, Event::Discard, text(note)),
        Decision::Replan { targets } => replan(tx, moment, run, targets),
        Decision::Stop { note } => life::advance(tx, moment, run, Event::Stop, text(note)),
        Decision::Cancel { note } => life::advance(tx, moment, run, Event::Cancel, text(note)),
        Decision::Prioritize { prioritized } => prioritize(tx, moment, run, prioritized),
        Decision::Comment { text } => comment(tx, moment, run, text),
        Decision::Acknowledge { note } => acknowledge(tx, moment, run, note),
        Decision::ForceStop { note } => life::advance(tx, moment, run, Event::ForceStop, text(Some(note))),
    }
}

/// Confirms what was shown, and nothing else.
fn confirm(tx: &Tx<'_>, moment: &Moment, run: Run, shown: Option<&Digest>, why: Why) -> Result<Run, Error> {
    if run.state == State::Unconfirmed {
        let stack = tx.stack(run.stack)?.ok_or_else(|| missing("the stack"))?;
        if let Some(lock) = &stack.lock
            && !lock.is_held_by(moment.who())
        {
            let note = lock.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            let why =
                format!("the stack is locked by {}{note}; ask them to confirm, or to release the lock", lock.by.name);
            return Err(Refused::conflict(why).in_state(run.state.word()).into());
        }
        if shown.is_some_and(|shown| run.plan_digest.as_ref() != Some(shown)) {
            let why = "the plan is not the one that was shown any more: look at the present one and confirm that";
            return Err(Refused::conflict(why).in_state(run.state.word()).into());
        }
        approval::require(tx, &run)?;
    }
    life::advance(tx, moment, run, Event::Confirm, why)
}

fn replan(tx: &Tx<'_>, moment: &Moment, mut run: Run, targets: Vec<String>) -> Result<Run, Error> {
    if run.state == State::Unconfirmed {
        check_targets(tx, &run, &targets)?;
        let before = run.clone();
        run.targets = targets;
        tx.put_run(Some(&before), &run)?;
    }
    let why = Why::reason(format!("targets: {}", run.targets.join(", ")));
    life::advance(tx, moment, run, Event::Replan, why)
}

/// Targets are addresses out of the changes that were shown, so no other text reaches a command.
fn check_targets(tx: &Tx<'_>, run: &Run, targets: &[String]) -> Result<(), Error> {
    if targets.is_empty() {
        return Err(Refused::field("targets", "choose at least one of the changes").into());
    }
    if targets.len() > limits::TARGETS {
        return Err(Refused::field("targets", format!("at most {} are allowed", limits::TARGETS)).into());
    }
    let changes = tx.get(t::RUN_TO_CHANGES, run.seq)?.ok_or_else(|| missing("the changes of this run"))?.read()?;
    match targets.iter().find(|target| !changes.resources.iter().any(|change| change.address == **target)) {
        Some(stranger) => {
            let stranger: String = stranger.chars().take(200).collect();
            Err(Refused::field("targets", format!("`{stranger}` is not one of the run's changes")).into())
        }
        None => Ok(()),
    }
}

fn prioritize(tx: &Tx<'_>, moment: &Moment, mut run: Run, prioritized: bool) -> Result<Run, Error> {
    if run.state.is_terminal() {
        let why = format!("a run that is {} does not wait any more", run.state);
        return Err(Refused::conflict(why).in_state(run.state.word()).into());
    }
    let before = run.clone();
    run.prioritized = prioritized;
    run.updated_at = moment.now;
    tx.put_run(Some(&before), &run)?;
    life::ring(tx, moment, &run);
    life::settle(tx, moment, run.stack)?;
    life::schedule(tx, moment)?;
    Ok(tx.run(run.id)?.unwrap_or(run))
}

fn comment(tx: &Tx<'_>, moment: &Moment, mut run: Run, text: Note) -> Result<Run, Error> {
    if usize::try_from(run.comments).unwrap_or(usize::MAX) >= limits::COMMENTS {
        return Err(Refused::conflict(format!("a run takes at most {} comments", limits::COMMENTS)).into());
    }
    let before = run.clone();
    run.comments += 1;
    run.updated_at = moment.now;
    let row = Comment { at: moment.now, actor: moment.actor.clone(), text };
    tx.put(t::RUN_N_TO_COMMENT, (run.seq, run.comments), &row)?;
    tx.put_run(Some(&before), &run)?;
    life::ring(tx, moment, &run);
    Ok(run)
}

fn acknowledge(tx: &Tx<'_>, moment: &Moment, mut run: Run, note: Option<Note>) -> Result<Run, Error> {
    if !run.unacknowledged && !run.lost_unchanged {
        let why = "only a run that was lost, and that nobody acknowledged yet, takes this";
        return Err(Refused::conflict(why).in_state(run.state.word()).into());
    }
    let before = run.clone();
    run.unacknowledged = false;
    run.lost_unchanged = false;
    run.updated_at = moment.now;
    life::remark(tx, moment, &mut run, "acknowledged".to_owned(), note.map(|note| note.to_string()))?;
    tx.put_run(Some(&before), &run)?;
    life::ring(tx, moment, &run);
    Ok(run)
}
