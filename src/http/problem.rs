//! Refusals and faults as answers: `application/problem+json` (RFC 9457), or a page for people.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    actions::{Error, Fault},
    domain::{FieldError, Refused, RefusedKind},
};

/// What went wrong, for whoever asked.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// A word that programs can tell problems apart by.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: &'static str,
    pub status: u16,
    /// Seconds after which it is worth trying again, for the header.
    #[serde(skip)]
    pub retry_after: Option<u16>,
    pub detail: String,
    /// The present state of a run, where the refusal is about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<str>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: Box<[FieldError]>,
    pub request_id: String,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title,
            status: status.as_u16(),
            retry_after: None,
            detail: detail.into(),
            state: None,
            errors: Box::default(),
            request_id: String::new(),
        }
    }

    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now", detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    pub fn internal() -> Self {
        let detail = "the fault is on our side; the log says more under this request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// An answer that some layer below gave without words of ours.
    pub fn of_status(status: StatusCode, detail: impl Into<String>) -> Self {
        let (kind, title) = match status.as_u16() {
            400 => ("bad_request", "Bad request"),
            401 => ("unauthenticated", "Not signed in"),
            403 => ("forbidden", "Forbidden"),
            404 => ("not_found", "Not found"),
            405 => ("method_not_allowed", "Method not allowed"),
            408 => ("timeout", "Request timed out"),
            409 => ("conflict", "Conflict"),
            413 => ("too_large", "Too large"),
            416 => ("range_not_satisfiable", "Range beyond the end"),
            415 => ("unsupported_media_type", "Unsupported media type"),
            422 => ("invalid", "Invalid input"),
            429 => ("too_many_requests", "Too many requests"),
            503 => ("unavailable", "Not available now"),
            _ => ("internal", "Internal error"),
        };
        Self::new(status, kind, title, detail)
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (status, kind, title) = match refused.kind {
            RefusedKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "Not signed in"),
            RefusedKind::Reauthenticate => (StatusCode::UNAUTHORIZED, "reauthenticate", "Show your password once more"),
            RefusedKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
            RefusedKind::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            RefusedKind::Conflict => (StatusCode::CONFLICT, "conflict", "Not possible at the moment"),
            RefusedKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Invalid input"),
            RefusedKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "Too large"),
            RefusedKind::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests"),
            RefusedKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now"),
        };
        Self {
            errors: refused.fields.into(),
            state: refused.state.map(Into::into),
            retry_after: refused.retry_after,
            ..Self::new(status, kind, title, refused.detail)
        }
    }
}

impl From<Fault> for Problem {
    /// Faults are logged here, where they are handled; whoever asked learns only what helps them.
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Full(_) | Fault::Busy | Fault::Closed => {
                tracing::warn!(%fault, "a request could not be served");
                Self::unavailable(fault.to_string())
            }
            _ => {
                tracing::error!(%fault, "a request failed");
                Self::internal()
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refused) => refused.into(),
            Error::Fault(fault) => fault.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"airlock\""));
        }
        if matches!(self.status, 429 | 503) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after.unwrap_or(1)));
        }
        // The shield adds the request's id, and turns it into a page where a person asked.
        response.extensions_mut().insert(self);
        response
    }
}
