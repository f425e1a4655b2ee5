//! Variables of a project and of an environment.

use axum::{Router, http::StatusCode, routing::get};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Caller,
    hal::{Hal, environment_path, links, project_path, segment, time},
};
use crate::{
    actions::{NewSetting, NewVariable, Secret},
    auth::{Permission, Permit},
    domain::{EnvName, Refused, Timestamp, limits},
    http::{
        Problem, Web,
        extract::{At, Body},
    },
    queries::{Setting, SettingLevel, Stack, Variable, VariableValue},
};

pub(super) fn routes() -> Router<Web> {
    const PROJECT: &str = "/projects/{project}/variables";
    const ENVIRONMENT: &str = "/projects/{project}/environments/{environment}/variables";
    Router::new()
        .route(PROJECT, get(list_p).post(create_p))
        .route(&format!("{PROJECT}/{{name}}"), get(one_p).patch(change_p).delete(delete_p))
        .route(ENVIRONMENT, get(list_e).post(create_e))
        .route(&format!("{ENVIRONMENT}/{{name}}"), get(one_e).patch(change_e).delete(delete_e))
}

/// Where variables are: on a project, or on its environment.
struct Level {
    caller: Caller,
    stack: Stack,
    permit: Permit,
    environment: Option<String>,
}

impl Level {
    async fn project(caller: Caller, permission: Permission, project: &str) -> Answer<Self> {
        let (stack, permit) = caller.may(permission, project).await?;
        caller.sees_environment()?;
        Ok(Self { caller, stack, permit, environment: None })
    }

    async fn environment(caller: Caller, permission: Permission, project: &str, environment: String) -> Answer<Self> {
        let (stack, permit) = caller.may_in(permission, project, &environment).await?;
        caller.sees_environment()?;
        Ok(Self { caller, stack, permit, environment: Some(environment) })
    }

    fn level(&self) -> SettingLevel {
        if self.environment.is_some() { SettingLevel::Environment } else { SettingLevel::Project }
    }

    /// The stack's variable behind a name, where it is one.
    fn own(&self, name: &str) -> Answer<Option<EnvName>> {
        match (&self.environment, name.strip_prefix("env:")) {
            (Some(_), Some(env)) => {
                let env = EnvName::new(env).map_err(|error| Refused::field("name", error.to_string()))?;
                Ok(Some(env))
            }
            _ => Ok(None),
        }
    }

    fn path(&self) -> String {
        let slug = self.stack.slug.as_str();
        match &self.environment {
            Some(environment) => format!("{}/variables", environment_path(slug, environment)),
            None => format!("{}/variables", project_path(slug)),
        }
    }

    fn all(&self) -> Answer<Vec<Shown>> {
        let queries = &self.caller.web.queries;
        let mut all: Vec<Shown> = match self.environment {
            Some(_) => queries.variables(&self.caller.who, &self.stack.slug)?.into_iter().map(Shown::of_own).collect(),
            None => Vec::new(),
        };
        let level = self.level();
        all.extend(queries.settings(&self.stack)?.into_iter().filter(|row| row.level == level).map(Shown::of_setting));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn find(&self, name: &str) -> Answer<Option<Shown>> {
        Ok(self.all()?.into_iter().find(|shown| shown.name == name))
    }

    fn found(&self, name: &str) -> Answer<Shown> {
        self.find(name)?.ok_or_else(|| Problem::not_found(format!("there is no variable `{name}`")))
    }

    async fn set(&self, name: &str, input: Input, old: Option<&Shown>) -> Answer<Shown> {
        let own = self.own(name)?;
        if own.is_some() {
            input.fits_own()?;
        }
        let is_sensitive = input.is_sensitive.unwrap_or_else(|| old.is_some_and(|old| old.is_sensitive));
        let is_json = input.is_json.unwrap_or_else(|| old.is_some_and(|old| old.is_json));
        let value = input.value.map(|value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        });
        let actions = &self.caller.web.actions;
        if let Some(env) = own {
            let value = match (value, old) {
                (Some(value), _) => value,
                (None, Some(Shown { value: Some(value), is_sensitive: false, .. })) => value.clone(),
                (None, _) => return Err(Refused::field("value", "is needed").into()),
            };
            if old.is_some_and(|old| old.is_sensitive) && !is_sensitive {
                return Err(Refused::field("is_sensitive", "a sensitive variable stays sensitive; delete it").into());
            }
            let new = NewVariable {
                name: env,
                value: Secret::new(value),
                sensitive: is_sensitive,
                description: String::new(),
            };
            actions.set_variable(&self.permit, self.stack.id, new).await?;
        } else {
            let new = NewSetting {
                level: self.level(),
                name: name.to_owned(),
                value: value.map(Secret::new),
                is_sensitive,
                is_json,
                is_enabled: input.is_enabled.unwrap_or_else(|| old.is_none_or(|old| old.is_enabled)),
                visible_build: input.visible_build.unwrap_or_else(|| old.is_none_or(|old| old.visible_build)),
                visible_runtime: input.visible_runtime.unwrap_or_else(|| old.is_none_or(|old| old.visible_runtime)),
            };
            actions.set_setting(&self.permit, self.stack.id, new).await?;
        }
        self.found(name)
    }

    async fn create(self, input: Input) -> Answer<(StatusCode, Hal)> {
        let name = input.name.clone().ok_or_else(|| Refused::field("name", "is needed"))?;
        if self.find(&name)?.is_some() {
            return Err(Refused::conflict(format!("the variable `{name}` exists already; change it instead")).into());
        }
        let shown = self.set(&name, input, None).await?;
        let entity = shown.shape(&self);
        let answer = json!({"status": "created", "code": 201, "_embedded": {"entity": entity, "activities": []}});
        Ok((StatusCode::CREATED, Hal(answer)))
    }

    async fn change(self, name: &str, input: Input) -> Answer<Hal> {
        let old = self.found(name)?;
        let shown = self.set(name, input, Some(&old)).await?;
        let entity = shown.shape(&self);
        Ok(Hal(json!({"status": "ok", "code": 200, "_embedded": {"entity": entity, "activities": []}})))
    }

    async fn delete(self, name: &str) -> Answer<Hal> {
        self.found(name)?;
        let actions = &self.caller.web.actions;
        match self.own(name)? {
            Some(env) => actions.delete_variable(&self.permit, self.stack.id, env).await?,
            None => actions.delete_setting(&self.permit, self.stack.id, self.level(), name.to_owned()).await?,
        }
        Ok(Hal(json!({"status": "deleted", "code": 200, "_embedded": {"activities": []}})))
    }
}

/// What a body may say. More is ignored.
#[derive(Debug, Default, Deserialize)]
struct Input {
    name: Option<String>,
    value: Option<Value>,
    is_sensitive: Option<bool>,
    is_json: Option<bool>,
    is_enabled: Option<bool>,
    visible_build: Option<bool>,
    visible_runtime: Option<bool>,
}

impl Input {
    /// Refuses what a variable of the stack's own cannot be: every phase of every run has it.
    fn fits_own(&self) -> Result<(), Refused> {
        let asked = [
            ("is_enabled", self.is_enabled),
            ("visible_build", self.visible_build),
            ("visible_runtime", self.visible_runtime),
        ];
        match asked.into_iter().find(|(_, value)| *value == Some(false)) {
            None => Ok(()),
            Some((field, _)) => Err(Refused::field(
                field,
                "cannot be false: an `env:` variable of the environment is the stack's own, which all its runs get; \
                 one of the project can be narrowed, or delete this one",
            )),
        }
    }
}

/// A variable as this API shows it.
#[expect(clippy::struct_excessive_bools, reason = "the fields of somebody else's format")]
struct Shown {
    name: String,
    /// None: it is sensitive.
    value: Option<String>,
    is_sensitive: bool,
    is_json: bool,
    is_enabled: bool,
    visible_build: bool,
    visible_runtime: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Shown {
    fn of_own(row: Variable) -> Self {
        let (value, is_sensitive) = open(row.value);
        Self {
            name: format!("env:{}", row.name),
            value,
            is_sensitive,
            is_json: false,
            is_enabled: true,
            visible_build: true,
            visible_runtime: true,
            created_at: row.updated_at,
            updated_at: row.updated_at,
        }
    }

    fn of_setting(row: Setting) -> Self {
        let (value, is_sensitive) = open(row.value);
        Self {
            name: row.name,
            value,
            is_sensitive,
            is_json: row.is_json,
            is_enabled: row.is_enabled,
            visible_build: row.visible_build,
            visible_runtime: row.visible_runtime,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }

    fn shape(&self, level: &Level) -> Value {
        let path = format!("{}/{}", level.path(), segment(&self.name));
        let mut shape = json!({
            "id": self.name,
            "name": self.name,
            "is_sensitive": self.is_sensitive,
            "is_json": self.is_json,
            "is_enabled": self.is_enabled,
            "is_inheritable": true,
            "inherited": false,
            "visible_build": self.visible_build,
            "visible_runtime": self.visible_runtime,
            "application_scope": [],
            "attributes": {},
            "project": level.stack.slug,
            "created_at": time(self.created_at),
            "updated_at": time(self.updated_at),
            "_links": links([("self", path.clone()), ("#edit", path.clone()), ("#delete", path)]),
        });
        if let Some(environment) = &level.environment {
            shape["environment"] = json!(environment);
        }
        if let Some(value) = &self.value {
            shape["value"] = json!(value);
        }
        shape
    }
}

fn open(value: VariableValue) -> (Option<String>, bool) {
    match value {
        VariableValue::Plain(value) => (Some(value), false),
        VariableValue::Sensitive { .. } => (None, true),
    }
}

fn shapes(level: &Level) -> Answer<Hal> {
    Ok(Hal(level.all()?.iter().take(2 * limits::VARIABLES_PER_STACK).map(|shown| shown.shape(level)).collect()))
}

async fn list_p(caller: Caller, At(project): At<String>) -> Answer<Hal> {
    shapes(&Level::project(caller, Permission::See, &project).await?)
}

async fn list_e(caller: Caller, At((project, environment)): At<(String, String)>) -> Answer<Hal> {
    shapes(&Level::environment(caller, Permission::See, &project, environment).await?)
}

async fn one_p(caller: Caller, At((project, name)): At<(String, String)>) -> Answer<Hal> {
    let level = Level::project(caller, Permission::See, &project).await?;
    Ok(Hal(level.found(&name)?.shape(&level)))
}

async fn one_e(caller: Caller, At((project, environment, name)): At<(String, String, String)>) -> Answer<Hal> {
    let level = Level::environment(caller, Permission::See, &project, environment).await?;
    Ok(Hal(level.found(&name)?.shape(&level)))
}

async fn create_p(
    caller: Caller,
    At(project): At<String>,
    Body { input, .. }: Body<Input>,
) -> Answer<(StatusCode, Hal)> {
    Level::project(caller, Permission::EditEnvironment, &project).await?.create(input).await
}

async fn create_e(
    caller: Caller,
    At((project, environment)): At<(String, String)>,
    Body { input, .. }: Body<Input>,
) -> Answer<(StatusCode, Hal)> {
    Level::environment(caller, Permission::EditEnvironment, &project, environment).await?.create(input).await
}

async fn change_p(
    caller: Caller,
    At((project, name)): At<(String, String)>,
    Body { input, .. }: Body<Input>,
) -> Answer<Hal> {
    Level::project(caller, Permission::EditEnvironment, &project).await?.change(&name, input).await
}

async fn change_e(
    caller: Caller,
    At((project, environment, name)): At<(String, String, String)>,
    Body { input, .. }: Body<Input>,
) -> Answer<Hal> {
    Level::environment(caller, Permission::EditEnvironment, &project, environment).await?.change(&name, input).await
}

async fn delete_p(caller: Caller, At((project, name)): At<(String, String)>) -> Answer<Hal> {
    Level::project(caller, Permission::EditEnvironment, &project).await?.delete(&name).await
}

async fn delete_e(caller: Caller, At((project, environment, name)): At<(String, String, String)>) -> Answer<Hal> {
    Level::environment(caller, Permission::EditEnvironment, &project, environment).await?.delete(&name).await
}
