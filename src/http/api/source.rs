//! Uploaded sources.

use axum::{
    Json,
    body::Body,
    http::{HeaderMap, header},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Answer;
use crate::{
    auth::Permission,
    domain::{Digest, Slug},
    http::{
        Web,
        extract::{Asker, At, taken_in},
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(upload))
}

/// A version of the source.
#[derive(Serialize, ToSchema)]
#[schema(as = Upload)]
struct UploadShape {
    #[schema(value_type = String)]
    digest: Digest,
    /// Bytes of the archive.
    size: u64,
}

/// Upload a source as a tar.gz of at most 1 GiB. It is walked at once: 422 names the entry that is
/// absolute, has `..`, links out, is a device, or is one too many.
#[utoipa::path(put, path = "/stacks/{stack}/source", request_body(content = Vec<u8>, content_type = "application/gzip"), responses((status = 200, body = UploadShape)))]
async fn upload(asker: Asker, At(slug): At<Slug>, headers: HeaderMap, body: Body) -> Answer<Json<UploadShape>> {
    let (stack, permit) = asker.may_on(Permission::UploadSource, &slug).await?;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let actions = &asker.web.actions;
    let (file, _) = taken_in(actions.receive_upload(&permit, stack.id, declared).await?, body).await?;
    let upload = actions.upload(&permit, stack.id, file).await?;
    Ok(Json(UploadShape { digest: upload.digest, size: upload.size }))
}
