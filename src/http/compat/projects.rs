//! Projects, environments, and who asks: what clients look up first.

use axum::{Router, routing::get};
use serde_json::{Value, json};

use super::{
    Answer, Caller, environment_of,
    hal::{Hal, environment_path, links, project_path, segment, time},
};
use crate::{
    auth::{Permission, Who},
    domain::{Actor, Refused, Role},
    http::{Problem, Web, extract::At},
    queries::{Stack, StackFilter},
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/projects/{project}", get(project))
        .route("/projects/{project}/settings", get(settings))
        .route("/projects/{project}/environments", get(environments))
        .route("/projects/{project}/environments/{environment}", get(environment))
        .route("/users/me", get(me))
        .route("/me", get(me))
        .route("/users/{user}", get(user))
        .route("/users/{user}/extended-access", get(extended_access))
}

async fn project(caller: Caller, At(project): At<String>) -> Answer<Hal> {
    let (stack, _) = caller.may(Permission::See, &project).await?;
    Ok(Hal(project_shape(&stack)))
}

fn project_shape(stack: &Stack) -> Value {
    let (slug, environment) = (stack.slug.as_str(), environment_of(stack));
    let path = project_path(slug);
    json!({
        "id": slug,
        "title": stack.settings.name,
        "name": stack.settings.name,
        "description": stack.settings.description,
        "owner": "airlock",
        "namespace": null,
        "organization": null,
        "region": "local",
        "timezone": "UTC",
        "status": {"code": "provisioned", "message": "ok"},
        "default_branch": environment,
        "default_domain": null,
        "attributes": {},
        "repository": {"url": "", "client_ssh_key": null},
        "subscription": {"license_uri": "", "plan": "self-hosted", "environments": 1, "storage": 0, "included_users": 0, "restricted": false, "suspended": !stack.settings.enabled},
        "created_at": time(stack.created_at),
        "updated_at": time(stack.created_at),
        "_links": links([
            ("self", path.clone()),
            ("environments", format!("{path}/environments")),
            ("#activities", format!("{path}/activities")),
            ("#variables", format!("{path}/variables")),
            ("#manage-variables", format!("{path}/variables")),
        ]),
    })
}

async fn settings(caller: Caller, At(project): At<String>) -> Answer<Hal> {
    caller.may(Permission::See, &project).await?;
    Ok(Hal(json!({"sizing_api_enabled": false, "enable_paused_environments": false})))
}

async fn environments(caller: Caller, At(project): At<String>) -> Answer<Hal> {
    let (stack, _) = caller.may(Permission::See, &project).await?;
    if caller.who.workload().is_some() {
        return Err(Refused::forbidden("the token of a task is for its own environment, and lists none").into());
    }
    Ok(Hal(json!([environment_shape(&stack)])))
}

async fn environment(caller: Caller, At((project, name)): At<(String, String)>) -> Answer<Hal> {
    let (stack, _) = caller.may_in(Permission::See, &project, &name).await?;
    caller.sees_environment()?;
    Ok(Hal(environment_shape(&stack)))
}

fn environment_shape(stack: &Stack) -> Value {
    let (slug, name) = (stack.slug.as_str(), environment_of(stack));
    let path = environment_path(slug, name);
    let kind = if matches!(name, "main" | "master") { "production" } else { "development" };
    json!({
        "id": name,
        "name": name,
        "machine_name": name,
        "title": name,
        "type": kind,
        "project": slug,
        "parent": null,
        "status": if stack.settings.enabled { "active" } else { "paused" },
        "is_main": true,
        "is_dirty": false,
        "is_pr": false,
        "has_code": stack.settings.source.is_some(),
        "has_domains": false,
        "deployment_target": "local",
        "default_domain": null,
        "head_commit": null,
        "attributes": {},
        "http_access": {"is_enabled": false, "addresses": [], "basic_auth": {}},
        "created_at": time(stack.created_at),
        "updated_at": time(stack.created_at),
        "_links": links([
            ("self", path.clone()),
            ("#edit", path.clone()),
            ("#activities", format!("{path}/activities")),
            ("#variables", format!("{path}/variables")),
            ("#manage-variables", format!("{path}/variables")),
            ("#tasks", format!("{path}/tasks")),
        ]),
    })
}

async fn me(caller: Caller) -> Hal {
    Hal(user_shape(&caller.who))
}

async fn user(caller: Caller, At(user): At<String>) -> Answer<Hal> {
    own(&caller, &user)?;
    Ok(Hal(user_shape(&caller.who)))
}

/// Only oneself: other people's accounts are none of a client's business.
fn own(caller: &Caller, user: &str) -> Answer<()> {
    if user == "me" || user == id_of(&caller.who) {
        return Ok(());
    }
    Err(Problem::not_found("there is no such user, or you may not see it"))
}

fn id_of(who: &Who) -> String {
    match &who.actor {
        Actor::User { id, .. } => id.to_string(),
        Actor::ApiKey { id, .. } => id.to_string(),
        Actor::Workload { run, .. } => run.to_string(),
        Actor::System => "system".to_owned(),
    }
}

fn user_shape(who: &Who) -> Value {
    let (id, name) = (id_of(who), who.actor.name());
    json!({
        "id": id,
        "uuid": id,
        "username": name,
        "display_name": name,
        "first_name": name,
        "last_name": "",
        "email": format!("{}@localhost", segment(name)),
        "email_verified": true,
        "picture": "",
        "country": "",
        "mfa_enabled": false,
        "projects": [],
        "_links": links([("self", format!("/users/{id}"))]),
    })
}

async fn extended_access(caller: Caller, At(user): At<String>) -> Answer<Hal> {
    own(&caller, &user)?;
    let id = id_of(&caller.who);
    let rows = caller.web.queries.stacks(&caller.who, &StackFilter::default())?;
    let items: Vec<Value> = rows
        .into_iter()
        .map(|row| {
            let permissions = match caller.who.role_on(row.stack.id) {
                Some(Role::Admin) => json!(["admin"]),
                Some(Role::Writer) => json!(["production:contributor", "development:contributor"]),
                Some(Role::Reader) | None => json!(["production:viewer", "development:viewer"]),
            };
            json!({
                "user_id": id,
                "resource_type": "project",
                "resource_id": row.stack.slug,
                "organization_id": null,
                "permissions": permissions,
                "granted_at": time(row.stack.created_at),
                "updated_at": time(row.stack.created_at),
            })
        })
        .collect();
    Ok(Hal(json!({"items": items, "_links": links([("self", format!("/users/{id}/extended-access"))])})))
}
