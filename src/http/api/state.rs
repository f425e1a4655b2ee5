//! The managed state of a stack: Terraform's HTTP backend for people's own machines, and its versions
//! for admins.
//!
//! Terraform's `http` backend is pointed at `/state/{stack}` for `address`, `lock_address` and
//! `unlock_address`, with `LOCK` and `UNLOCK` as methods and a token as password.

use axum::{
    Json, Router,
    body::Body,
    extract::{FromRequestParts, RawQuery},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
    routing::any,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging, newest_first},
    shape::ActorShape,
    words,
};
use crate::{
    actions::LOCKED,
    auth::{Permission, Permit},
    domain::{Refused, RunId, Slug, StackId, Timestamp, limits},
    http::{
        Problem, Web,
        extract::{Asker, At, Body as JsonBody, Params, token, whole},
    },
    queries::{StateLock, StateVersion},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(import)).routes(routes!(versions)).routes(routes!(roll_back))
}

/// Terraform's own protocol, which has methods that no description knows.
pub(super) fn backend() -> Router<Web> {
    Router::new().route("/state/{stack}", any(door))
}

/// Somebody who showed a token as Terraform does: as a password.
struct Machine(Asker);

impl FromRequestParts<Web> for Machine {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let password = password(&parts.headers);
        let token = password.as_deref().or_else(|| token(web, &parts.headers));
        Asker::by_token(parts, web, token).await.map(Self)
    }
}

/// The password of `Authorization: Basic`; the name does not matter.
pub(super) fn password(headers: &HeaderMap) -> Option<String> {
    basic(headers).map(|(_, password)| password)
}

/// Name and password of `Authorization: Basic`.
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

const METHODS: &str = "GET, POST, PUT, DELETE, LOCK, UNLOCK";

/// What Terraform asks for.
async fn door(
    Machine(asker): Machine,
    At(slug): At<Slug>,
    method: Method,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer<Response> {
    let (stack, permit) = asker.may_on(Permission::UseState, &slug).await?;
    let asked = Asked { asker, permit, stack: stack.id, lock: lock_id(query.as_deref().unwrap_or_default())? };
    match method.as_str() {
        "GET" => asked.read().await,
        "POST" | "PUT" => asked.write(body).await,
        "DELETE" => asked.delete().await,
        "LOCK" => asked.lock(body).await,
        "UNLOCK" => asked.unlock(body).await,
        _ => {
            let problem = Problem::of_status(StatusCode::METHOD_NOT_ALLOWED, format!("{METHODS} are taken here"));
            Ok(([(header::ALLOW, METHODS)], problem).into_response())
        }
    }
}

/// `?ID=`: the lock that the writer holds.
fn lock_id(query: &str) -> Result<Option<String>, Refused> {
    let mut lock = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name != "ID" {
            return Err(Refused::field(name, "is not a parameter of this address; it takes ID"));
        }
        lock = Some(value.into_owned());
    }
    Ok(lock)
}

struct Asked {
    asker: Asker,
    permit: Permit,
    stack: StackId,
    lock: Option<String>,
}

impl Asked {
    async fn read(self) -> Answer<Response> {
        let state = self.asker.web.actions.current_state(&self.permit, self.stack).await?;
        Ok(match state {
            Some(state) => ([(header::CONTENT_TYPE, "application/json")], state.expose().clone()).into_response(),
            None => StatusCode::NO_CONTENT.into_response(),
        })
    }

    async fn write(self, body: Body) -> Answer<Response> {
        let state = whole(body, limits::STATE_BYTES).await?;
        let written = self.asker.web.actions.write_state(&self.permit, self.stack, state, self.lock.clone()).await;
        self.answer(written.map(drop))
    }

    async fn delete(self) -> Answer<Response> {
        let deleted = self.asker.web.actions.delete_state(&self.permit, self.stack, self.lock.clone()).await;
        self.answer(deleted)
    }

    async fn lock(self, body: Body) -> Answer<Response> {
        let info = self.document(body).await?;
        let locked = self.asker.web.actions.lock_state(&self.permit, self.stack, info).await;
        self.answer(locked)
    }

    /// An empty document is how Terraform forces a lock open.
    async fn unlock(self, body: Body) -> Answer<Response> {
        let info = self.document(body).await?;
        let lock = match info.as_str() {
            "" => None,
            info => Some(
                serde_json::from_str::<LockInfo>(info).map_err(|_| Refused::invalid("this is no lock document"))?.id,
            ),
        };
        let unlocked = self.asker.web.actions.unlock_state(&self.permit, self.stack, lock).await;
        self.answer(unlocked)
    }

    async fn document(&self, body: Body) -> Answer<String> {
        let bytes = whole(body, limits::BODY_BYTES).await?;
        String::from_utf8(bytes.expose().clone()).map_err(|_| Refused::invalid("the lock document is not text").into())
    }

    /// A lock that somebody else holds is answered with its document, which Terraform shows.
    fn answer(&self, done: Result<(), crate::actions::Error>) -> Answer<Response> {
        let problem = match done {
            Ok(()) => return Ok(StatusCode::OK.into_response()),
            Err(error) => Problem::from(error),
        };
        if problem.state.as_deref() != Some(LOCKED) {
            return Err(problem);
        }
        let held = self.asker.web.queries.state_lock(self.stack)?;
        let info = held.map_or_else(|| LockInfo::of_problem(&problem), |held| LockInfo::of(&held));
        let mut response = (StatusCode::LOCKED, Json(info)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

/// Terraform's lock document (`statemgr.LockInfo`).
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LockInfo {
    #[serde(rename = "ID")]
    id: String,
    operation: String,
    info: String,
    who: String,
    version: String,
    created: String,
    path: String,
}

impl LockInfo {
    fn of(held: &StateLock) -> Self {
        let given = held.info.as_deref().and_then(|info| serde_json::from_str(info).ok());
        given.unwrap_or_else(|| Self {
            id: held.run.map(|run| run.to_string()).unwrap_or_default(),
            operation: "run".to_owned(),
            who: held.by.name.clone(),
            created: held.since.to_string(),
            ..Self::default()
        })
    }

    /// The stack itself is locked.
    fn of_problem(problem: &Problem) -> Self {
        Self { id: LOCKED.to_owned(), info: problem.detail.clone(), ..Self::default() }
    }
}

/// A version of the state.
#[derive(Serialize, ToSchema)]
#[schema(as = StateVersion)]
struct VersionShape {
    version: u64,
    /// Terraform's own counter.
    serial: u64,
    lineage: String,
    /// Zero for a version that says that the state was deleted.
    size: u64,
    resources: u32,
    #[schema(schema_with = words::time)]
    at: Timestamp,
    by: ActorShape,
    /// The run that wrote it; null: a person.
    #[schema(value_type = Option<String>)]
    run: Option<RunId>,
}

impl From<StateVersion> for VersionShape {
    fn from(row: StateVersion) -> Self {
        Self {
            version: row.version,
            serial: row.serial,
            lineage: row.lineage,
            size: row.size,
            resources: row.resources,
            at: row.at,
            by: (&row.by).into(),
            run: row.run,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every version of the state, the newest first. Writers may see them.
#[utoipa::path(get, path = "/stacks/{stack}/state/versions", params(ListParams), responses((status = 200, body = List<VersionShape>)))]
async fn versions(
    asker: Asker,
    At(slug): At<Slug>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<VersionShape>>> {
    let (stack, _) = asker.may_on(Permission::UseState, &slug).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.state_versions(stack.id)?;
    let key = |row: &StateVersion| newest_first(row.version.into());
    Ok(Json(List::by_key(rows, &paging, key, |row| Ok(row.into()))?))
}

/// Put an existing Terraform state in, whatever was there. As an admin of the stack, while you hold its
/// lock.
#[utoipa::path(put, path = "/stacks/{stack}/state", request_body(content = Vec<u8>, content_type = "application/json"), responses((status = 201, body = VersionShape)))]
async fn import(asker: Asker, At(slug): At<Slug>, body: Body) -> Answer<(StatusCode, Json<VersionShape>)> {
    let (stack, permit) = asker.may_on(Permission::EditStack, &slug).await?;
    let state = whole(body, limits::STATE_BYTES).await?;
    let version = asker.web.actions.import_state_file(&permit, stack.id, state).await?;
    Ok((StatusCode::CREATED, Json(version.into())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    /// The version that becomes the newest again.
    version: u64,
}

/// Make an earlier version the newest again, as a version of its own. As an admin of the stack, while
/// you hold its lock.
#[utoipa::path(post, path = "/stacks/{stack}/state/rollback", request_body = Rollback, responses((status = 201, body = VersionShape)))]
async fn roll_back(
    asker: Asker,
    At(slug): At<Slug>,
    headers: HeaderMap,
    JsonBody { input, bytes }: JsonBody<Rollback>,
) -> Answer<(StatusCode, Json<VersionShape>)> {
    let (stack, permit) = asker.may_on(Permission::EditStack, &slug).await?;
    let once = asker.once(&headers, &format!("/stacks/{slug}/state/rollback"), &bytes)?;
    let version = asker.web.actions.roll_back_state(&permit, stack.id, input.version, once).await?;
    Ok((StatusCode::CREATED, Json(version.into())))
}
