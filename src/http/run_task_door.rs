//! `POST /run-tasks/{stack}/{declared task}`: Airlock as a run task of others.
//!
//! Who calls shows no token; the signature over the body is what lets them in.

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
    routing::post,
};
use serde_json::{Value, json};

use super::{Problem, Web, extract::whole, shield::From};
use crate::{
    actions::Taken,
    domain::{Refused, RefusedKind, Slug, TaskName, limits},
};

/// Names of the header with the signature, the present one first.
const SIGNATURES: [&str; 2] = ["x-tfc-task-signature", "x-tfc-event-hook-signature"];

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/run-tasks/{stack}/{task}", post(take))
}

async fn take(
    State(web): State<Web>,
    Extension(from): Extension<From>,
    Path((stack, task)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body = whole(body, limits::BODY_BYTES).await?;
    let signature = SIGNATURES.into_iter().find_map(|name| headers.get(name));
    let signature = signature.and_then(|value| value.to_str().ok()).unwrap_or_default();
    // What cannot be a name is answered like a name that nobody has.
    let (Ok(stack), Ok(task)) = (Slug::new(stack), TaskName::new(task)) else {
        web.actions.count_stranger(from.0, "run_task.call");
        let why = "no run task at this address knows this signature (X-TFC-Task-Signature)";
        return Err(Refused::new(RefusedKind::Unauthenticated, why).into());
    };
    let taken = web.actions.take_call(&stack, &task, signature, body, from.0).await?;
    Ok(Json(match taken {
        Taken::Verified => json!({"status": "verified"}),
        Taken::Taken => json!({"status": "taken"}),
    }))
}
