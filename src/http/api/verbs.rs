//! What people decide about a run that exists.

use axum::{Json, http::HeaderMap};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    lock::{NoteInput, note},
    runs::{Made, made, shown},
    shape::{Nothing, RunShape},
    words,
};
use crate::{
    actions::{Decision, NewReview, Once},
    auth::Permission,
    domain::{Digest, Note, Refused, ReviewDecision, RunId},
    http::{
        Web,
        extract::{Asker, At, Body},
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(confirm))
        .routes(routes!(discard))
        .routes(routes!(replan))
        .routes(routes!(stop))
        .routes(routes!(cancel))
        .routes(routes!(review))
        .routes(routes!(prioritize))
        .routes(routes!(comment))
        .routes(routes!(acknowledge))
        .routes(routes!(force_stop))
        .routes(routes!(retry))
        .routes(routes!(promote))
}

/// Carries a decision out, if the asker may.
async fn decide(
    asker: Asker,
    run: RunId,
    permission: Permission,
    decision: Decision,
    once: Option<Once>,
) -> Answer<Json<RunShape>> {
    let (run, permit) = asker.may_on_run(permission, run).await?;
    let run = asker.web.actions.decide_once(&permit, run.id, decision, once).await?;
    shown(&asker, run)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Confirm {
    /// The plan that was looked at; none means the present one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    plan_digest: Option<Digest>,
    #[serde(default)]
    note: Option<String>,
}

/// Apply exactly the plan that was shown.
#[utoipa::path(post, path = "/runs/{run}/confirm", request_body = Confirm, responses((status = 200, body = RunShape)))]
async fn confirm(asker: Asker, At(run): At<RunId>, Body { input, .. }: Body<Confirm>) -> Answer<Json<RunShape>> {
    let note = note("note", input.note.as_deref())?;
    let decision = Decision::Confirm { plan_digest: input.plan_digest, note };
    decide(asker, run, Permission::Confirm, decision, None).await
}

/// Drop the plan; its workspace cannot be opened any more.
#[utoipa::path(post, path = "/runs/{run}/discard", request_body = NoteInput, responses((status = 200, body = RunShape)))]
async fn discard(asker: Asker, At(run): At<RunId>, Body { input, .. }: Body<NoteInput>) -> Answer<Json<RunShape>> {
    let decision = Decision::Discard { note: input.read()? };
    decide(asker, run, Permission::Discard, decision, None).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Replan {
    /// Addresses out of the run's changes.
    targets: Vec<String>,
}

/// Plan again, for some of the changes only.
#[utoipa::path(post, path = "/runs/{run}/replan", request_body = Replan, responses((status = 200, body = RunShape)))]
async fn replan(asker: Asker, At(run): At<RunId>, Body { input, .. }: Body<Replan>) -> Answer<Json<RunShape>> {
    let decision = Decision::Replan { targets: input.targets };
    decide(asker, run, Permission::Replan, decision, None).await
}

/// Stop a run that prepares, initializes or plans.
#[utoipa::path(post, path = "/runs/{run}/stop", request_body = NoteInput, responses((status = 200, body = RunShape)))]
async fn stop(asker: Asker, At(run): At<RunId>, Body { input, .. }: Body<NoteInput>) -> Answer<Json<RunShape>> {
    let decision = Decision::Stop { note: input.read()? };
    decide(asker, run, Permission::Stop, decision, None).await
}

/// Take back a run that has not begun.
#[utoipa::path(post, path = "/runs/{run}/cancel", request_body = NoteInput, responses((status = 200, body = RunShape)))]
async fn cancel(asker: Asker, At(run): At<RunId>, Body { input, .. }: Body<NoteInput>) -> Answer<Json<RunShape>> {
    let decision = Decision::Cancel { note: input.read()? };
    decide(asker, run, Permission::Cancel, decision, None).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewReview)]
struct ReviewInput {
    #[schema(schema_with = words::review_decision)]
    decision: ReviewDecision,
    #[serde(default)]
    note: Option<String>,
    /// The plan that was looked at; none means the present one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    plan_digest: Option<Digest>,
}

/// Approve or reject what a run waits with; the newest review of a person counts.
#[utoipa::path(post, path = "/runs/{run}/review", request_body = ReviewInput, responses((status = 200, body = RunShape)))]
async fn review(
    asker: Asker,
    At(run): At<RunId>,
    headers: HeaderMap,
    Body { input, bytes }: Body<ReviewInput>,
) -> Answer<Json<RunShape>> {
    let (run, permit) = asker.may_on_run(Permission::Review, run).await?;
    let once = asker.once(&headers, &format!("/runs/{}/review", run.id), &bytes)?;
    let note = note("note", input.note.as_deref())?;
    let new = NewReview { decision: input.decision, note, plan_digest: input.plan_digest };
    shown(&asker, asker.web.actions.review(&permit, run.id, new, once).await?)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Prioritize {
    #[serde(default = "yes")]
    prioritized: bool,
}

const fn yes() -> bool {
    true
}

/// Put a run in front of the queue, or back into its place.
#[utoipa::path(post, path = "/runs/{run}/prioritize", request_body = Prioritize, responses((status = 200, body = RunShape)))]
async fn prioritize(asker: Asker, At(run): At<RunId>, Body { input, .. }: Body<Prioritize>) -> Answer<Json<RunShape>> {
    let decision = Decision::Prioritize { prioritized: input.prioritized };
    decide(asker, run, Permission::Prioritize, decision, None).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CommentInput {
    text: String,
}

/// Say something about a run.
#[utoipa::path(post, path = "/runs/{run}/comment", request_body = CommentInput, responses((status = 200, body = RunShape)))]
async fn comment(
    asker: Asker,
    At(run): At<RunId>,
    headers: HeaderMap,
    Body { input, bytes }: Body<CommentInput>,
) -> Answer<Json<RunShape>> {
    let text = Note::new(input.text).map_err(|error| Refused::field("text", error.to_string()))?;
    let once = asker.once(&headers, &format!("/runs/{run}/comment"), &bytes)?;
    decide(asker, run, Permission::Comment, Decision::Comment { text }, once).await
}

/// Say that somebody looked after a run that was lost. One that was changing something asks for it.
#[utoipa::path(post, path = "/runs/{run}/acknowledge", request_body = NoteInput, responses((status = 200, body = RunShape)))]
async fn acknowledge(asker: Asker, At(run): At<RunId>, Body { input, .. }: Body<NoteInput>) -> Answer<Json<RunShape>> {
    let decision = Decision::Acknowledge { note: input.read()? };
    decide(asker, run, Permission::Acknowledge, decision, None).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ForceStop {
    note: String,
}

/// Kill what cannot be stopped. What it has changed is unknown afterwards.
#[utoipa::path(post, path = "/runs/{run}/force-stop", request_body = ForceStop, responses((status = 200, body = RunShape)))]
async fn force_stop(asker: Asker, At(run): At<RunId>, Body { input, .. }: Body<ForceStop>) -> Answer<Json<RunShape>> {
    let note = note("note", Some(&input.note))?.ok_or_else(|| Refused::field("note", "must say why"))?;
    decide(asker, run, Permission::ForceStop, Decision::ForceStop { note }, None).await
}

/// The same again: a new run that links back.
#[utoipa::path(post, path = "/runs/{run}/retry", request_body = Nothing, responses((status = 201, body = RunShape)))]
async fn retry(asker: Asker, At(run): At<RunId>, headers: HeaderMap, body: Body<Nothing>) -> Answer<Made> {
    let (run, permit) = asker.may_on_run(Permission::Trigger, run).await?;
    let once = asker.once(&headers, &format!("/runs/{}/retry", run.id), &body.bytes)?;
    made(&asker, asker.web.actions.retry(&permit, run.id, once).await?)
}

/// A tracked run of what a finished proposed run showed.
#[utoipa::path(post, path = "/runs/{run}/promote", request_body = Nothing, responses((status = 201, body = RunShape)))]
async fn promote(asker: Asker, At(run): At<RunId>, headers: HeaderMap, body: Body<Nothing>) -> Answer<Made> {
    let (run, permit) = asker.may_on_run(Permission::Promote, run).await?;
    let once = asker.once(&headers, &format!("/runs/{}/promote", run.id), &body.bytes)?;
    made(&asker, asker.web.actions.promote(&permit, run.id, once).await?)
}
