//! Declared tasks as this API shows them, and running one.

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Answer, Caller, activities,
    hal::{Hal, environment_path, links, segment},
};
use crate::{
    actions::NewDemand,
    auth::Permission,
    domain::{Refused, TaskName},
    http::{Problem, Web, extract::At},
    queries::DeclaredTask,
};

pub(super) fn routes() -> Router<Web> {
    const TASKS: &str = "/projects/{project}/environments/{environment}/tasks";
    Router::new()
        .route(TASKS, get(list))
        .route(&format!("{TASKS}/{{task}}"), get(one))
        .route(&format!("{TASKS}/{{task}}/run"), post(run))
}

async fn list(caller: Caller, At((project, environment)): At<(String, String)>) -> Answer<Hal> {
    let (stack, _) = caller.may_in(Permission::See, &project, &environment).await?;
    let declared = caller.web.queries.declared(&caller.who, &stack.slug)?;
    if let Err(error) = &declared.manifest {
        return Err(Refused::conflict(error.to_string()).into());
    }
    let visible = declared.tasks().filter(|task| sees(&caller, &task.name));
    Ok(Hal(visible.map(|task| shape(task, &project, &environment)).collect()))
}

async fn one(caller: Caller, At((project, environment, name)): At<(String, String, String)>) -> Answer<Hal> {
    let (stack, _) = caller.may_in(Permission::See, &project, &environment).await?;
    let name = task_name(&name)?;
    if !sees(&caller, &name) {
        return Err(Refused::forbidden(format!("the `authorizations` of this task do not include `{name}`")).into());
    }
    let declared = caller.web.queries.declared(&caller.who, &stack.slug)?;
    if let Err(error) = &declared.manifest {
        return Err(Refused::conflict(error.to_string()).into());
    }
    let task = declared.task(&name).ok_or_else(|| Problem::not_found(format!("there is no task `{name}`")))?;
    Ok(Hal(shape(task, &project, &environment)))
}

/// Whether a task is the caller's to see.
fn sees(caller: &Caller, name: &TaskName) -> bool {
    caller.who.workload().is_none_or(|workload| {
        workload.views_environment() || workload.authorizations.iter().any(|one| one.names(name))
    })
}

fn task_name(name: &str) -> Answer<TaskName> {
    TaskName::new(name).map_err(|_| Problem::not_found(format!("there is no task `{name}`")))
}

fn shape(task: &DeclaredTask, project: &str, environment: &str) -> Value {
    let path = format!("{}/tasks/{}", environment_path(project, environment), segment(task.name.as_str()));
    let relationships: Map<String, Value> = task
        .relationships
        .iter()
        .map(|(name, to)| (name.clone(), json!({"service": to.service, "endpoint": to.endpoint})))
        .collect();
    let mounts: Map<String, Value> = task
        .mounts
        .iter()
        .map(|(path, mount)| {
            let (source, service) = match &mount.source {
                crate::queries::MountSource::Instance => ("instance", None),
                crate::queries::MountSource::Tmp => ("tmp", None),
                crate::queries::MountSource::Storage => ("storage", None),
                crate::queries::MountSource::Service(service) => ("service", Some(service)),
            };
            (path.to_string(), json!({"source": source, "source_path": mount.source_path, "service": service}))
        })
        .collect();
    let mut variables: Map<String, Value> =
        task.variables.other.iter().map(|(prefix, values)| (prefix.clone(), json!(values))).collect();
    if !task.variables.env.is_empty() {
        variables.insert("env".to_owned(), json!(task.variables.env));
    }
    json!({
        "id": task.name,
        "name": task.name,
        "type": task.kind.to_string(),
        "source": {"root": format!("/{}", task.source.root)},
        "hooks": {"build": task.hooks.build, "deploy": null},
        "relationships": relationships,
        "mounts": mounts,
        "variables": variables,
        "run": {"command": task.run.command.text(), "timeout": task.run.timeout_seconds},
        "_links": links([("self", path.clone()), ("#run", format!("{path}/run"))]),
    })
}

/// `{"variables": {"A": "1"}}` or `{"variables": {"env": {"A": "1"}}}`; nothing at all is fine.
#[derive(Deserialize, Default)]
struct RunInput {
    #[serde(default)]
    variables: Option<Given>,
}

/// What PHP writes where it means a map.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`variables` is a map")]
enum Given {
    Map(Map<String, Value>),
    Empty([(); 0]),
}

impl Given {
    fn map(self) -> Map<String, Value> {
        match self {
            Self::Map(map) => map,
            Self::Empty([]) => Map::new(),
        }
    }
}

async fn run(
    caller: Caller,
    At((project, environment, name)): At<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<(StatusCode, Hal)> {
    let (stack, permit) = caller.may_in(Permission::RunDeclared, &project, &environment).await?;
    let task = task_name(&name)?;
    let input = if body.iter().all(u8::is_ascii_whitespace) {
        RunInput::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| Problem::of_status(StatusCode::BAD_REQUEST, format!("the body does not fit: {error}")))?
    };
    let variables = variables(input.variables.map(Given::map).unwrap_or_default());
    let new = NewDemand { task, variables, stdin: None, call: None };
    let once = caller.once(&headers, &format!("{}/{name}", stack.slug), &body)?;
    let run = caller.web.actions.run_declared(&permit, stack.id, new, once).await?;
    let activity = activities::shape(&caller.web, &run)?;
    Ok((StatusCode::ACCEPTED, Hal(json!({"status": "created", "code": 202, "_embedded": {"activities": [activity]}}))))
}

/// By whole name: a map is a prefix, anything else a variable of the environment.
fn variables(given: Map<String, Value>) -> Vec<(String, Value)> {
    let mut variables = Vec::new();
    for (name, value) in given {
        match value {
            Value::Object(values) => {
                variables.extend(values.into_iter().map(|(inner, value)| (format!("{name}:{inner}"), value)));
            }
            value if name.contains(':') => variables.push((name, value)),
            value => variables.push((format!("env:{name}"), value)),
        }
    }
    variables
}
