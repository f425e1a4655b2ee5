//! Images: roots that jails can have.

use axum::{
    Json,
    body::Body as RawBody,
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging},
    words,
};
use crate::{
    auth::Permission,
    domain::{Digest, ImageName, Refused, Timestamp},
    http::{
        Web,
        extract::{Asker, At, Params, taken_in},
    },
    queries::ImageRow,
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list, import)).routes(routes!(remove))
}

/// An image that stacks and tasks may name.
#[derive(Serialize, ToSchema)]
#[schema(as = Image)]
struct ImageShape {
    #[schema(value_type = String)]
    name: ImageName,
    /// Of the archive as it was sent.
    #[schema(value_type = String)]
    digest: Digest,
    layers: u32,
    entries: u64,
    /// Bytes of all files.
    size: u64,
    #[schema(schema_with = words::time)]
    imported_at: Timestamp,
    imported_by: String,
    /// Stacks that name it.
    stacks: Vec<String>,
}

impl From<ImageRow> for ImageShape {
    fn from(ImageRow { image, stacks }: ImageRow) -> Self {
        Self {
            name: image.name,
            digest: image.digest,
            layers: image.layers,
            entries: image.entries,
            size: image.bytes,
            imported_at: image.imported_at,
            imported_by: image.imported_by.name,
            stacks,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every image, by name. `host`, which is always there, is none.
#[utoipa::path(get, path = "/images", params(ListParams), responses((status = 200, body = List<ImageShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<ImageShape>>> {
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.images(&asker.who)?;
    Ok(Json(List::by_key(rows, &paging, |row| row.image.name.clone(), |row| Ok(row.into()))?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ImportParams {
    /// What stacks and tasks will call it. What has this name already is replaced.
    name: Option<String>,
}

/// Import an image of at most 8 GiB: what `docker save` writes, an OCI layout as tar, or a root as tar;
/// each plain, gzip or zstd. It is unpacked before the answer: 422 says why it cannot be an image. For
/// admins.
#[utoipa::path(post, path = "/images", params(ImportParams), request_body(content = Vec<u8>, content_type = "application/x-tar"), responses((status = 201, body = ImageShape)))]
async fn import(
    asker: Asker,
    Params(params): Params<ImportParams>,
    headers: HeaderMap,
    body: RawBody,
) -> Answer<(StatusCode, Json<ImageShape>)> {
    let permit = asker.may_here(Permission::ManageImages).await?;
    let name =
        ImageName::new(params.name.unwrap_or_default()).map_err(|error| Refused::field("name", error.to_string()))?;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let actions = &asker.web.actions;
    let (file, digest) = taken_in(actions.receive_image(&permit, declared).await?, body).await?;
    let once = asker.once(&headers, &format!("/images?name={name}"), digest.as_str().as_bytes())?;
    let image = actions.import_image(&permit, name, file, once).await?;
    Ok((StatusCode::CREATED, Json(ImageRow { image, stacks: Vec::new() }.into())))
}

/// Remove an image that no stack names any more. Tasks that name it fail from then on. For admins.
#[utoipa::path(delete, path = "/images/{name}", responses((status = 204, description = "It is gone")))]
async fn remove(asker: Asker, At(name): At<ImageName>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageImages).await?;
    asker.web.actions.remove_image(&permit, name).await?;
    Ok(StatusCode::NO_CONTENT)
}
