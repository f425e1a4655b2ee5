//! What people say about runs that wait: yes or no, with a note, about one plan.

use crate::{
    auth::{Permit, Who},
    domain::{Digest, Note, Refused, ReviewDecision, Role, RunId, State, limits},
    store::{
        Error, Find, Tx,
        record::{Review, Run},
        tables as t,
    },
};

use super::{Actions, Deed, Moment, Once, approval, life, missing};

/// What somebody says about a run.
#[derive(Clone, Debug)]
pub struct NewReview {
    pub decision: ReviewDecision,
    pub note: Option<Note>,
    /// The plan that they looked at; none means the present one.
    pub plan_digest: Option<Digest>,
}

impl Actions {
    /// Writes a review down and asks the approval policies at once. The permit must be about the run's
    /// stack. An approval that the policies would leave out is refused, so that nobody thinks it counts.
    pub async fn review(&self, permit: &Permit, run: RunId, new: NewReview, once: Option<Once>) -> Result<Run, Error> {
        let judging = self.judging(run);
        let deed = Deed::new("run.review", run);
        if new.decision == ReviewDecision::Approve
            && let Some(why) = self.leaves_out(permit.who(), run).await?
        {
            return self.attempted(permit.who(), &deed, Err(why)).await;
        }
        let who = permit.clone();
        let written = self
            .change(permit, deed, move |tx, moment| {
                let run = tx.run(run)?.ok_or_else(|| missing(run))?;
                who.covers(run.stack)?;
                if let Some(once) = &once {
                    if once.seen(tx, moment.now)?.is_some() {
                        return Ok((run, Some("repeated".to_owned())));
                    }
                    once.remember(tx, &run.id.to_string(), moment.now)?;
                }
                let detail = detail_of(&run, &new);
                Ok((write(tx, moment, run, who.who(), &new)?, Some(detail)))
            })
            .await?;
        // What was said is on record; who cannot be asked now is asked later.
        if let Err(error) = self.judge(run).await {
            tracing::error!(%run, %error, "the approval policies could not be asked");
        }
        drop(judging);
        Ok(self.store.read()?.run(run)?.unwrap_or(written))
    }
}

fn detail_of(run: &Run, new: &NewReview) -> String {
    let name = format!("{} run #{} of {}: {}", run.kind, run.number, run.slug, new.decision.done());
    match &new.note {
        Some(note) => format!("{name}: {note}"),
        None => name,
    }
}

fn write(tx: &Tx<'_>, moment: &Moment, mut run: Run, who: &Who, new: &NewReview) -> Result<Run, Error> {
    if !approval::takes_reviews(run.state) {
        let why = format!("a run that is {} takes no reviews", run.state);
        return Err(Refused::conflict(why).in_state(run.state.word()).into());
    }
    check_plan(&run, new.plan_digest.as_ref())?;
    if usize::try_from(run.reviews).unwrap_or(usize::MAX) >= limits::REVIEWS {
        return Err(Refused::conflict(format!("a run takes at most {} reviews", limits::REVIEWS)).into());
    }
    let before = run.clone();
    run.reviews += 1;
    run.updated_at = moment.now;
    let review = Review {
        at: moment.now,
        by: who.actor.clone(),
        key_of: who.key_of().cloned(),
        role: who.role_on(run.stack).unwrap_or(Role::Writer),
        address: who.address.map(|address| address.to_string()),
        decision: new.decision,
        note: new.note.clone(),
        state: run.state,
        round: run.round,
        plan_digest: run.plan_digest.clone(),
    };
    tx.put(t::RUN_N_TO_REVIEW, (run.seq, run.reviews), &review)?;
    tx.put_run(Some(&before), &run)?;
    approval::ask(tx, &run)?;
    life::ring(tx, moment, &run);
    Ok(run)
}

/// Nobody approves a plan that is not there any more.
fn check_plan(run: &Run, seen: Option<&Digest>) -> Result<(), Refused> {
    let Some(seen) = seen.filter(|seen| run.plan_digest.as_ref() != Some(seen)) else { return Ok(()) };
    let present = match &run.plan_digest {
        Some(present) => format!("the present plan is {present}"),
        None if run.state == State::Queued => "the run has not planned yet".to_owned(),
        None => "the run has no plan".to_owned(),
    };
    let why = format!("the plan {seen} is not the one that is there: {present}; look at it and review that");
    Err(Refused::conflict(why).in_state(run.state.word()))
}
