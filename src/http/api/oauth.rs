//! `/oauth2/token`: an API key becomes a short-lived token (RFC 6749, 4.4 and 5).

use std::time::Duration;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::state::basic;
use crate::{
    auth::Who,
    domain::{Actor, limits},
    http::{Problem, Web, shield::From as Sender},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(token))
}

/// The form. Fields that are not known are none of our business (RFC 6749, 3.2).
#[derive(Default, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the standard's names")]
struct Grant {
    /// `api_token` or `client_credentials`.
    grant_type: Option<String>,
    /// An API key's secret, for `api_token`.
    api_token: Option<String>,
    /// An API key's id, for `client_credentials`, here or as user name of `Authorization: Basic`.
    client_id: Option<String>,
    /// Its secret.
    client_secret: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct TokenAnswer {
    access_token: String,
    /// Seconds.
    expires_in: u64,
    token_type: &'static str,
}

#[derive(Serialize, ToSchema)]
struct TokenError {
    error: &'static str,
    error_description: &'static str,
}

/// Why there is no token (RFC 6749, 5.2).
#[derive(Debug)]
enum NoToken {
    Request(&'static str),
    Grant,
    /// Wrong, whatever it is that is wrong.
    Client,
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for NoToken {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for NoToken {
    fn into_response(self) -> Response {
        let (status, error, description) = match self {
            Self::Request(why) => (StatusCode::BAD_REQUEST, "invalid_request", why),
            Self::Grant => (StatusCode::BAD_REQUEST, "unsupported_grant_type", "use api_token or client_credentials"),
            Self::Client => (StatusCode::UNAUTHORIZED, "invalid_client", "the API key is unknown, revoked or expired"),
            Self::Problem(problem) => return problem.into_response(),
        };
        (status, Json(TokenError { error, error_description: description })).into_response()
    }
}

/// Exchange an API key for a token: a form, or the same fields as JSON. The header `x-token-ttl` says for how many seconds, 60 to 900.
#[utoipa::path(post, path = "/oauth2/token", request_body(content = Grant, content_type = "application/x-www-form-urlencoded"), responses((status = 200, body = TokenAnswer), (status = 400, description = "The request is not understood", body = TokenError), (status = 401, description = "The key is wrong", body = TokenError)), security(()))]
async fn token(
    State(web): State<Web>,
    Extension(Sender(address)): Extension<Sender>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<TokenAnswer>, NoToken> {
    let grant = if is_json(&headers) { read_json(&body)? } else { read_form(&body)? };
    let secret = grant.secret(&headers)?;
    let Some(who) = web.queries.authenticate(&secret, address)?.filter(|who| grant.fits(&headers, who)) else {
        web.actions.count_stranger(address, "session.create");
        return Err(NoToken::Client);
    };
    let life = life(&headers);
    web.actions.note_use(&who).await?;
    let signed_in = web.actions.exchange(who, life).await?;
    let access_token = signed_in.token.expose().clone();
    Ok(Json(TokenAnswer { access_token, expires_in: life.as_secs(), token_type: "bearer" }))
}

fn life(headers: &HeaderMap) -> Duration {
    let asked = headers.get("x-token-ttl").and_then(|ttl| ttl.to_str().ok()?.trim().parse().ok());
    asked.map_or(limits::TOKEN_MAX, Duration::from_secs).clamp(limits::TOKEN_MIN, limits::TOKEN_MAX)
}

/// The standard knows a form only; clients of Upsun's API in JavaScript send JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json"))
}

fn read_json(body: &[u8]) -> Result<Grant, NoToken> {
    let fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).map_err(|_| NoToken::Request("the body is not a JSON object"))?;
    let mut grant = Grant::default();
    for (name, value) in fields {
        if let serde_json::Value::String(value) = value {
            grant.take(&name, value)?;
        }
    }
    Ok(grant)
}

fn read_form(body: &[u8]) -> Result<Grant, NoToken> {
    let mut grant = Grant::default();
    for (name, value) in url::form_urlencoded::parse(body) {
        grant.take(&name, value.into_owned())?;
    }
    Ok(grant)
}

impl Grant {
    fn take(&mut self, name: &str, value: String) -> Result<(), NoToken> {
        let field = match name {
            "grant_type" => &mut self.grant_type,
            "api_token" => &mut self.api_token,
            "client_id" => &mut self.client_id,
            "client_secret" => &mut self.client_secret,
            _ => return Ok(()),
        };
        match field.replace(value) {
            Some(_) => Err(NoToken::Request("a field is given twice")),
            None => Ok(()),
        }
    }

    /// What proves who asks.
    fn secret(&self, headers: &HeaderMap) -> Result<String, NoToken> {
        match self.grant_type.as_deref() {
            None => Err(NoToken::Request("`grant_type` is missing; send a form")),
            Some("api_token") => self.api_token.clone().ok_or(NoToken::Request("`api_token` is missing")),
            Some("client_credentials") => {
                let given = basic(headers).map(|(_, secret)| secret).or_else(|| self.client_secret.clone());
                given.ok_or(NoToken::Request("`client_id` and `client_secret` are missing"))
            }
            Some(_) => Err(NoToken::Grant),
        }
    }

    /// Whether it is a key itself, no token made from one, and the key that the client says it is.
    fn fits(&self, headers: &HeaderMap, who: &Who) -> bool {
        let Actor::ApiKey { id, .. } = &who.actor else { return false };
        if who.session.is_some() {
            return false;
        }
        match self.grant_type.as_deref() {
            Some("client_credentials") => {
                let named = basic(headers).map(|(id, _)| id).or_else(|| self.client_id.clone());
                named.is_some_and(|named| named.parse() == Ok(*id))
            }
            Some(_) | None => true,
        }
    }
}
