//! What people decide on a run's page: every form of it posts here.

use axum::extract::{Path, State};

use super::{
    super::{
        cookies::Carried,
        sent::{Form, Sent, sentence},
        visitor::{Answer, Visitor, unknown_verb},
    },
    id_of,
};
use crate::{
    actions::{Decision, NewReview},
    auth::Permission,
    domain::{Approval, Digest, Note, Refused, ReviewDecision, RunId},
    http::{Problem, Web, view::offers},
    queries::Run,
};

/// What a form wants.
enum Wanted {
    Decide(Permission, Decision),
    Review(NewReview),
    Retry,
    Promote,
    Propose,
    Override,
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>, Form(sent): Form) -> Answer {
    let id = id_of(&id)?;
    match wanted(&sent)? {
        Wanted::Retry => again(&web, &visitor, id, &sent, Permission::Trigger).await,
        Wanted::Promote => again(&web, &visitor, id, &sent, Permission::Promote).await,
        Wanted::Review(new) => review(&visitor, id, new).await,
        Wanted::Propose => propose(&web, &visitor, id, &sent).await,
        Wanted::Override => super::run_tasks::override_stage(&web, &visitor, id, &sent).await,
        Wanted::Decide(permission, decision) => {
            let (_, permit) = visitor.may_on_run(permission, id).await?;
            let text = said(&decision);
            let timeline = matches!(decision, Decision::Comment { .. });
            let run = web.actions.decide(&permit, id, decision).await?;
            let label = sentence(&offers::label(run.kind, run.number));
            let to = if timeline { format!("/runs/{id}?tab=timeline") } else { format!("/runs/{id}") };
            visitor.done(&to, Carried::good(format!("{label} {text}.")))
        }
    }
}

fn wanted(sent: &Sent) -> Result<Wanted, Problem> {
    let note = |name: &str| Note::optional(sent.get(name)).map_err(|error| Refused::field(name, error.to_string()));
    let needed = |name: &str| note(name)?.ok_or_else(|| Refused::field(name, "is needed"));
    let (permission, decision) = match sent.verb() {
        "confirm" => (Permission::Confirm, Decision::Confirm { plan_digest: digest(sent)?, note: note("note")? }),
        "approve" => return review_of(sent, ReviewDecision::Approve),
        "reject" => return review_of(sent, ReviewDecision::Reject),
        "discard" => (Permission::Discard, Decision::Discard { note: note("note")? }),
        "replan" => {
            let targets = sent.all("targets").map(str::to_owned).collect();
            (Permission::Replan, Decision::Replan { targets })
        }
        "stop" => (Permission::Stop, Decision::Stop { note: note("note")? }),
        "cancel" => (Permission::Cancel, Decision::Cancel { note: note("note")? }),
        "prioritize" => (Permission::Prioritize, Decision::Prioritize { prioritized: true }),
        "deprioritize" => (Permission::Prioritize, Decision::Prioritize { prioritized: false }),
        "comment" => (Permission::Comment, Decision::Comment { text: needed("text")? }),
        "acknowledge" => (Permission::Acknowledge, Decision::Acknowledge { note: note("note")? }),
        "force_stop" => (Permission::ForceStop, Decision::ForceStop { note: needed("note")? }),
        "retry" => return Ok(Wanted::Retry),
        "promote" => return Ok(Wanted::Promote),
        "propose" => return Ok(Wanted::Propose),
        "override" => return Ok(Wanted::Override),
        other => return Err(unknown_verb(other)),
    };
    Ok(Wanted::Decide(permission, decision))
}

fn review_of(sent: &Sent, decision: ReviewDecision) -> Result<Wanted, Problem> {
    let note = Note::optional(sent.get("note")).map_err(|error| Refused::field("note", error.to_string()))?;
    Ok(Wanted::Review(NewReview { decision, note, plan_digest: digest(sent)? }))
}

/// Writes a review down, and says what it came to.
async fn review(visitor: &Visitor, id: RunId, new: NewReview) -> Answer {
    let (_, permit) = visitor.may_on_run(Permission::Review, id).await?;
    let verb = match new.decision {
        ReviewDecision::Approve => "has your approval",
        ReviewDecision::Reject => "has your rejection",
    };
    let run = visitor.web.actions.review(&permit, id, new, None).await?;
    let label = sentence(&offers::label(run.kind, run.number));
    let detail = visitor.web.queries.detail_of(run)?;
    let open = detail.standing.filter(|standing| standing.approval == Approval::Open);
    let missing = open.map(|standing| standing.missing(Some(&visitor.who.actor.public())));
    let missing = missing.map(|text| format!(" {}.", sentence(&text))).unwrap_or_default();
    visitor.done(&format!("/runs/{id}"), Carried::good(format!("{label} {verb}.{missing}")))
}

/// The plan that the reader saw: nobody confirms another one.
fn digest(sent: &Sent) -> Result<Option<Digest>, Refused> {
    let text = sent.filled("plan_digest");
    text.map(Digest::new).transpose().map_err(|error| Refused::field("plan_digest", error.to_string()))
}

/// What was done, behind the run's name.
const fn said(decision: &Decision) -> &'static str {
    match decision {
        Decision::Confirm { .. } => "was confirmed",
        Decision::Discard { .. } => "was discarded; its sealed workspace is erased",
        Decision::Replan { .. } => "is planned again with the chosen resources",
        Decision::Stop { .. } => "is asked to stop",
        Decision::Cancel { .. } => "was canceled",
        Decision::Prioritize { prioritized: true } => "stands in front of the queue now",
        Decision::Prioritize { prioritized: false } => "has its usual place in the queue again",
        Decision::Comment { .. } => "has your comment",
        Decision::Acknowledge { .. } => "was acknowledged",
        Decision::ForceStop { .. } => "is being killed",
    }
}

/// Makes a preview of what the run's guest changed, and leads there.
async fn propose(web: &Web, visitor: &Visitor, id: RunId, sent: &Sent) -> Answer {
    let (old, permit) = visitor.may_on_run(Permission::Trigger, id).await?;
    let once = visitor.once(sent)?;
    let run = web.actions.propose(&permit, id, None, once).await?;
    let (new, old) = (offers::label(run.kind, run.number), offers::label(old.kind, old.number));
    let carried = Carried::good(format!("{} plans the changes of {old}.", sentence(&new)));
    visitor.done(&format!("/runs/{}", run.id), carried.link("Where they come from", format!("/runs/{id}?tab=guest")))
}

/// Makes another run out of this one, and leads there.
async fn again(web: &Web, visitor: &Visitor, id: RunId, sent: &Sent, permission: Permission) -> Answer {
    let (old, permit) = visitor.may_on_run(permission, id).await?;
    let once = visitor.once(sent)?;
    let (run, verb): (Run, &str) = match permission {
        Permission::Promote => (web.actions.promote(&permit, id, once).await?, "promotes"),
        _ => (web.actions.retry(&permit, id, once).await?, "retries"),
    };
    let text =
        format!("{} {verb} {}.", sentence(&offers::label(run.kind, run.number)), offers::label(old.kind, old.number));
    visitor.done(&format!("/runs/{}", run.id), Carried::good(text).link("The one before", format!("/runs/{id}")))
}
