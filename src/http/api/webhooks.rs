//! Webhooks, and what is delivered to them.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer, PREFIX,
    list::{List, Paging},
    merge,
    shape::{ActorShape, Nothing},
    words,
};
use crate::{
    actions::{NewWebhook, Secret},
    auth::Permission,
    domain::{Label, PolicyName, Refused, RunId, Slug, State, Timestamp, WebhookForm},
    http::{
        Web,
        extract::{Asker, At, Body, Params},
    },
    queries::{About, Attempt, Cursor, DeliveryReason, Webhook, WebhookDelivery},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(one, change, delete))
        .routes(routes!(test))
        .routes(routes!(deliveries))
        .routes(routes!(redeliver))
}

/// A webhook, without its secret and the values of its headers.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
struct WebhookShape {
    /// What policies call it: `endpoint_id`.
    #[schema(value_type = String)]
    id: Slug,
    name: String,
    url: String,
    #[schema(schema_with = words::webhook_form)]
    form: WebhookForm,
    /// Whether deliveries are signed.
    has_secret: bool,
    /// The names of the headers that are sent along.
    header_names: Vec<String>,
    #[schema(value_type = Vec<String>)]
    labels: Vec<Label>,
    enabled: bool,
    /// Why it was switched off without anybody's wish.
    disabled_because: Option<String>,
    /// Deliveries in a row that failed.
    failures: u32,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
    updated_by: ActorShape,
}

impl From<Webhook> for WebhookShape {
    fn from(row: Webhook) -> Self {
        Self {
            updated_by: (&row.updated_by).into(),
            id: row.id,
            name: row.name,
            url: row.url,
            form: row.form,
            has_secret: row.secret.is_some(),
            header_names: row.header_names,
            labels: row.labels,
            enabled: row.enabled,
            disabled_because: row.disabled_because,
            failures: row.failures,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every webhook, by id. For admins.
#[utoipa::path(get, path = "/webhooks", params(ListParams), responses((status = 200, body = List<WebhookShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<WebhookShape>>> {
    asker.may_here(Permission::ManageWebhooks).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.webhooks()?;
    Ok(Json(List::by_key(rows, &paging, |row| row.id.clone(), |row| Ok(row.into()))?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewWebhook)]
struct WebhookInput {
    /// Where nothing is said, the one that the name suggests. It stays.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    id: Option<Slug>,
    name: String,
    url: String,
    /// `json` (the default): whatever a policy gives, else the event of the run; `slack`: an incoming
    /// webhook as Slack has them.
    #[serde(default = "usual_form")]
    #[schema(schema_with = words::webhook_form)]
    form: WebhookForm,
    /// Signs every delivery: `X-Signature`, `X-Signature-256`. It never comes back.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    secret: Option<Secret<String>>,
    /// Sent along. The values never come back.
    #[serde(default)]
    #[schema(schema_with = words::header_values)]
    headers: BTreeMap<String, Secret<String>>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default = "yes")]
    enabled: bool,
}

const fn usual_form() -> WebhookForm {
    WebhookForm::Json
}

const fn yes() -> bool {
    true
}

/// Make a webhook. For admins.
#[utoipa::path(post, path = "/webhooks", request_body = WebhookInput, responses((status = 201, body = WebhookShape)))]
async fn create(
    asker: Asker,
    headers: HeaderMap,
    Body { input, bytes }: Body<WebhookInput>,
) -> Answer<(StatusCode, [(HeaderName, String); 1], Json<WebhookShape>)> {
    let permit = asker.may_here(Permission::ManageWebhooks).await?;
    let once = asker.once(&headers, "/webhooks", &bytes)?;
    let new = NewWebhook {
        name: input.name,
        url: input.url,
        form: input.form,
        secret: input.secret,
        headers: input.headers.into_iter().map(|(name, value)| (name, Some(value))).collect(),
        labels: labels(input.labels)?,
        enabled: input.enabled,
    };
    let row = asker.web.actions.create_webhook(&permit, input.id, new, once).await?;
    let place = format!("{PREFIX}/webhooks/{}", row.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(row.into())))
}

fn labels(labels: Vec<String>) -> Result<Vec<Label>, Refused> {
    let read = |label: String| Label::new(label).map_err(|error| Refused::field("labels", error.to_string()));
    labels.into_iter().map(read).collect()
}

/// One webhook. For admins.
#[utoipa::path(get, path = "/webhooks/{id}", responses((status = 200, body = WebhookShape)))]
async fn one(asker: Asker, At(id): At<Slug>) -> Answer<Json<WebhookShape>> {
    asker.may_here(Permission::ManageWebhooks).await?;
    Ok(Json(asker.web.queries.webhook(&id)?.into()))
}

/// What a merge patch may change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookChange)]
struct WebhookEdit {
    #[schema(required = false)]
    name: String,
    #[schema(required = false)]
    url: String,
    #[serde(default = "usual_form")]
    #[schema(schema_with = words::webhook_form)]
    form: WebhookForm,
    /// null removes it.
    #[schema(value_type = Option<String>)]
    secret: Option<Secret<String>>,
    /// Those that are named are set, or with null removed.
    #[serde(default)]
    #[schema(schema_with = words::header_changes)]
    headers: BTreeMap<String, Option<Secret<String>>>,
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    labels: Vec<Label>,
    /// One that is switched on begins without failures.
    #[serde(default = "yes")]
    enabled: bool,
}

/// What a webhook becomes. Its secret and its headers' values are not there to be merged: the action
/// keeps those that are not named.
fn patched(present: &Webhook, mut patch: Map<String, Value>) -> Result<WebhookEdit, Refused> {
    let before = json!({
        "name": present.name, "url": present.url, "form": present.form, "secret": null, "headers": {},
        "labels": present.labels, "enabled": present.enabled,
    });
    merge::refuse_unknown(&before, &patch)?;
    let headers = match patch.remove("headers") {
        None => json!({}),
        Some(Value::Null) => present.header_names.iter().map(|name| (name.clone(), Value::Null)).collect(),
        Some(headers) => headers,
    };
    if patch.get("secret").is_some_and(Value::is_null) {
        patch.insert("secret".to_owned(), json!(""));
    }
    let mut after = merge::merge(before, Value::Object(patch));
    after["headers"] = headers;
    merge::read(after)
}

/// Change a webhook: a JSON merge patch (RFC 7396). For admins.
#[utoipa::path(patch, path = "/webhooks/{id}", request_body = WebhookEdit, responses((status = 200, body = WebhookShape)))]
async fn change(
    asker: Asker,
    At(id): At<Slug>,
    Body { input: patch, .. }: Body<Map<String, Value>>,
) -> Answer<Json<WebhookShape>> {
    let permit = asker.may_here(Permission::ManageWebhooks).await?;
    let present = asker.web.queries.webhook(&id)?;
    let WebhookEdit { name, url, form, secret, headers, labels, enabled } = patched(&present, patch)?;
    let new = NewWebhook { name, url, form, secret, headers, labels, enabled };
    Ok(Json(asker.web.actions.edit_webhook(&permit, id, new).await?.into()))
}

/// Delete a webhook with its deliveries. For admins.
#[utoipa::path(delete, path = "/webhooks/{id}", responses((status = 204, description = "It is gone")))]
async fn delete(asker: Asker, At(id): At<Slug>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageWebhooks).await?;
    asker.web.actions.delete_webhook(&permit, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The number of a delivery that was put down.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTest)]
struct TestShape {
    delivery: u64,
}

/// Deliver something harmless. What became of it is in the list of deliveries. For admins.
#[utoipa::path(post, path = "/webhooks/{id}/test", request_body = Nothing, responses((status = 202, body = TestShape)))]
async fn test(
    asker: Asker,
    At(id): At<Slug>,
    headers: HeaderMap,
    body: Body<Nothing>,
) -> Answer<(StatusCode, Json<TestShape>)> {
    let permit = asker.may_here(Permission::ManageWebhooks).await?;
    let once = asker.once(&headers, &format!("/webhooks/{id}/test"), &body.bytes)?;
    let delivery = asker.web.actions.test_webhook(&permit, id, once).await?;
    Ok((StatusCode::ACCEPTED, Json(TestShape { delivery })))
}

/// Something that is delivered to a webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
struct DeliveryShape {
    /// What `X-Airlock-Delivery` says, the same at each attempt.
    id: u64,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    /// `waiting`, `delivered`, `failed`.
    status: &'static str,
    /// Why nobody tries any more.
    reason: Option<String>,
    /// The run that it is about; null for a test.
    #[schema(value_type = Option<String>)]
    run: Option<RunId>,
    #[schema(schema_with = words::maybe_state)]
    state: Option<State>,
    /// The policy that wanted it.
    #[schema(value_type = Option<String>)]
    policy: Option<PolicyName>,
    method: String,
    /// What is sent, without headers.
    body: String,
    attempts: Vec<AttemptShape>,
}

/// One try.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
struct AttemptShape {
    #[schema(schema_with = words::time)]
    at: Timestamp,
    /// `first`, `retry`, `again`.
    reason: &'static str,
    /// Who asked for it to be sent again.
    by: Option<String>,
    /// The answer's HTTP status; null where there was none.
    status: Option<u16>,
    duration_ms: u64,
    /// The beginning of the answer, or what went wrong.
    answer: String,
}

impl From<WebhookDelivery> for DeliveryShape {
    fn from(row: WebhookDelivery) -> Self {
        let status = match (row.due_at, &row.given_up) {
            (Some(_), _) => "waiting",
            (None, Some(_)) => "failed",
            (None, None) => "delivered",
        };
        let (run, state, policy) = match row.about {
            About::Run { run, state, policy } => (Some(run), Some(state), Some(policy)),
            About::Test { .. } => (None, None, None),
        };
        Self {
            id: row.seq,
            created_at: row.made_at,
            status,
            reason: row.given_up,
            run,
            state,
            policy,
            method: row.method,
            body: row.body,
            attempts: row.attempts.into_iter().map(AttemptShape::from).collect(),
        }
    }
}

impl From<Attempt> for AttemptShape {
    fn from(attempt: Attempt) -> Self {
        let (reason, by) = match attempt.reason {
            DeliveryReason::First => ("first", None),
            DeliveryReason::Retry => ("retry", None),
            DeliveryReason::Again { by } => ("again", Some(by.name)),
        };
        let Attempt { at, status, duration_ms, answer, .. } = attempt;
        Self { at, reason, by, status, duration_ms, answer }
    }
}

/// What was, and is to be, delivered to a webhook, the newest first. For admins.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", params(ListParams), responses((status = 200, body = List<DeliveryShape>)))]
async fn deliveries(
    asker: Asker,
    At(id): At<Slug>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<DeliveryShape>>> {
    asker.may_here(Permission::ManageWebhooks).await?;
    asker.web.queries.webhook(&id)?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let cursor: Option<Cursor> = paging.cursor()?;
    let page = asker.web.queries.webhook_deliveries(&id, cursor.as_ref(), paging.limit)?;
    Ok(Json(List::of_page(page, |row| Ok(row.into()))?))
}

/// Deliver once more what is done. For admins.
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{delivery}/redeliver", request_body = Nothing, responses((status = 202, description = "It is sent again"), (status = 409, description = "It is under way, or the webhook is switched off")))]
async fn redeliver(asker: Asker, At((id, delivery)): At<(Slug, u64)>, _: Body<Nothing>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageWebhooks).await?;
    asker.web.actions.redeliver_webhook(&permit, id, delivery).await?;
    Ok(StatusCode::ACCEPTED)
}
