//! What run tasks come back for, with the one-off token of their request and nothing else: results,
//! and until then the plan, the source and the facts of their run.
//!
//! The shapes are the public protocol's (JSON:API); errors, too.

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, patch},
};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::{
    Web,
    extract::{self, bearer},
    shield::From,
};
use crate::{
    actions::{Error, Opened, OpenedRun, OpenedSource, Secret},
    domain::{Refused, RefusedKind, TaskResultId, limits},
};

/// The media type of the public protocol.
const JSON_API: &str = "application/vnd.api+json";

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/api/v2/task-results/{id}/callback", patch(answer))
        .route("/api/v2/plans/{id}/json-output", get(plan))
        .route("/api/v2/downloads/{id}/{until}/{tag}", get(download))
        .route("/api/v2/configuration-versions/{id}/download", get(version))
        .route("/api/v2/configuration-versions/{id}/archive", get(archive))
        .route("/api/v2/runs/{id}", get(run))
        .route("/api/v2/runs/{id}/plan", get(run_plan))
}

/// A refusal in the protocol's words.
struct Trouble {
    status: StatusCode,
    errors: Vec<(String, Option<String>)>,
}

impl Trouble {
    fn of(refused: &Refused) -> Self {
        let status = match refused.kind {
            RefusedKind::Unauthenticated | RefusedKind::Reauthenticate => StatusCode::UNAUTHORIZED,
            RefusedKind::Forbidden | RefusedKind::NotFound => StatusCode::NOT_FOUND,
            RefusedKind::Conflict => StatusCode::CONFLICT,
            RefusedKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            RefusedKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            RefusedKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            RefusedKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let fields: Vec<_> =
            refused.fields.iter().map(|field| (field.error.clone(), Some(field.field.clone()))).collect();
        let errors = if fields.is_empty() { vec![(refused.detail.clone(), None)] } else { fields };
        Self { status, errors }
    }

    fn plain(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, errors: vec![(detail.into(), None)] }
    }

    fn not_found() -> Self {
        Self::plain(StatusCode::NOT_FOUND, "there is nothing at this address, or this token does not open it")
    }
}

impl std::convert::From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refused) => Self::of(&refused),
            Error::Fault(fault) => {
                tracing::error!(%fault, "a run task could not be answered");
                Self::plain(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here; try again")
            }
        }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default().to_lowercase();
        let errors: Vec<Value> = self
            .errors
            .into_iter()
            .map(|(detail, pointer)| {
                let mut error = json!({"status": self.status.as_str(), "title": title, "detail": detail});
                if let Some(pointer) = pointer {
                    error["source"] = json!({"pointer": pointer});
                }
                error
            })
            .collect();
        spoken(self.status, &json!({"errors": errors}))
    }
}

type Answer = Result<Response, Trouble>;

fn spoken(status: StatusCode, document: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, JSON_API)], document.to_string()).into_response()
}

/// Takes a callback. Who has no token cannot make the server read a body.
async fn answer(
    State(web): State<Web>,
    Path(id): Path<String>,
    Extension(from): Extension<From>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let id: TaskResultId = id.parse().map_err(|_| Trouble::not_found())?;
    let token = bearer(&headers);
    web.actions.may_answer(id, token, from.0)?;
    let body = extract::whole(body, limits::CALLBACK_BYTES as u64).await.map_err(|_| {
        let detail = format!("the body was cut off, or has more than {} bytes", limits::CALLBACK_BYTES);
        Trouble::plain(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    web.actions.answer_run_task(id, token.unwrap_or_default(), body, from.0).await?;
    Ok(StatusCode::OK.into_response())
}

/// The call that a token opens, if the address is about its run.
fn open(web: &Web, from: &From, headers: &HeaderMap, id: &str) -> Result<Opened, Trouble> {
    Ok(web.actions.open_with(bearer(headers), id, from.0)?)
}

async fn plan(State(web): State<Web>, Path(id): Path<String>, from: Extension<From>, headers: HeaderMap) -> Answer {
    let opened = open(&web, &from, &headers, &id)?;
    match web.actions.plan_link(&opened)? {
        Some(link) => redirect(StatusCode::TEMPORARY_REDIRECT, &link),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

fn redirect(status: StatusCode, to: &str) -> Answer {
    let to = HeaderValue::from_str(to).map_err(|_| Trouble::not_found())?;
    Ok((status, [(header::LOCATION, to)]).into_response())
}

/// Whoever has the address may have the plan, for as long as the address lives.
async fn download(
    State(web): State<Web>,
    Path((id, until, tag)): Path<(String, i64, String)>,
    Extension(from): Extension<From>,
) -> Answer {
    let id: TaskResultId = id.parse().map_err(|_| Trouble::not_found())?;
    let actions = web.actions.clone();
    let read = tokio::task::spawn_blocking(move || actions.linked_plan(id, until, &tag, from.0)).await;
    let plan: Secret<Vec<u8>> =
        read.map_err(|_| Trouble::plain(StatusCode::INTERNAL_SERVER_ERROR, "the plan cannot be read"))??;
    Ok(([(header::CONTENT_TYPE, "application/json")], plan.expose().clone()).into_response())
}

async fn version(State(web): State<Web>, Path(id): Path<String>, from: Extension<From>, headers: HeaderMap) -> Answer {
    let opened = open(&web, &from, &headers, &id)?;
    web.actions.opened_source(&opened)?;
    redirect(
        StatusCode::FOUND,
        &format!("{}/api/v2/configuration-versions/{id}/archive", web.actions.setup().public_url),
    )
}

async fn archive(State(web): State<Web>, Path(id): Path<String>, from: Extension<From>, headers: HeaderMap) -> Answer {
    let opened = open(&web, &from, &headers, &id)?;
    let body = match web.actions.opened_source(&opened)? {
        OpenedSource::Uploaded(path) => {
            let file = tokio::fs::File::open(path).await.map_err(|_| Trouble::not_found())?;
            Body::from_stream(ReaderStream::new(file))
        }
        OpenedSource::Fetched(fetched) => {
            let actions = web.actions.clone();
            let read = tokio::task::spawn_blocking(move || actions.fetched_source(&fetched)).await;
            let unread = |_| Trouble::plain(StatusCode::INTERNAL_SERVER_ERROR, "the source cannot be read");
            Body::from(read.map_err(unread)??.expose().clone())
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/gzip")], body).into_response())
}

async fn run(State(web): State<Web>, Path(id): Path<String>, from: Extension<From>, headers: HeaderMap) -> Answer {
    let opened = open(&web, &from, &headers, &id)?;
    let OpenedRun(document) = web.actions.show_run(&opened)?;
    Ok(spoken(StatusCode::OK, &document))
}

async fn run_plan(State(web): State<Web>, Path(id): Path<String>, from: Extension<From>, headers: HeaderMap) -> Answer {
    let opened = open(&web, &from, &headers, &id)?;
    let OpenedRun(document) = web.actions.show_plan(&opened)?;
    Ok(spoken(StatusCode::OK, &document))
}
