//! Credentials for sources.

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
    actions::{NewCredential, Secret},
    auth::Permission,
    domain::{Refused, Slug, Timestamp},
    http::{
        Web,
        extract::{Asker, At, Body, Params, stack_id},
    },
    queries::{CredentialKind, CredentialRow},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put, delete))
}

/// A credential, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Credential)]
struct CredentialShape {
    #[schema(value_type = String)]
    name: Slug,
    /// `https` or `ssh`.
    kind: &'static str,
    user: String,
    known_hosts: String,
    /// The stacks that may use it.
    #[schema(value_type = Vec<String>)]
    stacks: Vec<Slug>,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    created_by: String,
}

impl From<CredentialRow> for CredentialShape {
    fn from(row: CredentialRow) -> Self {
        Self {
            name: row.name,
            kind: match row.kind {
                CredentialKind::Https => "https",
                CredentialKind::Ssh => "ssh",
            },
            user: row.user,
            known_hosts: row.known_hosts,
            stacks: row.stacks.into_iter().filter_map(|(_, slug)| slug).collect(),
            created_at: row.created_at,
            created_by: row.created_by,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every credential, by name. For admins.
#[utoipa::path(get, path = "/credentials", params(ListParams), responses((status = 200, body = List<CredentialShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<CredentialShape>>> {
    asker.may_here(Permission::ManageCredentials).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.credentials()?;
    Ok(Json(List::by_key(rows, &paging, |row| row.name.clone(), |row| Ok(row.into()))?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CredentialInput {
    /// `https` or `ssh`.
    #[schema(value_type = String)]
    kind: CredentialKind,
    /// The user name, for https.
    #[serde(default)]
    user: String,
    /// Lines of a known_hosts file, for ssh.
    #[serde(default)]
    known_hosts: String,
    /// The token or the private key; none keeps the stored one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    secret: Option<Secret<String>>,
    /// The stacks that may use it.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    stacks: Vec<Slug>,
}

/// Store a credential, new or in place of the one of that name.
#[utoipa::path(put, path = "/credentials/{name}", request_body = CredentialInput, responses((status = 200, body = CredentialShape)))]
async fn put(
    asker: Asker,
    At(name): At<String>,
    Body { input, .. }: Body<CredentialInput>,
) -> Answer<Json<CredentialShape>> {
    let permit = asker.may_here(Permission::ManageCredentials).await?;
    let name = Slug::new(name).map_err(|error| Refused::field("name", error.to_string()))?;
    let stacks = input.stacks.iter().map(|stack| stack_id(&asker.web, stack)).collect::<Answer<_>>()?;
    let new = NewCredential {
        name: name.clone(),
        kind: input.kind,
        user: input.user,
        known_hosts: input.known_hosts,
        secret: input.secret,
        stacks,
    };
    asker.web.actions.put_credential(&permit, new).await?;
    let rows = asker.web.queries.credentials()?;
    let row = rows.into_iter().find(|row| row.name == name).ok_or_else(|| Refused::not_found("the credential"))?;
    Ok(Json(row.into()))
}

/// Delete a credential that no stack names any more.
#[utoipa::path(delete, path = "/credentials/{name}", responses((status = 204, description = "It is gone")))]
async fn delete(asker: Asker, At(name): At<Slug>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageCredentials).await?;
    asker.web.actions.delete_credential(&permit, name).await?;
    Ok(StatusCode::NO_CONTENT)
}
