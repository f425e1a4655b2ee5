//! The master key of the installation.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, shape::Nothing};
use crate::{
    actions::Rotated,
    auth::Permission,
    http::{
        Web,
        extract::{Asker, Body},
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(rotate))
}

/// A rotation that is done.
#[derive(Serialize, ToSchema)]
#[schema(as = Rotation)]
struct RotationShape {
    /// The id of the key that everything is sealed with now.
    key: String,
    /// Records that were sealed anew.
    records: u64,
    /// It had been begun earlier and was broken off.
    resumed: bool,
}

impl From<Rotated> for RotationShape {
    fn from(Rotated { key, records, resumed }: Rotated) -> Self {
        Self { key, records, resumed }
    }
}

/// Make a new master key, seal everything with it, and erase the old one. Runs go on meanwhile. For
/// admins.
#[utoipa::path(post, path = "/master-key/rotate", request_body = Nothing, responses((status = 200, body = RotationShape)))]
async fn rotate(asker: Asker, _: Body<Nothing>) -> Answer<Json<RotationShape>> {
    let permit = asker.may_here(Permission::ManageSystem).await?;
    Ok(Json(asker.web.actions.rotate_master_key(&permit).await?.into()))
}
