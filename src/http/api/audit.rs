//! The audit log.

use axum::{
    Json,
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging},
    shape::ActorShape,
    words,
};
use crate::{
    actions::Error,
    auth::Permission,
    domain::{Refused, Timestamp},
    http::{
        Web,
        extract::{Asker, Params},
    },
    queries::{AuditEntry, AuditFilter, Outcome, Page, Queries},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(audit))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    /// `user:alice`, or a name alone.
    actor: Option<String>,
    verb: Option<String>,
    object: Option<String>,
    /// RFC 3339, included.
    from: Option<String>,
    /// RFC 3339, not included.
    to: Option<String>,
    /// `jsonl`: everything that fits, from the first entry on, an entry a line.
    format: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl AuditParams {
    fn filter(&self) -> Result<AuditFilter, Refused> {
        Ok(AuditFilter {
            actor: self.actor.clone(),
            verb: self.verb.clone(),
            object: self.object.clone(),
            from: time("from", self.from.as_deref())?,
            to: time("to", self.to.as_deref())?,
        })
    }
}

fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Refused> {
    let read =
        |text: &str| text.parse().map_err(|_| Refused::field(field, "must be a time such as 2026-01-31T12:00:00Z"));
    text.map(read).transpose()
}

/// One entry. `previous` is the hash of the one before.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct EntryShape {
    seq: u64,
    #[schema(schema_with = words::time)]
    at: Timestamp,
    actor: ActorShape,
    address: Option<String>,
    verb: String,
    object: String,
    /// `done` or `refused`.
    outcome: &'static str,
    detail: Option<String>,
    previous: String,
    /// SHA-256 over the entry's fields, `previous` among them.
    hash: String,
}

impl From<AuditEntry> for EntryShape {
    fn from(entry: AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at,
            actor: (&entry.actor).into(),
            address: entry.address,
            verb: entry.verb,
            object: entry.object,
            outcome: match entry.outcome {
                Outcome::Done => "done",
                Outcome::Refused => "refused",
            },
            detail: entry.detail,
            previous: entry.previous,
            hash: entry.hash,
        }
    }
}

/// The audit log, the newest entry first; as `jsonl` whole and in order, to keep or to verify. For
/// admins.
#[utoipa::path(get, path = "/audit", params(AuditParams), responses((status = 200, content((List<EntryShape> = "application/json"), (String = "application/jsonl")))))]
async fn audit(asker: Asker, Params(params): Params<AuditParams>) -> Answer<Response> {
    asker.may_here(Permission::SeeAudit).await?;
    let filter = params.filter()?;
    match params.format.as_deref() {
        None | Some("json") => {}
        Some("jsonl") => return Ok(export(asker.web.queries.clone(), filter)),
        Some(_) => return Err(Refused::field("format", "must be json or jsonl").into()),
    }
    let paging = Paging::new(params.limit, params.cursor)?;
    let page = asker.web.queries.audit(&filter, paging.cursor()?.as_ref(), paging.limit)?;
    let page = Page { items: page.entries, next: page.next };
    Ok(Json(List::of_page(page, |entry| Ok(EntryShape::from(entry)))?).into_response())
}

/// Everything that fits, a block at a time.
fn export(queries: Queries, filter: AuditFilter) -> Response {
    let blocks = stream::try_unfold(Some(0), move |first| {
        let (queries, filter) = (queries.clone(), filter.clone());
        async move {
            let Some(first) = first else { return Ok(None) };
            let read = tokio::task::spawn_blocking(move || queries.audit_block(&filter, first));
            let (entries, next) = read.await.map_err(std::io::Error::other)?.map_err(broken)?;
            let lines = entries.into_iter().map(line).collect::<String>();
            Ok::<_, std::io::Error>(Some((Bytes::from(lines), next)))
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/jsonl")];
    (kind, Body::from_stream(blocks)).into_response()
}

fn broken(error: Error) -> std::io::Error {
    tracing::error!(%error, "an export of the audit log broke off");
    std::io::Error::other(error)
}

fn line(entry: AuditEntry) -> String {
    let json = serde_json::to_string(&EntryShape::from(entry)).expect("an entry is JSON");
    json + "\n"
}
