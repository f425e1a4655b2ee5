//! Who asks, from where, and input that says what is wrong with it.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{
    Problem, Web,
    shield::{From, RequestId},
};
use crate::{
    actions::Once,
    auth::{On, Permission, Permit, Who, permit},
    domain::{Refused, RefusedKind, RunId, Slug, StackId},
    queries::{Run, Stack},
};

/// Names of the session's cookie, with and without TLS.
pub const COOKIE_SECURE: &str = "__Host-airlock";
pub const COOKIE_PLAIN: &str = "airlock";

/// The value of a cookie.
pub fn cookie<'h>(headers: &'h axum::http::HeaderMap, name: &str) -> Option<&'h str> {
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
pub fn token(headers: &axum::http::HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    cookie(headers, COOKIE_SECURE).or_else(|| cookie(headers, COOKIE_PLAIN))
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
        let address = parts.extensions.get::<From>().and_then(|from| from.0);
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let Some(token) = token(&parts.headers) else {
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
        Ok(Self { who, web: web.clone(), request_id })
    }
}

impl Asker {
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
        let stack = match self.web.queries.stack(&self.who, slug) {
            Ok(stack) => stack,
            Err(error) => return Err(self.hidden(permission, &object, error).await),
        };
        let permit = self.may(permission, On::Stack(stack.id), &object).await?;
        Ok((stack, permit))
    }

    /// A run that the asker may see, and the permit to do something to it.
    pub async fn may_on_run(&self, permission: Permission, id: RunId) -> Result<(Run, Permit), Problem> {
        let object = id.to_string();
        let run = match self.web.queries.run(&self.who, id) {
            Ok(run) => run,
            Err(error) => return Err(self.hidden(permission, &object, error).await),
        };
        let permit = self.may(permission, On::Stack(run.stack), &object).await?;
        Ok((run, permit))
    }

    async fn hidden(&self, permission: Permission, object: &str, error: crate::actions::Error) -> Problem {
        if let crate::actions::Error::Refused(refused) = &error
            && permission != Permission::See
        {
            self.web.actions.refused(&self.who, permission.verb(), object, refused).await;
        }
        error.into()
    }

    /// The `Idempotency-Key` of a request, with a fingerprint of what it asks for.
    pub fn once(&self, headers: &axum::http::HeaderMap, path: &str, body: &[u8]) -> Result<Option<Once>, Problem> {
        let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
        let key = value.to_str().unwrap_or_default();
        let actor = format!("{}:{}", self.who.actor.kind().word(), self.who.actor.name());
        Ok(Some(Once::new(&actor, key, &[path.as_bytes(), body])?))
    }
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
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_json = kind.is_empty() || kind.starts_with("application/json") || kind.contains("+json");
        let bytes = Bytes::from_request(request, web).await.map_err(|rejection| {
            let status = axum::response::IntoResponse::into_response(rejection).status();
            let detail = format!("the body has more than {} bytes", crate::domain::limits::BODY_BYTES);
            Problem::of_status(status, detail)
        })?;
        if !is_json && !bytes.is_empty() {
            return Err(Problem::of_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON: `Content-Type: application/json`",
            ));
        }
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let input = serde_json::from_slice(text).map_err(|error| {
            let status = match error.classify() {
                serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::BAD_REQUEST,
            };
            Problem::of_status(status, format!("the body does not fit: {error}"))
        })?;
        Ok(Self { input, bytes })
    }
}

/// A stack's id for its slug, in input of admins.
pub fn stack_id(web: &Web, slug: &Slug) -> Result<StackId, Problem> {
    let found = web.queries.stack_id(slug)?;
    found.ok_or_else(|| Refused::field("stack", format!("there is no stack `{slug}`")).into())
}
