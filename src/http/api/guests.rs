//! Registered guests, and what guests left of a run.

use axum::{
    Json,
    body::Body as RawBody,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging},
    lock::NoteInput,
    runs::{Made, made},
    words,
};
use crate::{
    actions::NewGuest,
    auth::Permission,
    domain::{
        Digest, GuestName, Phase, Refused, RunId, Timestamp,
        guest::{Artifact, PatchSummary, Receipt},
    },
    http::{
        Problem, Web,
        extract::{Asker, At, Body, Params, taken_in},
    },
    queries::{ArtifactRow, GuestRow, Left},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list, import))
        .routes(routes!(remove))
        .routes(routes!(artifacts))
        .routes(routes!(artifact))
        .routes(routes!(receipt))
        .routes(routes!(patch))
        .routes(routes!(propose))
}

/// A guest that stacks and tasks may name.
#[derive(Serialize, ToSchema)]
#[schema(as = Guest)]
struct GuestShape {
    #[schema(value_type = String)]
    name: GuestName,
    #[schema(value_type = String)]
    digest: Digest,
    /// `core` or `component`.
    kind: &'static str,
    /// Bytes.
    size: u64,
    /// It interprets scripts, and gets fuel for that.
    interpreter: bool,
    /// It came with Airlock.
    bundled: bool,
    #[schema(schema_with = words::maybe_time)]
    imported_at: Option<Timestamp>,
    imported_by: Option<String>,
    /// Stacks that name it.
    stacks: Vec<String>,
}

impl From<GuestRow> for GuestShape {
    fn from(row: GuestRow) -> Self {
        let (imported_at, imported_by) = row.imported.map(|(at, by)| (at, by.name)).unzip();
        Self {
            name: row.name,
            digest: row.digest,
            kind: row.kind.word(),
            size: row.size,
            interpreter: row.interpreter,
            bundled: row.bundled.is_some(),
            imported_at,
            imported_by,
            stacks: row.stacks,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every guest, by name.
#[utoipa::path(get, path = "/guests", params(ListParams), responses((status = 200, body = List<GuestShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<GuestShape>>> {
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.guests(&asker.who)?;
    Ok(Json(List::by_key(rows, &paging, |row| row.name.clone(), |row| Ok(row.into()))?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ImportParams {
    /// What stacks and tasks will call it. What has this name already is replaced.
    name: Option<String>,
    /// It interprets scripts, and gets fuel for that.
    #[serde(default)]
    interpreter: bool,
}

/// Import a guest of at most 64 MiB. It is compiled before the answer, in a bounded jail: 422 says why
/// it cannot be a guest. For admins.
#[utoipa::path(post, path = "/guests", params(ImportParams), request_body(content = Vec<u8>, content_type = "application/wasm"), responses((status = 201, body = GuestShape)))]
async fn import(
    asker: Asker,
    Params(params): Params<ImportParams>,
    headers: HeaderMap,
    body: RawBody,
) -> Answer<(StatusCode, Json<GuestShape>)> {
    let permit = asker.may_here(Permission::ManageGuests).await?;
    let name =
        GuestName::new(params.name.unwrap_or_default()).map_err(|error| Refused::field("name", error.to_string()))?;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let actions = &asker.web.actions;
    let (file, digest) = taken_in(actions.receive_guest(&permit, declared).await?, body).await?;
    let asked = format!("/guests?name={name}&interpreter={}", params.interpreter);
    let once = asker.once(&headers, &asked, digest.as_str().as_bytes())?;
    let new = NewGuest { name, interpreter: params.interpreter };
    let guest = actions.import_guest(&permit, new, file, once).await?;
    let row = GuestRow {
        name: guest.name,
        digest: guest.digest,
        kind: guest.kind,
        size: guest.size,
        interpreter: guest.interpreter,
        bundled: None,
        imported: Some((guest.imported_at, guest.imported_by)),
        stacks: Vec::new(),
    };
    Ok((StatusCode::CREATED, Json(row.into())))
}

/// Remove a guest that no stack names any more. For admins.
#[utoipa::path(delete, path = "/guests/{name}", responses((status = 204, description = "It is gone")))]
async fn remove(asker: Asker, At(name): At<GuestName>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageGuests).await?;
    asker.web.actions.remove_guest(&permit, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A file that a guest left in `/output`.
#[derive(Serialize, ToSchema)]
#[schema(as = Artifact)]
struct ArtifactShape {
    /// Relative to `/output`.
    path: String,
    size: u64,
    #[schema(value_type = String)]
    digest: Digest,
    /// The phase that left it.
    phase: String,
}

impl From<ArtifactRow> for ArtifactShape {
    fn from(row: ArtifactRow) -> Self {
        let Artifact { path, bytes, digest } = row.artifact;
        Self { path, size: bytes, digest, phase: row.phase.to_string() }
    }
}

/// The files that the run's guests left, by path.
#[utoipa::path(get, path = "/runs/{run}/artifacts", params(ListParams), responses((status = 200, body = List<ArtifactShape>)))]
async fn artifacts(
    asker: Asker,
    At(run): At<RunId>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<ArtifactShape>>> {
    let (run, _) = asker.may_on_run(Permission::See, run).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.artifacts(&run)?;
    Ok(Json(List::by_key(rows, &paging, |row| row.artifact.path.clone(), |row| Ok(row.into()))?))
}

/// One of these files. It is offered as a download, whatever it is.
#[utoipa::path(get, path = "/runs/{run}/artifacts/{*path}", responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
async fn artifact(asker: Asker, At((run, path)): At<(RunId, String)>) -> Answer<Response> {
    let (row, file) = asker.web.queries.artifact(&asker.who, run, &path)?;
    Ok(download(&row.artifact, file))
}

/// A file of strangers is never shown as a page of ours.
pub fn download(artifact: &Artifact, file: std::fs::File) -> Response {
    let name = artifact.path.rsplit('/').next().unwrap_or_default();
    let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    let stream = tokio_util::io::ReaderStream::new(tokio::fs::File::from_std(file));
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, artifact.bytes.to_string()),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{encoded}")),
    ];
    (headers, RawBody::from_stream(stream)).into_response()
}

/// What a guest was given, what it used, and what it was refused.
#[derive(Debug, Serialize)]
pub(super) struct ReceiptShape {
    /// The phase that it is about.
    phase: Phase,
    #[serde(flatten)]
    receipt: Receipt,
}

impl ReceiptShape {
    /// The receipt of the last guest.
    pub(super) fn last(left: Vec<Left>) -> Option<Self> {
        let mut receipts = left.into_iter().rev();
        receipts.find_map(|left| Some(Self { phase: left.phase, receipt: left.receipt? }))
    }
}

impl PartialSchema for ReceiptShape {
    fn schema() -> RefOr<Schema> {
        words::receipt()
    }
}

impl ToSchema for ReceiptShape {
    fn name() -> std::borrow::Cow<'static, str> {
        "Receipt".into()
    }
}

/// The receipt of the run's last guest; 404 where no guest has ended.
#[utoipa::path(get, path = "/runs/{run}/receipt", responses((status = 200, body = ReceiptShape)))]
async fn receipt(asker: Asker, At(run): At<RunId>) -> Answer<Json<ReceiptShape>> {
    let (run, _) = asker.may_on_run(Permission::See, run).await?;
    match ReceiptShape::last(asker.web.queries.left(&run)?) {
        Some(receipt) => Ok(Json(receipt)),
        None => Err(Problem::not_found(format!("{} has no receipt", run.id))),
    }
}

/// What the run's guest changed in its copy of the workspace, as a unified diff; 404 where it changed
/// nothing, or was not let. `x-airlock-patch` says it in numbers.
#[utoipa::path(get, path = "/runs/{run}/patch", responses((status = 200, body = String, content_type = "text/x-diff")))]
async fn patch(asker: Asker, At(run): At<RunId>) -> Answer<Response> {
    let (run, _) = asker.may_on_run(Permission::See, run).await?;
    let Some((left, text)) = asker.web.queries.patch(&run)? else {
        return Err(Problem::not_found(format!("{} has no patch", run.id)));
    };
    let PatchSummary { added, changed, deleted, unshown, .. } = left.patch.unwrap_or_default();
    let numbers = format!("added={added}; changed={changed}; deleted={deleted}; unshown={unshown}");
    let headers = [(header::CONTENT_TYPE.as_str(), "text/x-diff; charset=utf-8"), ("x-airlock-patch", &numbers)];
    Ok((headers, text).into_response())
}

/// Make a proposed run of the run's source with the changes that its guest made.
#[utoipa::path(post, path = "/runs/{run}/propose", request_body = NoteInput, responses((status = 201, body = super::shape::RunShape)))]
async fn propose(
    asker: Asker,
    At(run): At<RunId>,
    headers: HeaderMap,
    Body { input, bytes }: Body<NoteInput>,
) -> Answer<Made> {
    let (run, permit) = asker.may_on_run(Permission::Trigger, run).await?;
    let once = asker.once(&headers, &format!("/runs/{}/propose", run.id), &bytes)?;
    made(&asker, asker.web.actions.propose(&permit, run.id, input.read()?, once).await?)
}
