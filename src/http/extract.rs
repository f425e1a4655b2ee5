//! Who asks, from where, and input that says what is wrong with it.

use axum::{
    Extension,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts, uri::InvalidUri},
};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::{
    Problem, Web,
    shield::{From, RequestId},
};
use crate::{
    actions::{Incoming, Once, Scratch, Secret},
    auth::{On, Permission, Permit, Who, permit},
    domain::{Actor, Digest, Refused, RefusedKind, RunId, Slug, StackId, limits},
    queries::{Run, Stack},
};

/// The session's cookie, with and without TLS: browsers let nobody but this host set the former.
const COOKIE_SECURE: &str = "__Host-airlock";
const COOKIE_PLAIN: &str = "airlock";

/// The name of the session's cookie on this server: the only one that it sets, and believes.
pub fn session_cookie(web: &Web) -> &'static str {
    if web.secure() { COOKIE_SECURE } else { COOKIE_PLAIN }
}

/// The value of a cookie.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        })
}

/// The token that a request shows: `Authorization: Bearer …`, else the session's cookie.
pub fn token<'h>(web: &Web, headers: &'h HeaderMap) -> Option<&'h str> {
    match headers.contains_key(header::AUTHORIZATION) {
        true => bearer(headers),
        false => cookie(headers, session_cookie(web)),
    }
}

/// The token of `Authorization: Bearer …`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Somebody who showed who they are.
#[derive(Clone, Debug)]
pub struct Asker {
    pub who: Who,
    pub web: Web,
    pub request_id: String,
}

impl FromRequestParts<Web> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        Self::by_token(parts, web, token(web, &parts.headers)).await
    }
}

impl Asker {
    /// Whoever holds the token that a request showed, if it showed one. Running tasks have an API of
    /// their own.
    pub async fn by_token(parts: &Parts, web: &Web, token: Option<&str>) -> Result<Self, Problem> {
        let asker = Self::by_any_token(parts, web, token).await?;
        if asker.who.workload().is_some() {
            return Err(Refused::forbidden("the token of a running task is for /projects/…").into());
        }
        Ok(asker)
    }

    /// As [`Asker::by_token`], running tasks included.
    pub async fn by_any_token(parts: &Parts, web: &Web, token: Option<&str>) -> Result<Self, Problem> {
        let address = parts.extensions.get::<From>().and_then(|from| from.0);
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let Some(token) = token else {
            web.actions.count_stranger(address, "request");
            return Err(Refused::new(
                RefusedKind::Unauthenticated,
                "show an API key or a token: `Authorization: Bearer …`",
            )
            .into());
        };
        let Some(who) = web.queries.authenticate(token, address)? else {
            web.actions.count_stranger(address, "request");
            return Err(Refused::new(
                RefusedKind::Unauthenticated,
                "the token is unknown, was revoked, or has expired",
            )
            .into());
        };
        web.actions.note_use(&who).await?;
        let who = web.actions.narrowed(who).await?;
        Ok(Self { who, web: web.clone(), request_id })
    }

    /// A permit, or the refusal that is written to the audit log.
    pub async fn may(&self, permission: Permission, on: On, object: &str) -> Result<Permit, Problem> {
        match permit(&self.who, permission, on, self.web.actions.now()) {
            Ok(permit) => Ok(permit),
            Err(refused) => {
                self.web.actions.refused(&self.who, permission.verb(), object, &refused).await;
                Err(refused.into())
            }
        }
    }

    /// A permit for the installation as a whole.
    pub async fn may_here(&self, permission: Permission) -> Result<Permit, Problem> {
        self.may(permission, On::Installation, "installation").await
    }

    /// A stack that the asker may see, and the permit to do something to it.
    pub async fn may_on(&self, permission: Permission, slug: &Slug) -> Result<(Stack, Permit), Problem> {
        let object = format!("stack:{slug}");
        let stack = self.seen(permission, &object, self.web.queries.stack(&self.who, slug)).await?;
        let permit = self.may(permission, On::Stack(stack.id), &object).await?;
        Ok((stack, permit))
    }

    /// A run that the asker may see, and the permit to do something to it.
    pub async fn may_on_run(&self, permission: Permission, id: RunId) -> Result<(Run, Permit), Problem> {
        let object = id.to_string();
        let run = self.seen(permission, &object, self.web.queries.run(&self.who, id)).await?;
        let permit = self.may(permission, On::Stack(run.stack), &object).await?;
        Ok((run, permit))
    }

    /// What something is to be done to. To do more than look at what one may not even see is an attempt
    /// that is written to the audit log.
    pub async fn seen<T>(
        &self,
        permission: Permission,
        object: &str,
        found: Result<T, crate::actions::Error>,
    ) -> Result<T, Problem> {
        if let Err(crate::actions::Error::Refused(refused)) = &found
            && permission != Permission::See
        {
            self.web.actions.refused(&self.who, permission.verb(), object, refused).await;
        }
        Ok(found?)
    }

    /// The `Idempotency-Key` of a request, with a fingerprint of what it asks for.
    pub fn once(&self, headers: &HeaderMap, path: &str, body: &[u8]) -> Result<Option<Once>, Problem> {
        let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
        let key = value.to_str().unwrap_or_default();
        let actor = match &self.who.actor {
            Actor::User { id, .. } => id.to_string(),
            Actor::ApiKey { id, .. } => id.to_string(),
            Actor::Workload { run, .. } => run.to_string(),
            Actor::System => "system".to_owned(),
        };
        Ok(Some(Once::new(&actor, key, &[path.as_bytes(), body])?))
    }
}

/// Bytes of a body, where an address has a bound of its own.
#[derive(Clone, Copy, Debug)]
pub struct Most(u64);

/// Bodies of at most so many bytes, for routes; [`Body`] says it of one that is larger.
pub fn at_most(bytes: usize) -> (Extension<Most>, DefaultBodyLimit) {
    (Extension(Most(bytes as u64)), DefaultBodyLimit::max(bytes))
}

/// A JSON body. Says what is wrong with one that does not fit, by name.
#[derive(Debug)]
pub struct Body<T> {
    pub input: T,
    /// The body as it came, for fingerprints.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<Web> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        let is_json = kind.is_empty() || kind.starts_with("application/json") || kind.contains("+json");
        let most = request.extensions().get::<Most>().map_or(limits::BODY_BYTES, |most| most.0);
        let bytes = Bytes::from_request(request, web).await.map_err(|rejection| {
            let status = axum::response::IntoResponse::into_response(rejection).status();
            let detail = format!("the body has more than {most} bytes");
            Problem::of_status(status, detail)
        })?;
        if !is_json && !bytes.is_empty() {
            return Err(Problem::of_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON: `Content-Type: application/json`",
            ));
        }
        let input = read_json(if bytes.is_empty() { b"{}" } else { &bytes })?;
        Ok(Self { input, bytes })
    }
}

/// Reads JSON; what does not fit is named by its path.
fn read_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let input = serde_path_to_error::deserialize(&mut reader).map_err(|error| match error.inner().classify() {
        serde_json::error::Category::Data => Problem::from(misfit(&error)),
        _ => not_json(error.inner()),
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(input)
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::of_status(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))
}

/// The refusal of input that has not the shape it must have: the field, and what is wrong with it.
pub fn misfit(error: &serde_path_to_error::Error<serde_json::Error>) -> Refused {
    let text = error.inner().to_string();
    let field = field(&error.path().to_string(), &text);
    if field.is_empty() {
        return Refused::invalid(format!("the body does not fit: {text}"));
    }
    let detail = format!("the body does not fit: {field}: {text}");
    Refused { detail, ..Refused::field(field, text) }
}

/// The whole path of a field: where one is missing or unknown, only the text says which.
fn field(path: &str, text: &str) -> String {
    let path = if matches!(path, "." | "?") { "" } else { path };
    let named = ["missing field `", "unknown field `"].iter().find_map(|begin| text.strip_prefix(begin));
    match named.and_then(|rest| rest.split('`').next()) {
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) if path.rsplit('.').next() != Some(name) => format!("{path}.{name}"),
        Some(_) | None => path.to_owned(),
    }
}

/// The query's parameters. Of a list's filters one without a value is as none; where something is to be
/// done, it is a mistake. Which names a route knows is looked at before (`api::docs`).
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Web> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Problem> {
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let said = query.filter(|(_, value)| !(parts.method.is_safe() && value.is_empty()));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(said).finish();
        let wrong = |why: String| Problem::of_status(StatusCode::UNPROCESSABLE_ENTITY, why);
        let uri = format!("/?{query}").parse().map_err(|error: InvalidUri| wrong(error.to_string()))?;
        match Query::try_from_uri(&uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(wrong(rejection.body_text())),
        }
    }
}

/// The names in a path. What cannot be such a name names nothing: 404.
#[derive(Debug)]
pub struct At<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Web> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, web).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(rejection) => Err(Problem::not_found(rejection.body_text())),
        }
    }
}

/// A body as it is, of at most `most` bytes. Read it once it is known that the sender may.
pub async fn whole(body: axum::body::Body, most: u64) -> Result<Secret<Vec<u8>>, Problem> {
    let too_large =
        || Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {most} bytes"));
    let mut whole = Secret::new(Vec::new());
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::of_status(StatusCode::BAD_REQUEST, "the body was cut off"))?;
        if (whole.expose().len() + chunk.len()) as u64 > most {
            return Err(too_large());
        }
        whole.expose_mut().extend_from_slice(&chunk);
    }
    Ok(whole)
}

/// Takes a file in as it comes; gives it with its digest.
pub async fn taken_in(mut incoming: Incoming, body: axum::body::Body) -> Result<(Scratch, Digest), Problem> {
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::of_status(StatusCode::BAD_REQUEST, "the body was cut off"))?;
        incoming.write(&chunk).await?;
    }
    Ok(incoming.finish_with_digest().await?)
}

/// A stack's id for its slug, in input of admins.
pub fn stack_id(web: &Web, slug: &Slug) -> Result<StackId, Problem> {
    let found = web.queries.stack_id(slug)?;
    found.ok_or_else(|| Refused::field("stack", format!("there is no stack `{slug}`")).into())
}
