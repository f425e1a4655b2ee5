//! Asking the approval policies about a run, trying out who is missing, writing down what they said.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use futures_util::StreamExt as _;

use crate::{
    auth::Who,
    domain::{
        ActorKind, Approval, PolicyKind, PolicyOutcome, PolicyReceipt, Refused, RunId, State, actor::ActorName, limits,
    },
    machine::Event,
    store::{
        Error, Find, Rows, Tx,
        record::{Basis, Lacks, Review, Run, Stack, Standing, current_reviews},
        tables as t,
    },
};

use super::{
    super::{
        Actions, Moment,
        life::{self, Why},
        missing,
        policy::{Reviews, input},
    },
    Asked, attached, basis, due, goes_on, reviews_of, standing, takes_reviews, voices, waits_for_it,
};

/// A run with everything that its policies are asked about.
struct Case {
    run: Run,
    stack: Stack,
    reviews: Vec<Review>,
    voices: Reviews,
}

/// What they said about it, all together.
struct Heard {
    /// Who was asked.
    policies: Asked,
    approval: Approval,
    said: Vec<PolicyReceipt>,
    lacks: Option<Lacks>,
}

/// Somebody asks about a run by themselves at the moment: what goes through all that are due leaves it
/// to them.
#[derive(Debug)]
pub(in crate::actions) struct Judging {
    actions: Actions,
    run: RunId,
}

/// How many ask about each run, of which that is so.
#[derive(Debug, Default)]
pub(in crate::actions) struct Judged(Mutex<Vec<RunId>>);

impl Judged {
    fn add(&self, run: RunId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(run);
    }

    fn remove(&self, run: RunId) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = runs.iter().position(|other| *other == run) {
            runs.swap_remove(at);
        }
    }

    fn all(&self) -> HashSet<RunId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

impl Drop for Judging {
    fn drop(&mut self) {
        self.actions.access.judged.remove(self.run);
        // Whatever came in between is looked at by the others.
        self.actions.live.ring_work();
    }
}

impl Actions {
    pub(in crate::actions) fn judging(&self, run: RunId) -> Judging {
        self.access.judged.add(run);
        Judging { actions: self.clone(), run }
    }

    /// Asks the approval policies of every run for which that is due.
    pub async fn judge_due(&self) -> Result<(), Error> {
        let judged = self.access.judged.all();
        let due = due(&self.store.read()?, limits::LIST_MAX)?;
        futures_util::stream::iter(due.into_iter().filter(|run| !judged.contains(&run.id)))
            .for_each_concurrent(limits::POLICIES_AT_ONCE, async |run| {
                if let Err(error) = self.judge(run.id).await {
                    tracing::error!(run = %run.id, %error, "the approval policies could not be asked");
                }
            })
            .await;
        Ok(())
    }

    /// Asks the approval policies of a run, unless what they said still holds. What cannot be settled
    /// because everything changes meanwhile stays due.
    pub(in crate::actions) async fn judge(&self, run: RunId) -> Result<(), Error> {
        for _ in 0..limits::POLICY_ATTEMPTS {
            let Some(case) = self.case(run)? else { return Ok(()) };
            let heard = self.hear(&case).await?;
            if self.write_down(&case, heard).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What has to be asked about a run; nothing when the answer is known, or when it waits for none.
    fn case(&self, id: RunId) -> Result<Option<Case>, Error> {
        let view = self.store.read()?;
        let run = view.run(id)?.ok_or_else(|| missing(id))?;
        let due = view.marked(t::APPROVAL_DUE, run.seq)?;
        let policies = attached(&view, run.stack)?;
        let nobody = policies.is_empty() && run.state != State::PendingReview;
        let known =
            (nobody && view.get(t::RUN_TO_STANDING, run.seq)?.is_none()) || standing(&view, &run, &policies)?.is_some();
        if !waits_for_it(run.state) || (known && !due) {
            return Ok(None);
        }
        let Some(stack) = view.stack(run.stack)? else { return Ok(None) };
        let reviews = reviews_of(&view, &run)?;
        Ok(Some(Case { voices: voices::of(&reviews, &run), run, stack, reviews }))
    }

    async fn hear(&self, case: &Case) -> Result<Heard, Error> {
        let asked = self.ask_approval_policies(&case.stack, &case.run, &case.voices).await?;
        if asked.is_empty() {
            return Ok(by_word(&case.voices));
        }
        let said = asked.receipts();
        let policies = asked.policies.iter().map(|one| (one.name.to_string(), one.version)).collect();
        let approval = together(&said);
        let lacks = match approval {
            Approval::Open => Some(self.lacks(case).await?),
            Approval::Given | Approval::Refused => None,
        };
        Ok(Heard { policies, approval, said, lacks })
    }

    /// Tries out how many more approvals would do, and whether one by who triggered the run would count.
    async fn lacks(&self, case: &Case) -> Result<Lacks, Error> {
        for more in 1..=limits::APPROVALS_TRIED {
            if !self.would_do(case, more, None).await? {
                continue;
            }
            let requester = case.run.requester();
            let said = current_reviews(&case.reviews, &case.run);
            let asks = matches!(requester.kind, ActorKind::User | ActorKind::ApiKey)
                && !said.iter().any(|review| review.person() == *requester);
            let counts = !asks || self.would_do(case, more - 1, Some(requester.clone())).await?;
            return Ok(Lacks { more: Some(more), not_by: (!counts).then(|| requester.clone()) });
        }
        Ok(Lacks::default())
    }

    /// Whether the policies would approve if so many more people approved, and this one.
    async fn would_do(&self, case: &Case, more: u32, and: Option<ActorName>) -> Result<bool, Error> {
        let now = self.now();
        let anybody = (1..=more).map(|n| voices::yes_by_anybody(n, &case.run, now));
        let own = and.map(|who| voices::yes_by(who, &case.run, now));
        let reviews = voices::and(&case.voices, anybody.chain(own));
        let view = self.store.read()?;
        let document = input::approval(&view, &case.stack, &case.run, &reviews)?.to_string();
        let policies = view.attached_policies(&case.stack, PolicyKind::Approval)?;
        drop(view);
        for policy in policies {
            let decided = self.ask_body(PolicyKind::Approval, &policy.body, &document, false).await;
            if !decided.is_ok_and(|decision| decision.approve && !decision.reject) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Why an approval by this person would bring the run no nearer to what it waits for; none when it
    /// would, or when that cannot be told.
    pub(in crate::actions) async fn leaves_out(&self, who: &Who, run: RunId) -> Result<Option<Refused>, Error> {
        self.judge(run).await?;
        let view = self.store.read()?;
        let Some(run) = view.run(run)?.filter(|run| takes_reviews(run.state)) else { return Ok(None) };
        let policies = attached(&view, run.stack)?;
        let Some(standing) = standing(&view, &run, &policies)? else { return Ok(None) };
        let (Some(stack), Some(Lacks { more: Some(more), .. })) = (view.stack(run.stack)?, &standing.lacks) else {
            return Ok(None);
        };
        let reviews = reviews_of(&view, &run)?;
        let me = who.person().unwrap_or_else(|| who.actor.public());
        let spoke = current_reviews(&reviews, &run).iter().any(|review| review.person() == me);
        if policies.is_empty() || spoke {
            return Ok(None);
        }
        drop(view);
        let case = Case { voices: voices::of(&reviews, &run), run, stack, reviews };
        if self.would_do(&case, more - 1, Some(me.clone())).await? {
            return Ok(None);
        }
        let reason = match (me == *case.run.requester(), who.key_of()) {
            (false, _) => String::new(),
            (true, None) => ": you triggered this run".to_owned(),
            (true, Some(person)) => format!(": {} triggered this run, and this is a key of theirs", person.name),
        };
        let why = format!("{} does not count your approval{reason}", standing.open());
        Ok(Some(Refused::forbidden(why).in_state(case.run.state.word())))
    }

    /// Writes down what was heard, with what follows from it. False when it is about something that is
    /// not there any more.
    async fn write_down(&self, case: &Case, heard: Heard) -> Result<bool, Error> {
        let basis = basis(&case.run, heard.policies.clone());
        let reason = reason(&heard, &case.voices);
        let by = decider(&heard, &case.reviews, &case.run);
        let id = case.run.id;
        self.system(move |tx, moment| {
            let run = tx.run(id)?.ok_or_else(|| missing(id))?;
            if !waits_for_it(run.state) || super::basis(&run, attached(tx, run.stack)?) != basis {
                return Ok(false);
            }
            keep(tx, moment, &run, &basis, &heard)?;
            life::settle(tx, moment, run.stack)?;
            life::schedule(tx, moment)?;
            let run = tx.run(id)?.ok_or_else(|| missing(id))?;
            if heard.policies.is_empty() && run.state != State::PendingReview {
                if heard.approval != Approval::Refused && goes_on(tx, &run)? {
                    let why = Why::reason("nobody has to approve it any more");
                    life::advance(tx, moment, run, Event::Confirm, why)?;
                }
                return Ok(true);
            }
            let (event, by) = match heard.approval {
                Approval::Refused if takes_reviews(run.state) => (Event::Rejected, by.clone()),
                Approval::Given if run.state == State::PendingReview => (Event::Approved, by.clone()),
                Approval::Given if goes_on(tx, &run)? => (Event::Confirm, ActorName::system()),
                Approval::Refused | Approval::Given | Approval::Open => return Ok(true),
            };
            let moment = moment.of(by);
            life::advance(tx, &moment, run, event, Why::reason(reason.clone()))?;
            Ok(true)
        })
        .await
    }
}

fn keep(tx: &Tx<'_>, moment: &Moment, run: &Run, basis: &Basis, heard: &Heard) -> Result<(), Error> {
    tx.mark(t::APPROVAL_DUE, run.seq, false)?;
    if heard.policies.is_empty() && run.state != State::PendingReview {
        // Whoever was to be asked is not there any more.
        tx.remove(t::RUN_TO_STANDING, run.seq)?;
    } else {
        let standing = Standing {
            basis: basis.clone(),
            approval: heard.approval,
            at: moment.now,
            said: heard.said.clone(),
            lacks: heard.lacks.clone(),
        };
        tx.put(t::RUN_TO_STANDING, run.seq, &standing)?;
    }
    let mut after = Run { updated_at: moment.now, ..run.clone() };
    remember(&mut after, &heard.said);
    tx.put_run(Some(run), &after)?;
    life::ring(tx, moment, &after);
    Ok(())
}

/// Keeps what policies said with the run; the newest word of each.
pub(in crate::actions) fn remember(run: &mut Run, said: &[PolicyReceipt]) {
    run.policies.retain(|old| !said.iter().any(|new| new.name == old.name && new.kind == old.kind));
    run.policies.extend(said.iter().cloned());
}

/// Where nobody wrote a policy, any one writer's word does.
fn by_word(voices: &Reviews) -> Heard {
    let any = |approve| voices.current.iter().any(|review| review.approve == approve);
    let approval = match (any(false), any(true)) {
        (true, _) => Approval::Refused,
        (false, true) => Approval::Given,
        (false, false) => Approval::Open,
    };
    let lacks = (approval == Approval::Open).then_some(Lacks { more: Some(1), not_by: None });
    Heard { policies: Vec::new(), approval, said: Vec::new(), lacks }
}

/// All of them must approve; one that rejects, or that cannot be evaluated, is enough.
fn together(said: &[PolicyReceipt]) -> Approval {
    let is = |receipt: &PolicyReceipt, outcome| receipt.decision == outcome;
    if said.iter().any(|one| is(one, PolicyOutcome::Reject) || is(one, PolicyOutcome::Error)) {
        Approval::Refused
    } else if said.iter().all(|one| is(one, PolicyOutcome::Approve)) {
        Approval::Given
    } else {
        Approval::Open
    }
}

/// Why the run goes on or ends, for its timeline.
fn reason(heard: &Heard, voices: &Reviews) -> String {
    let refused = heard.approval == Approval::Refused;
    let verb = if refused { "rejected" } else { "approved" };
    let names = voices::names(voices, !refused);
    let mut reason = if names.is_empty() { verb.to_owned() } else { format!("{verb} by {names}") };
    for one in &heard.said {
        let what = match one.decision {
            PolicyOutcome::Reject if refused => "rejects it",
            PolicyOutcome::Error if refused => "cannot be evaluated",
            _ => continue,
        };
        reason.push_str(&format!(": the policy `{}` {what}", one.name));
        if !one.messages.is_empty() {
            reason.push_str(&format!(" ({})", one.messages.join("; ")));
        }
    }
    reason
}

/// Who it was: the policy that said no, else the person who spoke last.
fn decider(heard: &Heard, reviews: &[Review], run: &Run) -> ActorName {
    let no = |one: &&PolicyReceipt| matches!(one.decision, PolicyOutcome::Reject | PolicyOutcome::Error);
    if let Some(one) = heard.said.iter().find(no) {
        return ActorName { kind: ActorKind::Policy, name: one.name.to_string() };
    }
    current_reviews(reviews, run).last().map_or_else(ActorName::system, |review| review.by.public())
}
