//! What is true of a run as a whole: verdict, buttons, the decision, the failure.

use std::time::Duration;

use super::super::show::{self, Rows, mark};
use crate::{
    auth::Who,
    domain::{
        Approval, Kind, Look, PolicyKind, PolicyOutcome, PolicyReceipt, ReviewDecision, Role, Stage, State,
        actor::ActorName,
        run::SourceVersion,
        stack::{ExecutorKind, Lock, Vendor},
    },
    http::view::{
        offers::{self, Situation},
        rows::Why,
        run::{Decision, Failure, PlanDigest, ReviewLine, RunHead, SourceRef},
        status::{Badge, Mark, Moment, Took},
        words,
    },
    queries::{PhaseRow, Review, Run, RunDetail, Standing, current_reviews},
};

/// Header of the page.
pub fn head(rows: &Rows, who: &Who, detail: &RunDetail, role: Role, label: String) -> RunHead {
    let run = &detail.run;
    let acts = situation(detail, role).acts();
    let why = show::why(run);
    RunHead {
        id: run.id.to_string(),
        label,
        title: show::title(run),
        command: run.message.is_none() && (run.command.is_some() || run.guest.is_some()),
        stack: rows.stack(run),
        kind: kind_word(run.kind),
        badge: show::badge(run),
        verdict: verdict(detail),
        took: took(rows, run),
        why: why.filter(|_| matches!(run.state.look(), Look::Waiting)),
        mark: mark(&run.triggered_by),
        created: Moment::new(run.created_at, rows.now),
        source: source(run),
        decided: decided(detail),
        retry_of: run.retry_of.map(|id| Why::linked("another run", format!("/runs/{id}"))),
        patched_by: run.patched.as_ref().map(|patched| {
            Why::linked(format!("run #{}", patched.run_number), format!("/runs/{}?tab=guest", patched.run))
        }),
        no_acts: (acts.is_empty() && role >= Role::Writer).then(|| no_acts(run, who)).flatten(),
        acts,
        warnings: warnings(detail),
    }
}

const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Tracked => "tracked",
        Kind::Proposed => "preview",
        Kind::Task => "task",
        Kind::OnDemand => "on demand",
        Kind::Destroy => "destroy",
        Kind::Drift => "drift detection",
    }
}

fn situation(detail: &RunDetail, role: Role) -> Situation {
    let run = &detail.run;
    Situation {
        number: run.number,
        kind: run.kind,
        state: run.state,
        role,
        confirmed: run.checking.is_some_and(Stage::is_confirmed)
            || detail.history.iter().any(|entry| entry.state == State::Confirmed),
        lost: run.unacknowledged,
        prioritized: run.prioritized,
        proposes: super::guest::may_propose(detail, role),
        promotable: detail.stack.as_ref().is_some_and(|stack| stack.settings.allow_promotion),
    }
}

/// What the state alone does not say.
fn verdict(detail: &RunDetail) -> Option<String> {
    let run = &detail.run;
    match run.state {
        State::Unconfirmed if open(detail).is_some() => Some("waits for an approval".to_owned()),
        State::Unconfirmed => Some("waits for a decision".to_owned()),
        State::PendingReview => Some("waits for a review".to_owned()),
        State::Failed => run.reason.clone().or_else(|| show::failed(run)),
        State::Finished => run.reason.clone().or_else(|| run.exit_code.map(|code| format!("exit {code}"))),
        State::Discarded | State::Canceled | State::Stopped | State::Skipped => run.reason.clone(),
        _ if run.stopping => Some("is being stopped".to_owned()),
        _ if run.forced => Some("is being killed".to_owned()),
        _ => None,
    }
}

fn took(rows: &Rows, run: &Run) -> Option<Took> {
    let first = run.phases.first().map(|phase| phase.started_at);
    match run.state.look() {
        Look::Working => Some(Took::going_on(first.unwrap_or(run.state_since), rows.now)),
        Look::Waiting => Some(Took::going_on(run.state_since, rows.now)),
        Look::NeedsYou => None,
        // The time that was worked: what the run waited for a person is not its own.
        _ => {
            let worked: Duration =
                run.phases.iter().filter_map(|phase| Some(phase.finished_at? - phase.started_at)).sum();
            first.map(|_| Took::ended(worked))
        }
    }
}

fn source(run: &Run) -> Option<SourceRef> {
    Some(match &run.source {
        SourceVersion::Git { branch, commit: Some(commit) } => {
            SourceRef { short: commit.short().to_owned(), full: commit.to_string(), branch: Some(branch.to_string()) }
        }
        SourceVersion::Git { branch, commit: None } => {
            SourceRef { short: branch.to_string(), full: branch.to_string(), branch: None }
        }
        SourceVersion::Upload { digest } => SourceRef { short: digest.short(), full: digest.to_string(), branch: None },
    })
}

/// Who decided, and what they wrote.
fn decided(detail: &RunDetail) -> Option<(Mark, &'static str, Option<String>)> {
    let verb = |state| match state {
        State::Confirmed => Some("confirmed"),
        State::Discarded => Some("discarded"),
        State::Canceled => Some("canceled"),
        State::Stopped => Some("stopped"),
        _ => None,
    };
    let found = detail.history.iter().rev().find_map(|entry| Some((entry, verb(entry.state)?)));
    let (entry, verb) = found?;
    Some((mark(&entry.actor), verb, entry.note.clone()))
}

/// Said where no button is.
fn no_acts(run: &Run, who: &Who) -> Option<String> {
    let admin = who.role_on(run.stack) >= Some(Role::Admin);
    match run.state {
        State::Performing if !admin => Some("A task that performs cannot be stopped".to_owned()),
        State::Applying | State::Destroying if !admin => Some("What applies cannot be stopped".to_owned()),
        State::PreparingApply => Some("What is confirmed cannot be stopped any more".to_owned()),
        _ => None,
    }
}

fn warnings(detail: &RunDetail) -> Vec<String> {
    let mut warnings = Vec::new();
    if detail.stack.as_ref().is_some_and(|stack| stack.settings.executor.kind == ExecutorKind::Unconfined) {
        warnings.push("This stack's phases run without a jail: they can reach whatever the server can.".to_owned());
    }
    if detail.stack.is_none() {
        warnings.push("The stack was deleted; this record stays.".to_owned());
    }
    // Beside a decision they stand in its box.
    if !matches!(detail.run.state, State::Unconfirmed | State::PendingReview) {
        warnings.extend(said_warnings(&detail.run));
    }
    warnings
}

/// A plan of chosen resources leaves out the rest, where it is the vendor that plans.
fn partial(run: &Run, vendor: &Vendor) -> Option<String> {
    let (chosen, verb) = match run.targets.as_slice() {
        [] => return None,
        [one] => (one.clone(), "was"),
        [first, second] => (format!("{first} and {second}"), "were"),
        more => (words::count(more.len() as u64, "chosen resource"), "were"),
    };
    Some(match vendor.has_state() {
        true => format!("Only {chosen} {verb} planned. What else would change is left out."),
        false => format!(
            "Only {chosen} {verb} asked for. The stack's own commands decide what they do about that: those that do not \
             read `AIRLOCK_TARGETS` do everything."
        ),
    })
}

/// What the vendor and the plan policies want somebody to know.
fn said_warnings(run: &Run) -> Vec<String> {
    let warns = |one: &&PolicyReceipt| one.kind == PolicyKind::Plan && one.decision == PolicyOutcome::Warn;
    let policies = run.policies.iter().filter(warns);
    let said = policies.flat_map(|one| one.messages.iter().map(|text| format!("{text} (policy {})", one.name)));
    run.warnings.iter().map(|text| super::super::sent::sentence(text)).chain(said).collect()
}

/// What the approval policies said, when that is neither yes nor no.
fn open(detail: &RunDetail) -> Option<&Standing> {
    detail.standing.as_ref().filter(|standing| standing.approval == Approval::Open)
}

/// The box in which a person decides.
pub fn decision(rows: &Rows, who: &Who, detail: &RunDetail, role: Role) -> Option<Decision> {
    let run = &detail.run;
    let situation = situation(detail, role);
    if !situation.decides(open(detail).is_some()) {
        return None;
    }
    let stack = detail.stack.as_ref()?;
    let destroys = run.kind == Kind::Destroy;
    let object = situation.object();
    let decided = run.state == State::Unconfirmed;
    let me = who.actor.public();
    let missing = stack.lock.as_ref().filter(|lock| decided && !lock.is_of(&who.actor)).map(held);
    let expires = stack.settings.unconfirmed_expiry_days.filter(|_| decided).map(|days| {
        let at = run.state_since.plus(Duration::from_secs(u64::from(days) * 86_400));
        Moment::new(at, rows.now)
    });
    let own = own_word(detail, &me);
    let asked = detail.standing.is_some();
    let approves = open(detail).is_some_and(|standing| !standing.leaves_out(&me));
    let confirms = decided && missing.is_none() && open(detail).is_none();
    Some(Decision {
        sentence: match run.state {
            State::Queued => format!("{} has not begun.", super::super::sent::sentence(&object)),
            _ => sentence(run),
        },
        detail: what_follows(run, stack.settings.name.as_str(), open(detail).is_some()),
        digest: run.plan_digest.as_ref().map(|digest| PlanDigest { full: digest.to_string(), short: digest.short() }),
        confirm: confirms.then(|| confirm_word(run, stack.settings.name.as_str())),
        missing,
        open: open(detail).map(|standing| lacks(standing, &me, own)),
        reviews: current_reviews(&detail.reviews, run).into_iter().map(|review| review_line(rows, review)).collect(),
        approve: (approves && own != Some(ReviewDecision::Approve)).then(|| format!("Approve {object}")),
        reject: (asked && own != Some(ReviewDecision::Reject)).then(|| format!("Reject {object}")),
        discard: decided.then(|| format!("Discard {object}")),
        expires,
        warnings: partial(run, &stack.settings.vendor).into_iter().chain(said_warnings(run)).collect(),
        delta: show::delta(run).filter(|_| run.state != State::Queued),
        destroys,
    })
}

/// What the reader themselves said last about exactly this.
fn own_word(detail: &RunDetail, me: &ActorName) -> Option<ReviewDecision> {
    let said = current_reviews(&detail.reviews, &detail.run);
    said.into_iter().find(|review| review.by.public() == *me).map(|review| review.decision)
}

/// `1 more approval is needed. You have approved.`
fn lacks(standing: &Standing, me: &ActorName, own: Option<ReviewDecision>) -> String {
    let missing = super::super::sent::sentence(&standing.missing(Some(me)));
    match own {
        Some(ReviewDecision::Approve) => format!("{missing}. You have approved."),
        Some(ReviewDecision::Reject) => format!("{missing}. You have rejected it."),
        None => format!("{missing}."),
    }
}

fn review_line(rows: &Rows, review: &Review) -> ReviewLine {
    ReviewLine {
        badge: review_badge(review.decision),
        by: mark(&review.by.public()),
        note: review.note.as_ref().map(ToString::to_string),
        at: Moment::new(review.at, rows.now),
    }
}

pub fn review_badge(decision: ReviewDecision) -> Badge {
    match decision {
        ReviewDecision::Approve => Badge::new(Look::Succeeded, "Approved"),
        ReviewDecision::Reject => Badge::new(Look::Failed, "Rejected"),
    }
}

/// What a decision does, and to what.
fn what_follows(run: &Run, stack: &str, open: bool) -> String {
    match (run.state, run.kind) {
        (State::Queued, _) => format!("It begins on {stack} once it is approved. Rejecting fails it."),
        (State::PendingReview, _) => format!("A preview of {stack}: nothing is applied. Rejecting fails it."),
        (State::Unconfirmed, _) if open && run.deploys_when_approved => format!(
            "Exactly this plan is applied to {stack} as soon as it is approved, out of the sealed workspace. \
             Discarding erases it."
        ),
        (_, Kind::Destroy) => {
            format!("Confirming destroys exactly this in {stack}, out of the sealed workspace. Discarding erases it.")
        }
        _ => format!(
            "Confirming applies exactly this plan to {stack}, out of the sealed workspace. Discarding erases it."
        ),
    }
}

fn held(lock: &Lock) -> Why {
    let note = lock.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    Why::new(format!("the stack is locked by {}{note}", lock.by.name))
}

fn confirm_word(run: &Run, stack: &str) -> String {
    let deleted = run.delta.map_or(0, |delta| delta.resources.deleted);
    match (run.kind, deleted) {
        (Kind::Destroy, 0) => format!("Destroy {stack}"),
        (Kind::Destroy, n) => format!("Delete {} of {stack}", words::count(u64::from(n), "resource")),
        _ => format!("Confirm {}", offers::label(run.kind, run.number)),
    }
}

/// `3 resources and 1 output would change.`
fn sentence(run: &Run) -> String {
    let delta = run.delta.unwrap_or_default();
    let parts: Vec<String> = [(delta.resources.total(), "resource"), (delta.outputs.total(), "output")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, noun)| words::count(u64::from(n), noun))
        .collect();
    match (parts.is_empty(), show::is_unlisted(run), run.kind) {
        (false, _, Kind::Destroy) => format!("{} would be deleted.", parts.join(" and ")),
        (false, _, _) => format!("{} would change.", parts.join(" and ")),
        (true, true, Kind::Destroy) => "Everything of this stack would be destroyed.".to_owned(),
        (true, true, _) => "Something would change; the plan does not list what.".to_owned(),
        (true, false, Kind::Destroy) => "Nothing is there to be destroyed.".to_owned(),
        (true, false, _) => "Nothing would change.".to_owned(),
    }
}

/// Why the run failed, visible without a click. `line` is where the error stands in the shown log.
pub fn failure(run: &Run, line: Option<String>) -> Option<Failure> {
    if run.state != State::Failed {
        return None;
    }
    let failed = |phase: &&PhaseRow| {
        phase
            .verdict
            .as_ref()
            .is_some_and(|verdict| !verdict.is_success() && !super::phases::is_changes(phase, verdict))
    };
    let phase = run.phases.iter().rev().find(failed)?;
    let href = line.unwrap_or_else(|| format!("/runs/{}?tab=log&phase={}", run.id, phase.phase.word()));
    Some(Failure {
        phase: super::phases::title(phase.phase),
        verdict: phase.verdict.as_ref().map(ToString::to_string).unwrap_or_default(),
        line: run.error_line.clone().map(|text| (text, href)),
    })
}
