//! API keys.

use axum::{
    Json,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging, newest_first},
    shape::{ActorShape, RoleShape},
    words,
};
use crate::{
    actions::NewKey,
    auth::Permission,
    domain::{KeyId, Timestamp, UserName},
    http::{
        Web,
        extract::{Asker, At, Body, Params},
    },
    queries::ApiKey,
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct KeyShape {
    #[schema(value_type = String)]
    id: KeyId,
    #[schema(value_type = String)]
    name: UserName,
    admin: bool,
    roles: Vec<RoleShape>,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    created_by: ActorShape,
    #[schema(schema_with = words::maybe_time)]
    expires_at: Option<Timestamp>,
    #[schema(schema_with = words::maybe_time)]
    used_at: Option<Timestamp>,
    revoked: bool,
}

impl KeyShape {
    fn new(web: &Web, key: ApiKey) -> Answer<Self> {
        Ok(Self {
            id: key.id,
            admin: key.admin,
            roles: RoleShape::all_of(web, &key.roles)?,
            created_at: key.created_at,
            created_by: (&key.created_by).into(),
            expires_at: key.expires_at,
            used_at: key.used_at,
            revoked: key.revoked,
            name: key.name,
        })
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every key, the newest first. For admins.
#[utoipa::path(get, path = "/api-keys", params(ListParams), responses((status = 200, body = List<KeyShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<KeyShape>>> {
    asker.may_here(Permission::ManageUsers).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.keys()?;
    let key = |key: &ApiKey| newest_first(key.id.number());
    Ok(Json(List::by_key(rows, &paging, key, |key| KeyShape::new(&asker.web, key))?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApiKey)]
struct KeyInput {
    #[schema(value_type = String)]
    name: UserName,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    roles: Vec<RoleShape>,
    #[serde(default)]
    #[schema(schema_with = words::maybe_time)]
    expires_at: Option<Timestamp>,
}

/// A key's secret, shown this once.
#[derive(Serialize, ToSchema)]
struct MintedKey {
    #[schema(value_type = String)]
    id: KeyId,
    secret: String,
}

/// Make a key. A person must have signed in at most 10 minutes ago.
#[utoipa::path(post, path = "/api-keys", request_body = KeyInput, responses((status = 201, body = MintedKey)))]
async fn create(
    asker: Asker,
    headers: HeaderMap,
    Body { input, bytes }: Body<KeyInput>,
) -> Answer<(StatusCode, Json<MintedKey>)> {
    let permit = asker.may_here(Permission::ManageKeys).await?;
    let once = asker.once(&headers, "/api-keys", &bytes)?;
    let roles = RoleShape::read_all(&asker.web, &input.roles)?;
    let new = NewKey { name: input.name, admin: input.admin, roles, expires_at: input.expires_at };
    let minted = asker.web.actions.create_key(&permit, new, once).await?;
    Ok((StatusCode::CREATED, Json(MintedKey { id: minted.key.id, secret: minted.secret.expose().clone() })))
}

/// End a key at once, with every token made from it.
#[utoipa::path(delete, path = "/api-keys/{key}", responses((status = 204, description = "It opens nothing any more")))]
async fn revoke(asker: Asker, At(key): At<KeyId>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageKeys).await?;
    asker.web.actions.revoke_key(&permit, key).await?;
    Ok(StatusCode::NO_CONTENT)
}
