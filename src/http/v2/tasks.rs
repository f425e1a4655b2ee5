//! Run tasks of the installation.

use axum::{Router, http::StatusCode, routing::get};
use serde_json::{Value, json};

use super::{
    Answer, ORGANIZATION, check_organization,
    document::{Document, Given, Wanted, reference},
    workspaces,
};
use crate::{
    actions::{NewRunTask, NewRunTaskKind, Secret},
    auth::Permission,
    domain::{Refused, RunTaskId, RunTaskName, run_task::outward},
    http::{
        Web,
        extract::{Asker, At},
    },
    queries::{RunTaskKind, RunTaskRow},
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/api/v2/organizations/{organization}/tasks", get(list).post(create))
        .route("/api/v2/tasks/{id}", get(one).patch(change).delete(delete))
}

async fn list(asker: Asker, At(organization): At<String>, wanted: Wanted) -> Answer<Document> {
    check_organization(&organization)?;
    asker.may_here(Permission::ManageRunTasks).await?;
    let rows = asker.web.queries.run_tasks()?;
    let included = included(&asker, &rows, &wanted)?;
    Ok(wanted.page(rows, |row| resource(&row)).including(included))
}

async fn create(asker: Asker, At(organization): At<String>, given: Given) -> Answer<(StatusCode, Document)> {
    check_organization(&organization)?;
    let permit = asker.may_here(Permission::ManageRunTasks).await?;
    check_fixed(&given)?;
    let needed =
        |name: &str| Ok::<_, Refused>(given.text(name)?.ok_or_else(|| Refused::field(name, "is needed"))?.to_owned());
    let new = NewRunTask {
        name: name(&needed("name")?)?,
        description: given.text("description")?.unwrap_or_default().to_owned(),
        kind: NewRunTaskKind::Http { url: needed("url")?, hmac_key: key(&given)? },
        enabled: given.flag("enabled")?.unwrap_or(true),
        trusted: false,
    };
    let task = asker.web.actions.create_run_task(&permit, new, None).await?;
    Ok((StatusCode::CREATED, Document::of(resource(&asker.web.queries.run_task_by_id(task.id)?))))
}

fn name(text: &str) -> Result<RunTaskName, Refused> {
    RunTaskName::new(text).map_err(|error| Refused::field("name", error.to_string()))
}

/// A key that was given; an empty one removes what is stored.
fn key(given: &Given) -> Result<Option<Secret<String>>, Refused> {
    match given.text("hmac-key")? {
        Some(key) => Ok(Some(Secret::new(key.to_owned()))),
        None => Ok(given.names("hmac-key").then(|| Secret::new(String::new()))),
    }
}

/// What has one meaning only here.
fn check_fixed(given: &Given) -> Result<(), Refused> {
    if given.text("category")?.is_some_and(|category| category != "task") {
        return Err(Refused::field("category", "must be `task`"));
    }
    let global = given.attribute("global-configuration").and_then(|it| it.get("enabled")).and_then(Value::as_bool);
    if global == Some(true) {
        return Err(Refused::field("global-configuration", "is not known here: attach the run task to workspaces"));
    }
    Ok(())
}

async fn one(asker: Asker, At(id): At<RunTaskId>, wanted: Wanted) -> Answer<Document> {
    asker.may_here(Permission::ManageRunTasks).await?;
    let row = asker.web.queries.run_task_by_id(id)?;
    let included = included(&asker, std::slice::from_ref(&row), &wanted)?;
    Ok(Document::of(resource(&row)).including(included))
}

async fn change(asker: Asker, At(id): At<RunTaskId>, given: Given) -> Answer<Document> {
    let permit = asker.may_here(Permission::ManageRunTasks).await?;
    check_fixed(&given)?;
    let old = asker.web.queries.run_task_by_id(id)?.task;
    let new_url = given.text("url")?.filter(|url| *url != url_of(&old.kind));
    let kind = match (&old.kind, new_url) {
        (_, Some(url)) => NewRunTaskKind::Http { url: url.to_owned(), hmac_key: key(&given)? },
        (RunTaskKind::Http { url, .. }, None) => NewRunTaskKind::Http { url: url.clone(), hmac_key: key(&given)? },
        (RunTaskKind::Wasi { guest }, None) => NewRunTaskKind::Wasi { guest: guest.clone() },
    };
    let new = NewRunTask {
        name: given.text("name")?.map(name).transpose()?.unwrap_or(old.name),
        description: match given.names("description") {
            true => given.text("description")?.unwrap_or_default().to_owned(),
            false => old.description,
        },
        kind,
        enabled: given.flag("enabled")?.unwrap_or(old.enabled),
        trusted: old.trusted,
    };
    asker.web.actions.edit_run_task(&permit, id, new).await?;
    Ok(Document::of(resource(&asker.web.queries.run_task_by_id(id)?)))
}

async fn delete(asker: Asker, At(id): At<RunTaskId>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageRunTasks).await?;
    asker.web.queries.run_task_by_id(id)?;
    asker.web.actions.delete_run_task(&permit, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is called; a guest is called by its name.
fn url_of(kind: &RunTaskKind) -> String {
    match kind {
        RunTaskKind::Http { url, .. } => url.clone(),
        RunTaskKind::Wasi { guest } => format!("wasi:{guest}"),
    }
}

pub(super) fn resource(row: &RunTaskRow) -> Value {
    let task = &row.task;
    let id = outward(task.id);
    json!({
        "id": id,
        "type": "tasks",
        "attributes": {
            "category": "task",
            "name": task.name,
            "url": url_of(&task.kind),
            "description": task.description,
            "enabled": task.enabled,
            "hmac-key": null,
            "global-configuration": {"enabled": false, "stages": [], "enforcement-level": "advisory"},
        },
        "relationships": {
            "organization": {"data": {"id": ORGANIZATION, "type": "organizations"}},
            "agent-pool": {"data": null},
            "workspace-tasks": {"data": row.attachments.iter().map(|id| reference("workspace-tasks", id)).collect::<Vec<_>>()},
        },
        "links": {"self": format!("/api/v2/tasks/{id}")},
    })
}

/// `include=workspace_tasks,workspace_tasks.workspace`
fn included(asker: &Asker, rows: &[RunTaskRow], wanted: &Wanted) -> Answer<Vec<Value>> {
    let mut included = Vec::new();
    if !wanted.includes("workspace-tasks") {
        return Ok(included);
    }
    for stack in rows.iter().flat_map(|row| &row.stacks) {
        for attached in asker.web.queries.attachments(&asker.who, &stack.slug)? {
            if rows.iter().any(|row| row.task.id == attached.task.id) {
                included.push(workspaces::resource(&attached));
            }
        }
        if wanted.includes_below("workspace-tasks.workspace") {
            included.push(workspaces::workspace(stack.id, &stack.slug));
        }
    }
    included.sort_by_key(|it| it["id"].to_string());
    included.dedup();
    Ok(included)
}
