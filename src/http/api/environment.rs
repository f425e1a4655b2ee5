//! Variables and mounted files of a stack.

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use super::{
    Answer,
    list::{List, Paging},
    shape::{ActorShape, OriginShape},
    words,
};
use crate::{
    actions::{NewVariable, Secret},
    auth::Permission,
    domain::{EnvName, Refused, RelativePath, Slug, Timestamp, limits},
    http::{
        Problem, Web,
        extract::{Asker, At, Body, Params, at_most, whole},
    },
    queries::{Effective, File, Layered, Variable, VariableValue},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    // A value may be longer than bodies are elsewhere, and JSON may write a byte as six.
    let variable = at_most(6 * limits::VARIABLE_BYTES + 64 * 1_024);
    OpenApiRouter::new()
        .routes(routes!(variables))
        .routes(routes!(set_variable, delete_variable).layer(variable))
        .routes(routes!(files))
        .routes(routes!(set_file, delete_file))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A variable. The value of a sensitive one never comes back; its `hash` lets people compare.
#[derive(Serialize, ToSchema)]
#[schema(as = Variable)]
pub(super) struct VariableShape {
    #[schema(value_type = String)]
    name: EnvName,
    value: Option<String>,
    sensitive: bool,
    hash: Option<String>,
    description: String,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
    updated_by: ActorShape,
}

impl From<Variable> for VariableShape {
    fn from(row: Variable) -> Self {
        let (value, hash) = match row.value {
            VariableValue::Plain(value) => (Some(value), None),
            VariableValue::Sensitive { hash, .. } => (None, Some(hash)),
        };
        Self {
            name: row.name,
            sensitive: hash.is_some(),
            value,
            hash,
            description: row.description,
            updated_at: row.updated_at,
            updated_by: (&row.updated_by).into(),
        }
    }
}

/// A variable that the stack's runs get, and where it comes from.
#[derive(Serialize, ToSchema)]
#[schema(as = EffectiveVariable)]
struct EffectiveShape {
    #[schema(value_type = String)]
    name: EnvName,
    value: Option<String>,
    sensitive: bool,
    hash: Option<String>,
    description: String,
    /// Null where it comes out of the configuration file.
    #[schema(schema_with = words::maybe_time)]
    updated_at: Option<Timestamp>,
    updated_by: Option<ActorShape>,
    source: OriginShape,
    /// Those of the same name that it wins over, the highest first.
    overrides: Vec<OriginShape>,
}

impl From<Effective> for EffectiveShape {
    fn from(row: Effective) -> Self {
        let (value, hash) = match row.value {
            VariableValue::Plain(value) => (Some(value), None),
            VariableValue::Sensitive { hash, .. } => (None, Some(hash)),
        };
        let (at, by) = row.updated.unzip();
        Self {
            name: row.name,
            sensitive: hash.is_some(),
            value,
            hash,
            description: row.description,
            updated_at: at,
            updated_by: by.as_ref().map(Into::into),
            source: (&row.origin).into(),
            overrides: row.overrides.iter().map(Into::into).collect(),
        }
    }
}

/// Every variable that the stack's next run gets, by name: its own, those of its contexts, and those
/// of the configuration file as it was read last.
#[utoipa::path(get, path = "/stacks/{stack}/environment", params(ListParams), responses((status = 200, body = List<EffectiveShape>)))]
async fn variables(
    asker: Asker,
    At(slug): At<Slug>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<EffectiveShape>>> {
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.environment(&asker.who, &slug)?.variables;
    Ok(Json(List::by_key(rows, &paging, |row| row.name.clone(), |row| Ok(row.into()))?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VariableInput {
    #[schema(value_type = String)]
    value: Secret<String>,
    #[serde(default)]
    sensitive: bool,
    #[serde(default)]
    description: String,
}

impl VariableInput {
    pub(super) fn named(self, name: EnvName) -> NewVariable {
        NewVariable { name, value: self.value, sensitive: self.sensitive, description: self.description }
    }
}

/// Set a variable, new or in place of the one of that name.
#[utoipa::path(put, path = "/stacks/{stack}/environment/{name}", request_body = VariableInput, responses((status = 200, body = VariableShape), (status = 201, body = VariableShape)))]
async fn set_variable(
    asker: Asker,
    At((slug, name)): At<(Slug, String)>,
    Body { input, .. }: Body<VariableInput>,
) -> Answer<(StatusCode, Json<VariableShape>)> {
    let (stack, permit) = asker.may_on(Permission::EditEnvironment, &slug).await?;
    let name = EnvName::new(name).map_err(|error| Refused::field("name", error.to_string()))?;
    let is_new = asker.web.actions.set_variable(&permit, stack.id, input.named(name.clone())).await?;
    let rows = asker.web.queries.variables(&asker.who, &slug)?;
    let row = rows.into_iter().find(|row| row.name == name).ok_or_else(gone)?;
    Ok((created_if(is_new), Json(row.into())))
}

pub(super) const fn created_if(new: bool) -> StatusCode {
    if new { StatusCode::CREATED } else { StatusCode::OK }
}

/// Somebody else deleted it at once.
pub(super) fn gone() -> Problem {
    Problem::not_found("it is gone already")
}

/// Delete a variable.
#[utoipa::path(delete, path = "/stacks/{stack}/environment/{name}", responses((status = 204, description = "It is gone")))]
async fn delete_variable(asker: Asker, At((slug, name)): At<(Slug, EnvName)>) -> Answer<StatusCode> {
    let (stack, permit) = asker.may_on(Permission::EditEnvironment, &slug).await?;
    asker.web.actions.delete_variable(&permit, stack.id, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A mounted file. Its content never comes back; `hash` is its SHA-256, or, for a sensitive one, lets
/// people compare.
#[derive(Serialize, ToSchema)]
#[schema(as = File)]
pub(super) struct FileShape {
    #[schema(value_type = String)]
    path: RelativePath,
    sensitive: bool,
    size: u64,
    hash: String,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
    updated_by: ActorShape,
}

impl From<File> for FileShape {
    fn from(row: File) -> Self {
        Self {
            path: row.path,
            sensitive: row.sensitive,
            size: row.size,
            hash: row.hash,
            updated_at: row.updated_at,
            updated_by: (&row.updated_by).into(),
        }
    }
}

/// A mounted file, and where it comes from.
#[derive(Serialize, ToSchema)]
#[schema(as = EffectiveFile)]
struct EffectiveFileShape {
    #[serde(flatten)]
    file: FileShape,
    source: OriginShape,
    /// Those at the same path that it wins over, the highest first.
    overrides: Vec<OriginShape>,
}

/// Every file that is mounted for the stack's runs, by path: its own, and those of its contexts.
#[utoipa::path(get, path = "/stacks/{stack}/files", params(ListParams), responses((status = 200, body = List<EffectiveFileShape>)))]
async fn files(
    asker: Asker,
    At(slug): At<Slug>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<EffectiveFileShape>>> {
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.environment(&asker.who, &slug)?.files;
    let shown = |layered: Layered<File>| EffectiveFileShape {
        file: layered.row.into(),
        source: (&layered.origin).into(),
        overrides: layered.overrides.iter().map(Into::into).collect(),
    };
    Ok(Json(List::by_key(rows, &paging, |layered| layered.row.path.clone(), |layered| Ok(shown(layered)))?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FileParams {
    /// Whether its content is masked in logs.
    #[serde(default)]
    sensitive: bool,
}

/// Mount a file: the body as it is, at most 2 MB.
#[utoipa::path(put, path = "/stacks/{stack}/files/{*path}", params(FileParams), request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 200, body = FileShape), (status = 201, body = FileShape)))]
async fn set_file(
    asker: Asker,
    At((slug, path)): At<(Slug, String)>,
    Params(params): Params<FileParams>,
    body: axum::body::Body,
) -> Answer<(StatusCode, Json<FileShape>)> {
    let (stack, permit) = asker.may_on(Permission::EditEnvironment, &slug).await?;
    let path = RelativePath::new(path).map_err(|error| Refused::field("path", error.to_string()))?;
    let content = whole(body, limits::FILE_BYTES).await?;
    let is_new = asker.web.actions.set_file(&permit, stack.id, path.clone(), content, params.sensitive).await?;
    let rows = asker.web.queries.files(&asker.who, &slug)?;
    let row = rows.into_iter().find(|row| row.path == path).ok_or_else(gone)?;
    Ok((created_if(is_new), Json(row.into())))
}

/// Unmount a file.
#[utoipa::path(delete, path = "/stacks/{stack}/files/{*path}", responses((status = 204, description = "It is gone")))]
async fn delete_file(asker: Asker, At((slug, path)): At<(Slug, RelativePath)>) -> Answer<StatusCode> {
    let (stack, permit) = asker.may_on(Permission::EditEnvironment, &slug).await?;
    asker.web.actions.delete_file(&permit, stack.id, path).await?;
    Ok(StatusCode::NO_CONTENT)
}
