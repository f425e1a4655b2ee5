//! The lock of a stack.

use axum::{Json, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, shape::LockShape};
use crate::{
    auth::Permission,
    domain::{Note, Refused, Slug},
    http::{
        Problem, Web,
        extract::{Asker, At, Body},
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(lock, unlock))
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoteInput {
    #[serde(default)]
    note: Option<String>,
}

impl NoteInput {
    pub(super) fn read(&self) -> Answer<Option<Note>> {
        note("note", self.note.as_deref())
    }
}

/// An optional note in a field; a blank one is none.
pub(super) fn note(field: &str, text: Option<&str>) -> Answer<Option<Note>> {
    Note::optional(text).map_err(|error| Problem::from(Refused::field(field, error.to_string())))
}

/// Take the lock: what others ask for waits. Taking one's own again replaces the note.
#[utoipa::path(put, path = "/stacks/{stack}/lock", request_body = NoteInput, responses((status = 200, body = LockShape), (status = 409, description = "Somebody else holds it")))]
async fn lock(asker: Asker, At(slug): At<Slug>, Body { input, .. }: Body<NoteInput>) -> Answer<Json<LockShape>> {
    let (stack, permit) = asker.may_on(Permission::Lock, &slug).await?;
    let stack = asker.web.actions.lock_stack(&permit, stack.id, input.read()?).await?;
    let lock = stack.lock.as_ref().ok_or_else(Problem::internal)?;
    Ok(Json(lock.into()))
}

/// Release the lock: your own, or as an admin of the stack another's.
#[utoipa::path(delete, path = "/stacks/{stack}/lock", responses((status = 204, description = "It is free")))]
async fn unlock(asker: Asker, At(slug): At<Slug>) -> Answer<StatusCode> {
    let (stack, permit) = asker.may_on(Permission::Lock, &slug).await?;
    asker.web.actions.unlock_stack(&permit, stack.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
