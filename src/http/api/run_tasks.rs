//! Run tasks, the stacks that they are on, and how calling them went.

use axum::{
    Json,
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer, PREFIX,
    list::{List, Paging},
    merge,
    shape::Nothing,
    words,
};
use crate::{
    actions::{NewAttachment, NewRunTask, NewRunTaskKind, Secret},
    auth::{On, Permission},
    domain::{
        AttachmentId, Enforcement, GuestName, Refused, ResultStatus, RunId, RunTaskId, RunTaskName, Slug, Stage,
        StageStatus, TaskResultId, TaskStageId, Timestamp,
    },
    http::{
        Web,
        extract::{Asker, At, Body, Params},
    },
    queries::{
        AttachmentRow, Cursor, DeliveryReason, DeliveryRow, RunTaskKind, RunTaskRow, StageDetail, TaskResult,
        Verification,
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(one, change, delete))
        .routes(routes!(deliveries))
        .routes(routes!(redeliver))
        .routes(routes!(of_stack, attach))
        .routes(routes!(attached, reattach, detach))
}

// ── Run tasks ───────────────────────────────────────────────────────────────────────────────

/// A run task, without its key.
#[derive(Serialize, ToSchema)]
#[schema(as = RunTask)]
struct RunTaskShape {
    #[schema(value_type = String)]
    id: RunTaskId,
    #[schema(value_type = String)]
    name: RunTaskName,
    /// `http` or `wasi`.
    kind: &'static str,
    /// Of kind `http`: what is called.
    url: Option<String>,
    /// Whether requests are signed.
    has_hmac_key: bool,
    /// Of kind `wasi`: what runs.
    #[schema(value_type = Option<String>)]
    guest: Option<GuestName>,
    description: String,
    enabled: bool,
    /// It sees sensitive values of plans.
    trusted: bool,
    /// The stacks that it is on.
    #[schema(value_type = Vec<String>)]
    stacks: Vec<Slug>,
    /// What came back when its address was asked whether a run task is there, the newest first.
    verifications: Vec<VerificationShape>,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
}

/// A request that asks whether a run task is there.
#[derive(Serialize, ToSchema)]
#[schema(as = Verification)]
struct VerificationShape {
    #[schema(schema_with = words::time)]
    at: Timestamp,
    /// The answer's HTTP status; null where there was none.
    status: Option<u16>,
    duration_ms: u64,
    /// What went wrong.
    note: Option<String>,
}

impl From<Verification> for VerificationShape {
    fn from(asked: Verification) -> Self {
        Self { at: asked.at, status: asked.status, duration_ms: asked.duration_ms, note: asked.note }
    }
}

impl From<RunTaskRow> for RunTaskShape {
    fn from(row: RunTaskRow) -> Self {
        let (kind, url, has_hmac_key, guest) = match row.task.kind {
            RunTaskKind::Http { url, hmac_key } => ("http", Some(url), hmac_key.is_some(), None),
            RunTaskKind::Wasi { guest } => ("wasi", None, false, Some(guest)),
        };
        Self {
            id: row.task.id,
            name: row.task.name,
            kind,
            url,
            has_hmac_key,
            guest,
            description: row.task.description,
            enabled: row.task.enabled,
            trusted: row.task.trusted,
            stacks: row.stacks.into_iter().map(|stack| stack.slug).collect(),
            verifications: row.task.verifications.into_iter().rev().map(VerificationShape::from).collect(),
            created_at: row.task.created_at,
            updated_at: row.task.updated_at,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every run task, by name. For admins.
#[utoipa::path(get, path = "/run-tasks", params(ListParams), responses((status = 200, body = List<RunTaskShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<RunTaskShape>>> {
    asker.may_here(Permission::ManageRunTasks).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.run_tasks()?;
    Ok(Json(List::by_key(rows, &paging, |row| row.task.name.clone(), |row| Ok(row.into()))?))
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindInput {
    Http,
    Wasi,
}

/// What a run task is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRunTask)]
struct RunTaskInput {
    /// Letters, digits, `_` and `-`.
    #[schema(value_type = String)]
    name: RunTaskName,
    /// `http` (the default) or `wasi`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    kind: Option<KindInput>,
    /// Of kind `http`: called once before it is kept.
    #[serde(default)]
    url: Option<String>,
    /// Requests are signed with it. It never comes back.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    hmac_key: Option<Secret<String>>,
    /// Of kind `wasi`: a registered guest.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    guest: Option<GuestName>,
    #[serde(default)]
    description: String,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    trusted: bool,
}

const fn yes() -> bool {
    true
}

impl RunTaskInput {
    fn read(self) -> Result<NewRunTask, Refused> {
        let kind = match (self.kind.unwrap_or(KindInput::Http), self.url, self.guest) {
            (KindInput::Http, _, Some(_)) => return Err(Refused::field("guest", "is for run tasks of the kind wasi")),
            (KindInput::Http, None, None) => return Err(Refused::field("url", "is needed")),
            (KindInput::Http, Some(url), None) => NewRunTaskKind::Http { url, hmac_key: self.hmac_key },
            (KindInput::Wasi, Some(_), _) => return Err(Refused::field("url", "is for run tasks of the kind http")),
            (KindInput::Wasi, None, None) => return Err(Refused::field("guest", "is needed")),
            (KindInput::Wasi, None, Some(_)) if self.hmac_key.is_some() => {
                return Err(Refused::field("hmac_key", "is for run tasks of the kind http"));
            }
            (KindInput::Wasi, None, Some(guest)) => NewRunTaskKind::Wasi { guest },
        };
        Ok(NewRunTask {
            name: self.name,
            description: self.description,
            kind,
            enabled: self.enabled,
            trusted: self.trusted,
        })
    }
}

/// Make a run task. Its address must answer 200 to the verification request.
#[utoipa::path(post, path = "/run-tasks", request_body = RunTaskInput, responses((status = 201, body = RunTaskShape)))]
async fn create(
    asker: Asker,
    headers: HeaderMap,
    Body { input, bytes }: Body<RunTaskInput>,
) -> Answer<(StatusCode, [(header::HeaderName, String); 1], Json<RunTaskShape>)> {
    let permit = asker.may_here(Permission::ManageRunTasks).await?;
    let once = asker.once(&headers, "/run-tasks", &bytes)?;
    let task = asker.web.actions.create_run_task(&permit, input.read()?, once).await?;
    let place = format!("{PREFIX}/run-tasks/{}", task.name);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], shown(&asker, &task.name)?))
}

fn shown(asker: &Asker, name: &RunTaskName) -> Answer<Json<RunTaskShape>> {
    Ok(Json(asker.web.queries.run_task(name)?.into()))
}

/// One run task. For admins.
#[utoipa::path(get, path = "/run-tasks/{name}", responses((status = 200, body = RunTaskShape)))]
async fn one(asker: Asker, At(name): At<RunTaskName>) -> Answer<Json<RunTaskShape>> {
    asker.may_here(Permission::ManageRunTasks).await?;
    shown(&asker, &name)
}

/// A merge patch of a run task.
struct RunTaskPatch;

impl PartialSchema for RunTaskPatch {
    fn schema() -> RefOr<Schema> {
        words::run_task_patch()
    }
}

impl ToSchema for RunTaskPatch {}

/// Change a run task: a JSON merge patch (RFC 7396). A `hmac_key` of null removes the key; without one it
/// stays.
#[utoipa::path(patch, path = "/run-tasks/{name}", request_body = RunTaskPatch, responses((status = 200, body = RunTaskShape)))]
async fn change(
    asker: Asker,
    At(name): At<RunTaskName>,
    Body { input: patch, .. }: Body<Map<String, Value>>,
) -> Answer<Json<RunTaskShape>> {
    let permit = asker.may_here(Permission::ManageRunTasks).await?;
    let row = asker.web.queries.run_task(&name)?;
    let id = row.task.id;
    let new = patched(row, patch)?.read()?;
    let task = asker.web.actions.edit_run_task(&permit, id, new).await?;
    shown(&asker, &task.name)
}

fn patched(row: RunTaskRow, mut patch: Map<String, Value>) -> Result<RunTaskInput, Refused> {
    let task = row.task;
    let mut before = json!({
        "name": task.name, "kind": null, "url": null, "hmac_key": null, "guest": null,
        "description": task.description, "enabled": task.enabled, "trusted": task.trusted,
    });
    match task.kind {
        RunTaskKind::Http { url, .. } => (before["kind"], before["url"]) = (json!("http"), json!(url)),
        RunTaskKind::Wasi { guest } => (before["kind"], before["guest"]) = (json!("wasi"), json!(guest)),
    }
    // Where another kind is asked for, nothing of the old one is kept.
    if patch.get("kind").is_some_and(|kind| *kind != before["kind"]) {
        (before["url"], before["guest"]) = (Value::Null, Value::Null);
    }
    if patch.get("hmac_key").is_some_and(Value::is_null) {
        patch.insert("hmac_key".to_owned(), json!(""));
    }
    merge::patched(before, patch)
}

/// Delete a run task that is on no stack any more.
#[utoipa::path(delete, path = "/run-tasks/{name}", responses((status = 204, description = "It is gone"), (status = 409, description = "Stacks still use it; they are named")))]
async fn delete(asker: Asker, At(name): At<RunTaskName>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageRunTasks).await?;
    let id = asker.web.queries.run_task(&name)?.task.id;
    asker.web.actions.delete_run_task(&permit, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

// ── Deliveries ──────────────────────────────────────────────────────────────────────────────

/// One request that was sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliveryShape {
    /// The result that it asked for: what `redeliver` sends again.
    #[schema(value_type = String)]
    id: TaskResultId,
    /// The n-th request for this result.
    attempt: u32,
    #[schema(schema_with = words::time)]
    at: Timestamp,
    #[schema(value_type = String)]
    run: RunId,
    #[schema(schema_with = words::stage)]
    stage: Stage,
    /// `first`, `retry`, `again`.
    reason: &'static str,
    /// Who asked for it to be sent again.
    by: Option<String>,
    /// The answer's HTTP status; null where there was none.
    status: Option<u16>,
    duration_ms: u64,
    /// What went wrong.
    note: Option<String>,
    /// How the result stands now.
    #[schema(schema_with = words::result_status)]
    result: ResultStatus,
}

impl From<DeliveryRow> for DeliveryShape {
    fn from(row: DeliveryRow) -> Self {
        let (reason, by) = match row.delivery.reason {
            DeliveryReason::First => ("first", None),
            DeliveryReason::Retry => ("retry", None),
            DeliveryReason::Again { by } => ("again", Some(by.name)),
        };
        Self {
            id: row.result.id,
            attempt: row.n,
            at: row.delivery.at,
            run: row.result.run,
            stage: row.result.stage,
            reason,
            by,
            status: row.delivery.status,
            duration_ms: row.delivery.duration_ms,
            note: row.delivery.note,
            result: row.result.status,
        }
    }
}

/// What was sent to a run task, the newest first. For admins.
#[utoipa::path(get, path = "/run-tasks/{name}/deliveries", params(ListParams), responses((status = 200, body = List<DeliveryShape>)))]
async fn deliveries(
    asker: Asker,
    At(name): At<RunTaskName>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<DeliveryShape>>> {
    asker.may_here(Permission::ManageRunTasks).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let task = asker.web.queries.run_task(&name)?.task.id;
    let cursor: Option<Cursor> = paging.cursor()?;
    let page = asker.web.queries.deliveries(task, cursor.as_ref(), paging.limit)?;
    Ok(Json(List::of_page(page, |row| Ok(row.into()))?))
}

/// Send the request for a result once more, the same as before. Where the result is final it stays as it is:
/// the request has a new access token, which opens nothing, and a callback gets the 422 of one that comes late.
#[utoipa::path(post, path = "/run-tasks/{name}/deliveries/{id}/redeliver", request_body = Nothing, responses((status = 202, description = "It is on its way"), (status = 409, description = "It is a guest's, or was sent too often")))]
async fn redeliver(
    asker: Asker,
    At((name, id)): At<(RunTaskName, TaskResultId)>,
    _: Body<Nothing>,
) -> Answer<StatusCode> {
    asker.may_here(Permission::ManageRunTasks).await?;
    let task = asker.web.queries.run_task(&name)?.task.id;
    let result = asker.web.queries.task_result(&asker.who, id)?;
    if result.run_task != task {
        return Err(Refused::not_found(format_args!("the delivery {id}")).into());
    }
    let permit = asker.may(Permission::ManageRunTasks, On::Stack(result.stack), &id.to_string()).await?;
    asker.web.actions.redeliver(&permit, id).await?;
    Ok(StatusCode::ACCEPTED)
}

// ── On stacks ───────────────────────────────────────────────────────────────────────────────

/// A run task on a stack.
#[derive(Serialize, ToSchema)]
#[schema(as = AttachedRunTask)]
struct AttachedShape {
    #[schema(value_type = String)]
    id: AttachmentId,
    #[schema(value_type = String)]
    run_task: RunTaskName,
    description: String,
    /// Whether it is called at all.
    enabled: bool,
    #[schema(schema_with = words::stages)]
    stages: Vec<Stage>,
    #[schema(schema_with = words::enforcement)]
    enforcement: Enforcement,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
}

impl From<AttachmentRow> for AttachedShape {
    fn from(row: AttachmentRow) -> Self {
        Self {
            id: row.attachment.id,
            run_task: row.task.name,
            description: row.task.description,
            enabled: row.task.enabled,
            stages: row.attachment.stages,
            enforcement: row.attachment.enforcement,
            created_at: row.attachment.created_at,
        }
    }
}

/// The run tasks of a stack, in the order in which they were attached.
#[utoipa::path(get, path = "/stacks/{stack}/run-tasks", params(ListParams), responses((status = 200, body = List<AttachedShape>)))]
async fn of_stack(
    asker: Asker,
    At(slug): At<Slug>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<AttachedShape>>> {
    asker.may_on(Permission::See, &slug).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.attachments(&asker.who, &slug)?;
    Ok(Json(List::by_key(rows, &paging, |row| row.attachment.id, |row| Ok(row.into()))?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AttachInput {
    /// Its name.
    #[schema(value_type = String)]
    run_task: RunTaskName,
    /// `post_plan` where nothing else is said.
    #[serde(default = "usual_stages")]
    #[schema(schema_with = words::stages)]
    stages: Vec<Stage>,
    /// `advisory` where nothing else is said.
    #[serde(default = "usual_enforcement")]
    #[schema(schema_with = words::enforcement)]
    enforcement: Enforcement,
}

fn usual_stages() -> Vec<Stage> {
    vec![Stage::PostPlan]
}

const fn usual_enforcement() -> Enforcement {
    Enforcement::Advisory
}

/// Have the stack's runs checked by a run task. For the stack's admins.
#[utoipa::path(post, path = "/stacks/{stack}/run-tasks", request_body = AttachInput, responses((status = 201, body = AttachedShape)))]
async fn attach(
    asker: Asker,
    At(slug): At<Slug>,
    headers: HeaderMap,
    Body { input, bytes }: Body<AttachInput>,
) -> Answer<(StatusCode, [(header::HeaderName, String); 1], Json<AttachedShape>)> {
    let (stack, permit) = asker.may_on(Permission::AttachRunTasks, &slug).await?;
    let once = asker.once(&headers, &format!("/stacks/{slug}/run-tasks"), &bytes)?;
    let task = asker
        .web
        .queries
        .run_task(&input.run_task)
        .map_err(|_| Refused::field("run_task", format!("there is no run task `{}`", input.run_task)))?;
    let new = NewAttachment { run_task: task.task.id, stages: input.stages, enforcement: input.enforcement };
    let row = asker.web.actions.attach_run_task(&permit, stack.id, new, once).await?;
    let place = format!("{PREFIX}/stacks/{slug}/run-tasks/{}", row.id);
    let shown = asker.web.queries.attachment(&asker.who, &slug, row.id)?.into();
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(shown)))
}

/// One of them.
#[utoipa::path(get, path = "/stacks/{stack}/run-tasks/{attached}", responses((status = 200, body = AttachedShape)))]
async fn attached(asker: Asker, At((slug, id)): At<(Slug, AttachmentId)>) -> Answer<Json<AttachedShape>> {
    asker.may_on(Permission::See, &slug).await?;
    Ok(Json(asker.web.queries.attachment(&asker.who, &slug, id)?.into()))
}

/// What a merge patch may change.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReattachInput {
    #[serde(default = "usual_stages")]
    #[schema(schema_with = words::stages)]
    stages: Vec<Stage>,
    #[serde(default = "usual_enforcement")]
    #[schema(schema_with = words::enforcement)]
    enforcement: Enforcement,
}

/// Change when it is called, and what it means that it does not pass: a JSON merge patch (RFC 7396).
#[utoipa::path(patch, path = "/stacks/{stack}/run-tasks/{attached}", request_body = ReattachInput, responses((status = 200, body = AttachedShape)))]
async fn reattach(
    asker: Asker,
    At((slug, id)): At<(Slug, AttachmentId)>,
    Body { input: patch, .. }: Body<Map<String, Value>>,
) -> Answer<Json<AttachedShape>> {
    let (stack, permit) = asker.may_on(Permission::AttachRunTasks, &slug).await?;
    let old = asker.web.queries.attachment(&asker.who, &slug, id)?.attachment;
    let before = ReattachInput { stages: old.stages, enforcement: old.enforcement };
    let before = serde_json::to_value(before).expect("words are JSON");
    let ReattachInput { stages, enforcement } = merge::patched(before, patch)?;
    asker.web.actions.edit_attachment(&permit, stack.id, id, stages, enforcement).await?;
    Ok(Json(asker.web.queries.attachment(&asker.who, &slug, id)?.into()))
}

/// Take it off the stack.
#[utoipa::path(delete, path = "/stacks/{stack}/run-tasks/{attached}", responses((status = 204, description = "It is gone")))]
async fn detach(asker: Asker, At((slug, id)): At<(Slug, AttachmentId)>) -> Answer<StatusCode> {
    let (stack, permit) = asker.may_on(Permission::AttachRunTasks, &slug).await?;
    asker.web.actions.detach_run_task(&permit, stack.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

// ── On runs ─────────────────────────────────────────────────────────────────────────────────

/// A stage of a run with what its run tasks said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunTaskStage)]
pub(super) struct StageShape {
    #[schema(value_type = String)]
    id: TaskStageId,
    #[schema(schema_with = words::stage)]
    stage: Stage,
    #[schema(schema_with = words::stage_status)]
    status: StageStatus,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::maybe_time)]
    ended_at: Option<Timestamp>,
    /// The admin who let the run go on nevertheless.
    overridden_by: Option<String>,
    results: Vec<ResultShape>,
}

/// What one run task said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunTaskResult)]
struct ResultShape {
    #[schema(value_type = String)]
    id: TaskResultId,
    #[schema(value_type = String)]
    run_task: RunTaskName,
    #[schema(schema_with = words::enforcement)]
    enforcement: Enforcement,
    #[schema(schema_with = words::result_status)]
    status: ResultStatus,
    message: String,
    url: String,
    /// How many.
    outcomes: u32,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
}

impl From<StageDetail> for StageShape {
    fn from(stage: StageDetail) -> Self {
        Self {
            id: stage.row.id,
            stage: stage.row.stage,
            status: stage.row.status,
            created_at: stage.row.created_at,
            ended_at: stage.row.ended_at,
            overridden_by: stage.row.overridden.map(|overridden| overridden.by.name),
            results: stage.results.into_iter().map(ResultShape::from).collect(),
        }
    }
}

impl From<TaskResult> for ResultShape {
    fn from(result: TaskResult) -> Self {
        Self {
            id: result.id,
            run_task: result.name,
            enforcement: result.enforcement,
            status: result.status,
            message: result.message,
            url: result.url,
            outcomes: result.outcomes,
            created_at: result.created_at,
            updated_at: result.updated_at,
        }
    }
}
