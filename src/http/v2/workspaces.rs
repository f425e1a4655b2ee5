//! Run tasks on stacks.

use axum::{Router, http::StatusCode, routing::get};
use serde_json::{Value, json};

use super::{
    Answer, ORGANIZATION,
    document::{Document, Given, Wanted, reference},
};
use crate::{
    actions::NewAttachment,
    auth::{Permission, Permit},
    domain::{
        AttachmentId, Enforcement, Refused, RunTaskId, Slug, StackId, Stage,
        run_task::{outward, stack_of_workspace, workspace_id},
    },
    http::{
        Problem, Web,
        extract::{Asker, At},
    },
    queries::{AttachmentRow, Stack},
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/api/v2/workspaces/{workspace}/tasks", get(list).post(create))
        .route("/api/v2/workspaces/{workspace}/tasks/{id}", get(one).patch(change).delete(delete))
}

/// A stack by its id outside, or by its slug, and the permit to do something to it.
async fn find(asker: &Asker, permission: Permission, workspace: &str) -> Answer<(Stack, Permit)> {
    let missing = || Problem::not_found(format!("there is no workspace `{workspace}`, or you may not see it"));
    let slug = match stack_of_workspace(workspace) {
        Ok(id) => asker.web.queries.slug_of(id)?.ok_or_else(missing)?,
        Err(_) => Slug::new(workspace).map_err(|_| missing())?,
    };
    asker.may_on(permission, &slug).await
}

async fn list(asker: Asker, At(workspace): At<String>, wanted: Wanted) -> Answer<Document> {
    let (stack, _) = find(&asker, Permission::See, &workspace).await?;
    let rows = asker.web.queries.attachments(&asker.who, &stack.slug)?;
    Ok(wanted.page(rows, |row| resource(&row)))
}

async fn create(asker: Asker, At(workspace): At<String>, given: Given) -> Answer<(StatusCode, Document)> {
    let (stack, permit) = find(&asker, Permission::AttachRunTasks, &workspace).await?;
    let task = given.related("task").ok_or_else(|| Refused::field("task", "is needed, as a relationship"))?;
    let task: RunTaskId = task.parse().map_err(|_| Refused::field("task", "is not the id of a run task"))?;
    let new = NewAttachment {
        run_task: task,
        stages: stages(&given)?.unwrap_or_else(|| vec![Stage::PostPlan]),
        enforcement: enforcement(&given)?.unwrap_or(Enforcement::Advisory),
    };
    let row = asker.web.actions.attach_run_task(&permit, stack.id, new, None).await?;
    let row = asker.web.queries.attachment(&asker.who, &stack.slug, row.id)?;
    Ok((StatusCode::CREATED, Document::of(resource(&row))))
}

fn enforcement(given: &Given) -> Result<Option<Enforcement>, Refused> {
    let word = given.text("enforcement-level")?;
    word.map(|word| {
        let why = || Refused::field("enforcement_level", format!("`{word}` is neither advisory nor mandatory"));
        Enforcement::from_word(word).ok_or_else(why)
    })
    .transpose()
}

/// `stages`, or `stage`, which older clients send.
fn stages(given: &Given) -> Result<Option<Vec<Stage>>, Refused> {
    let read = |word: &Value| {
        let found = word.as_str().and_then(Stage::from_word);
        found.ok_or_else(|| Refused::field("stages", format!("{word} is not a stage")))
    };
    match (given.attribute("stages"), given.attribute("stage")) {
        (Some(Value::Array(words)), _) => words.iter().map(read).collect::<Result<Vec<_>, _>>().map(Some),
        (Some(_), _) => Err(Refused::field("stages", "must be a list")),
        (None, Some(word)) => Ok(Some(vec![read(word)?])),
        (None, None) => Ok(None),
    }
}

async fn one(asker: Asker, At((workspace, id)): At<(String, AttachmentId)>) -> Answer<Document> {
    let (stack, _) = find(&asker, Permission::See, &workspace).await?;
    Ok(Document::of(resource(&asker.web.queries.attachment(&asker.who, &stack.slug, id)?)))
}

async fn change(asker: Asker, At((workspace, id)): At<(String, AttachmentId)>, given: Given) -> Answer<Document> {
    let (stack, permit) = find(&asker, Permission::AttachRunTasks, &workspace).await?;
    let old = asker.web.queries.attachment(&asker.who, &stack.slug, id)?.attachment;
    let stages = stages(&given)?.unwrap_or(old.stages);
    let enforcement = enforcement(&given)?.unwrap_or(old.enforcement);
    asker.web.actions.edit_attachment(&permit, stack.id, id, stages, enforcement).await?;
    Ok(Document::of(resource(&asker.web.queries.attachment(&asker.who, &stack.slug, id)?)))
}

async fn delete(asker: Asker, At((workspace, id)): At<(String, AttachmentId)>) -> Answer<StatusCode> {
    let (stack, permit) = find(&asker, Permission::AttachRunTasks, &workspace).await?;
    asker.web.actions.detach_run_task(&permit, stack.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn resource(row: &AttachmentRow) -> Value {
    let attachment = &row.attachment;
    let (id, workspace) = (outward(attachment.id), workspace_id(attachment.stack));
    json!({
        "id": id,
        "type": "workspace-tasks",
        "attributes": {
            "enforcement-level": attachment.enforcement,
            "stages": attachment.stages,
            "stage": attachment.stages.first(),
        },
        "relationships": {
            "task": {"data": reference("tasks", attachment.run_task)},
            "workspace": {"data": {"id": workspace, "type": "workspaces"}},
        },
        "links": {"self": format!("/api/v2/workspaces/{workspace}/tasks/{id}")},
    })
}

pub(super) fn workspace(id: StackId, slug: &Slug) -> Value {
    json!({
        "id": workspace_id(id),
        "type": "workspaces",
        "attributes": {"name": slug},
        "relationships": {"organization": {"data": {"id": ORGANIZATION, "type": "organizations"}}},
    })
}
