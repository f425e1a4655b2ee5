//! Services that relationships of declared tasks point to.

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging},
    words,
};
use crate::{
    actions::{NewService, Secret},
    auth::Permission,
    domain::{Refused, ServiceName, Timestamp},
    http::{
        Web,
        extract::{Asker, At, Body, Params},
    },
    queries::Service,
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one, put, delete))
}

/// A service, without its password.
#[derive(Serialize, ToSchema)]
#[schema(as = Service)]
struct ServiceShape {
    #[schema(value_type = String)]
    name: ServiceName,
    scheme: String,
    host: String,
    port: u16,
    path: String,
    username: String,
    /// Whether a password is stored.
    has_password: bool,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
}

impl From<Service> for ServiceShape {
    fn from(row: Service) -> Self {
        Self {
            name: row.name,
            scheme: row.scheme,
            host: row.host,
            port: row.port,
            path: row.path,
            username: row.username,
            has_password: row.password.is_some(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every service, by name. For admins.
#[utoipa::path(get, path = "/services", params(ListParams), responses((status = 200, body = List<ServiceShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<ServiceShape>>> {
    asker.may_here(Permission::ManageServices).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.services()?;
    Ok(Json(List::by_key(rows, &paging, |row| row.name.clone(), |row| Ok(row.into()))?))
}

/// One service. For admins.
#[utoipa::path(get, path = "/services/{name}", responses((status = 200, body = ServiceShape)))]
async fn one(asker: Asker, At(name): At<ServiceName>) -> Answer<Json<ServiceShape>> {
    asker.may_here(Permission::ManageServices).await?;
    find(&asker, &name).map(Json)
}

fn find(asker: &Asker, name: &ServiceName) -> Answer<ServiceShape> {
    let row = asker.web.queries.services()?.into_iter().find(|row| row.name == *name);
    Ok(row.ok_or_else(|| Refused::not_found(format_args!("the service `{name}`")))?.into())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ServiceInput {
    /// Such as `postgresql`, `mysql`, `redis`, `https`.
    scheme: String,
    /// A name or an address that this host reaches.
    host: String,
    port: u16,
    /// The database's name, or the path of an address.
    #[serde(default)]
    path: String,
    #[serde(default)]
    username: String,
    /// None keeps the stored one; an empty one removes it. It never comes back.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Option<Secret<String>>,
}

/// Register a service, new or in place of the one of that name.
#[utoipa::path(put, path = "/services/{name}", request_body = ServiceInput, responses((status = 200, body = ServiceShape)))]
async fn put(asker: Asker, At(name): At<String>, Body { input, .. }: Body<ServiceInput>) -> Answer<Json<ServiceShape>> {
    let permit = asker.may_here(Permission::ManageServices).await?;
    let name = ServiceName::new(name).map_err(|error| Refused::field("name", error.to_string()))?;
    let ServiceInput { scheme, host, port, path, username, password } = input;
    let new = NewService { name: name.clone(), scheme, host, port, path, username, password };
    asker.web.actions.put_service(&permit, new).await?;
    find(&asker, &name).map(Json)
}

/// Forget a service. Tasks that are related to it fail from then on.
#[utoipa::path(delete, path = "/services/{name}", responses((status = 204, description = "It is gone")))]
async fn delete(asker: Asker, At(name): At<ServiceName>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageServices).await?;
    asker.web.actions.delete_service(&permit, name).await?;
    Ok(StatusCode::NO_CONTENT)
}
