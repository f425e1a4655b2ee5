//! Bounds of declared tasks that the operator sets.

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, shape::ActorShape, words};
use crate::{
    auth::Permission,
    domain::{Refused, Slug, TaskName, Timestamp, resources::Resources},
    http::{
        Web,
        extract::{Asker, At, Body},
    },
    queries::TaskResources,
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(one, put, delete))
}

/// The bounds of one declared task, in place of what its declaration asks for; null: as declared.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskResources)]
pub(super) struct ResourcesShape {
    fuel: Option<u64>,
    memory_bytes: Option<u64>,
    output_bytes: Option<u64>,
    files_bytes: Option<u64>,
    files: Option<u64>,
    processes: Option<u32>,
    cpu_percent: Option<u32>,
    timeout_seconds: Option<u32>,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
    updated_by: ActorShape,
}

impl From<&TaskResources> for ResourcesShape {
    fn from(row: &TaskResources) -> Self {
        let of = row.resources;
        Self {
            fuel: of.fuel,
            memory_bytes: of.memory_bytes,
            output_bytes: of.output_bytes,
            files_bytes: of.files_bytes,
            files: of.files,
            processes: of.processes,
            cpu_percent: of.cpu_percent,
            timeout_seconds: of.timeout_seconds,
            updated_at: row.updated_at,
            updated_by: (&row.updated_by).into(),
        }
    }
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct ResourcesInput {
    /// Of guests.
    fuel: Option<u64>,
    memory_bytes: Option<u64>,
    output_bytes: Option<u64>,
    /// Bytes of files that a guest may write.
    files_bytes: Option<u64>,
    /// Files that a guest may write.
    files: Option<u64>,
    /// Of native tasks.
    processes: Option<u32>,
    /// Hundredths of one core.
    cpu_percent: Option<u32>,
    timeout_seconds: Option<u32>,
}

impl From<ResourcesInput> for Resources {
    fn from(input: ResourcesInput) -> Self {
        let ResourcesInput {
            fuel,
            memory_bytes,
            output_bytes,
            files_bytes,
            files,
            processes,
            cpu_percent,
            timeout_seconds,
        } = input;
        Self { fuel, memory_bytes, output_bytes, files_bytes, files, processes, cpu_percent, timeout_seconds }
    }
}

/// The bounds that the operator set for a declared task; 404 where none are set.
#[utoipa::path(get, path = "/stacks/{stack}/declared-tasks/{name}/resources", responses((status = 200, body = ResourcesShape)))]
async fn one(asker: Asker, At((slug, name)): At<(Slug, TaskName)>) -> Answer<Json<ResourcesShape>> {
    asker.may_on(Permission::See, &slug).await?;
    find(&asker, &slug, &name).map(Json)
}

fn find(asker: &Asker, slug: &Slug, name: &TaskName) -> Answer<ResourcesShape> {
    let declared = asker.web.queries.declared(&asker.who, slug)?;
    let missing = || Refused::not_found(format_args!("bounds of the task `{name}`"));
    Ok(declared.resources.get(name).ok_or_else(missing)?.into())
}

/// Set the bounds of a declared task, all of them. They hold from its next run on.
#[utoipa::path(put, path = "/stacks/{stack}/declared-tasks/{name}/resources", request_body = ResourcesInput, responses((status = 200, body = ResourcesShape)))]
async fn put(
    asker: Asker,
    At((slug, name)): At<(Slug, TaskName)>,
    Body { input, .. }: Body<ResourcesInput>,
) -> Answer<Json<ResourcesShape>> {
    let (stack, permit) = asker.may_on(Permission::EditStack, &slug).await?;
    asker.web.actions.put_resources(&permit, stack.id, name.clone(), input.into()).await?;
    find(&asker, &slug, &name).map(Json)
}

/// Go back to what the declaration asks for.
#[utoipa::path(delete, path = "/stacks/{stack}/declared-tasks/{name}/resources", responses((status = 204, description = "It is as declared")))]
async fn delete(asker: Asker, At((slug, name)): At<(Slug, TaskName)>) -> Answer<StatusCode> {
    let (stack, permit) = asker.may_on(Permission::EditStack, &slug).await?;
    asker.web.actions.delete_resources(&permit, stack.id, name).await?;
    Ok(StatusCode::NO_CONTENT)
}
