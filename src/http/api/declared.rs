//! What the present source of a stack declares, and running it.

use std::collections::BTreeMap;

use axum::{Json, http::HeaderMap};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging},
    resources::ResourcesShape,
    runs::{Made, made},
    shape::RunShape,
};
use crate::{
    actions::NewDemand,
    auth::Permission,
    domain::{Refused, Slug, TaskName},
    http::{
        Web,
        extract::{Asker, At, Body, Params},
    },
    queries::{Declared, DeclaredTask},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(run))
}

/// A declared task.
#[derive(Serialize, ToSchema)]
#[schema(as = DeclaredTask)]
struct DeclaredShape {
    #[schema(value_type = String)]
    name: TaskName,
    /// `native`, `wasi:python`, `image:tools`, `nodejs:22`.
    r#type: String,
    command: String,
    timeout_seconds: u32,
    /// The services that it is related to, by the name that it gives them.
    relationships: BTreeMap<String, String>,
    /// Its bounds; null: the usual ones.
    #[schema(value_type = Object)]
    caps: Value,
    /// Those of them that the operator set in place of its own.
    resources: Option<ResourcesShape>,
    /// What it is given.
    #[schema(value_type = Object)]
    grants: Value,
}

impl DeclaredShape {
    fn of(declared: &Declared, task: &DeclaredTask) -> Self {
        let resources = declared.resources.get(&task.name).map(ResourcesShape::from);
        let task = &declared.bounded(task);
        let airlock = &task.airlock;
        let relationships = task.relationships.iter().map(|(name, to)| (name.clone(), to.service.to_string()));
        Self {
            name: task.name.clone(),
            r#type: task.kind.to_string(),
            command: task.run.command.text().to_owned(),
            timeout_seconds: task.run.timeout_seconds,
            relationships: relationships.collect(),
            caps: json!({
                "fuel": airlock.fuel,
                "memory_bytes": airlock.memory_bytes,
                "output_bytes": airlock.output_bytes,
                "files": airlock.files,
                "processes": airlock.processes,
                "cpu_percent": airlock.cpu_percent,
            }),
            resources,
            grants: json!({
                "network": airlock.network.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "workspace": airlock.workspace,
                "env": airlock.env,
                "clock": airlock.clock,
                "random": airlock.random,
                "artifacts": airlock.artifacts,
                "mounts": task.mounts.keys().map(ToString::to_string).collect::<Vec<_>>(),
                "authorizations": task.authorizations,
            }),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What the stack's present source declares, by name. Of a git source it is what the last run fetched.
#[utoipa::path(get, path = "/stacks/{stack}/declared-tasks", params(ListParams), responses((status = 200, body = List<DeclaredShape>)))]
async fn list(
    asker: Asker,
    At(slug): At<Slug>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<DeclaredShape>>> {
    asker.may_on(Permission::See, &slug).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let declared = asker.web.queries.declared(&asker.who, &slug)?;
    if let Err(error) = &declared.manifest {
        return Err(Refused::conflict(error.to_string()).into());
    }
    let tasks: Vec<&DeclaredTask> = declared.tasks().collect();
    Ok(Json(List::by_key(tasks, &paging, |task| task.name.clone(), |task| Ok(DeclaredShape::of(&declared, task)))?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DemandInput {
    /// By name: `NAME` and `env:NAME` are variables of the environment, `prefix:name` others.
    #[serde(default)]
    #[schema(value_type = Object)]
    variables: serde_json::Map<String, Value>,
    /// Standard input in place of the declared one.
    #[serde(default)]
    stdin: Option<String>,
}

/// Run a declared task.
#[utoipa::path(post, path = "/stacks/{stack}/declared-tasks/{name}/runs", request_body = DemandInput, responses((status = 201, body = RunShape)))]
async fn run(
    asker: Asker,
    At((slug, name)): At<(Slug, TaskName)>,
    headers: HeaderMap,
    Body { input, bytes }: Body<DemandInput>,
) -> Answer<Made> {
    let (stack, permit) = asker.may_on(Permission::RunDeclared, &slug).await?;
    let whole = |name: String| if name.contains(':') { name } else { format!("env:{name}") };
    let variables = input.variables.into_iter().map(|(name, value)| (whole(name), value)).collect();
    let once = asker.once(&headers, &format!("/stacks/{slug}/declared-tasks/{name}/runs"), &bytes)?;
    let new = NewDemand { task: name, variables, stdin: input.stdin, call: None };
    made(&asker, asker.web.actions.run_declared(&permit, stack.id, new, once).await?)
}
