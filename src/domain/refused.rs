//! The domain says no: a sentence fit for the person who asked.

use std::time::Duration;

use serde::Serialize;

/// What sort of no it is; the HTTP status, the exit code and the page follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedKind {
    /// Nobody is signed in, or what they showed is not valid.
    Unauthenticated,
    /// Signed in too long ago for this.
    Reauthenticate,
    /// It exists, but this actor may not do this to it.
    Forbidden,
    /// It does not exist, or this actor may not know that it does.
    NotFound,
    /// The present state does not allow it.
    Conflict,
    /// The input is not valid.
    Invalid,
    /// The input is too large.
    TooLarge,
    /// Too many requests.
    TooMany,
    /// The system cannot do it now (disk full, shutting down).
    Unavailable,
}

/// One field that is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub field: String,
    pub error: String,
}

/// A refusal: what, why, and what next. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    pub kind: RefusedKind,
    /// What and why, as a sentence without a full stop.
    pub detail: String,
    /// Fields of the input that are wrong.
    pub fields: Vec<FieldError>,
    /// The present state, where the refusal is about one.
    pub state: Option<String>,
    /// Seconds after which another try may go better, where that is known.
    pub retry_after: Option<u16>,
}

impl Refused {
    pub fn new(kind: RefusedKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), fields: Vec::new(), state: None, retry_after: None }
    }

    /// Too many requests; it is worth trying again after `wait`, in whole seconds.
    pub fn too_many(what: impl std::fmt::Display, wait: Duration) -> Self {
        let seconds = u16::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u16::MAX).max(1);
        let detail = format!("{what}; try again in {seconds} s");
        Self { retry_after: Some(seconds), ..Self::new(RefusedKind::TooMany, detail) }
    }

    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(RefusedKind::NotFound, format!("{what} does not exist, or you may not see it"))
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(RefusedKind::Forbidden, detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(RefusedKind::Conflict, detail)
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(RefusedKind::Invalid, detail)
    }

    /// One field is wrong.
    pub fn field(field: impl Into<String>, error: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), error: error.into() }])
    }

    /// A field names what exists already.
    pub fn taken(field: impl Into<String>, error: impl Into<String>) -> Self {
        Self { kind: RefusedKind::Conflict, ..Self::field(field, error) }
    }

    /// Several fields are wrong.
    pub fn fields(fields: Vec<FieldError>) -> Self {
        let detail =
            fields.iter().map(|field| format!("{}: {}", field.field, field.error)).collect::<Vec<_>>().join("; ");
        Self { fields, ..Self::new(RefusedKind::Invalid, detail) }
    }

    #[must_use]
    pub fn in_state(mut self, state: impl Into<String>) -> Self {
        self.state = Some(state.into());
        self
    }
}
