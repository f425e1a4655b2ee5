//! `/stacks/{slug}/run-tasks`: outside checks of the stack's runs.

use axum::extract::{Path, State};

use super::{
    head::{crumbs, head},
    slug_of,
};
use crate::{
    actions::NewAttachment,
    auth::Permission,
    domain::{AttachmentId, Enforcement, Refused, Role, RunTaskName, Slug, Stage},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            sent::{Form, Sent, Wrong},
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            StackRunTasksPage,
            frame::{Empty, Place},
            run_task::{AttachedRow, Terms, UnattachedRow},
        },
    },
    queries::{AttachmentRow, RunTask},
};

pub async fn get(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>) -> Answer {
    visitor.page(&page(&web, &visitor, &slug_of(&slug)?)?)
}

fn page(web: &Web, visitor: &Visitor, slug: &Slug) -> Result<StackRunTasksPage, Problem> {
    let row = web.queries.stack_row(&visitor.who, slug)?;
    let head = head(web, &visitor.who, &row, "Run tasks")?;
    let administers = visitor.who.role_on(row.stack.id) >= Some(Role::Admin);
    let unattached = match administers {
        true => Some(web.queries.unattached(&visitor.who, slug)?.into_iter().map(unattached).collect()),
        false => None,
    };
    Ok(StackRunTasksPage {
        frame: visitor.frame(
            Place::Stacks,
            format!("Run tasks · {}", head.stack.name),
            crumbs(&head, Some("Run tasks")),
        )?,
        attached: web.queries.attachments(&visitor.who, slug)?.into_iter().map(attached).collect(),
        unattached,
        may_make: visitor.who.admin,
        problem: None,
        empty: Empty {
            title: "No outside checks".to_owned(),
            text: "Run tasks that are called before or after planning and applying will appear here, with what it \
                   means when they do not pass."
                .to_owned(),
            action: (visitor.who.admin && web.queries.run_tasks()?.is_empty())
                .then(|| ("New run task".to_owned(), "/admin/run-tasks#new".to_owned())),
        },
        head,
    })
}

fn attached(row: AttachmentRow) -> AttachedRow {
    AttachedRow {
        id: row.attachment.id.to_string(),
        name: row.task.name.to_string(),
        description: row.task.description,
        enabled: row.task.enabled,
        terms: Terms { stages: row.attachment.stages, enforcement: row.attachment.enforcement },
    }
}

fn unattached(task: RunTask) -> UnattachedRow {
    UnattachedRow { name: task.name.to_string(), description: task.description, enabled: task.enabled }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>, Form(sent): Form) -> Answer {
    let slug = slug_of(&slug)?;
    let (stack, permit) = visitor.may_on(Permission::AttachRunTasks, &slug).await?;
    let done = match sent.verb() {
        "attach" => {
            let new = wanted(&web, &sent)?;
            let once = visitor.once(&sent)?;
            let text = format!("Runs of {} are checked by {} now.", stack.settings.name, sent.text("run_task"));
            web.actions.attach_run_task(&permit, stack.id, new, once).await.map(|_| text)
        }
        "save" => {
            let (id, name) = found(&web, &visitor, &slug, &sent)?;
            let (stages, enforcement) = terms(&sent)?;
            let saved = web.actions.edit_attachment(&permit, stack.id, id, stages, enforcement).await;
            saved.map(|_| format!("{name} was saved for {}.", stack.settings.name))
        }
        "detach" => {
            let (id, name) = found(&web, &visitor, &slug, &sent)?;
            let text = format!("Runs of {} are no longer checked by {name}.", stack.settings.name);
            web.actions.detach_run_task(&permit, stack.id, id).await.map(|()| text)
        }
        other => return Err(unknown_verb(other)),
    };
    match done {
        Ok(text) => visitor.done(&visitor.path, Carried::good(text)),
        Err(error) => {
            let wrong = Wrong::of(error)?;
            let mut page = page(&web, &visitor, &slug)?;
            page.problem = Some(wrong.sentence());
            visitor.page_with(wrong.status, &page)
        }
    }
}

fn wanted(web: &Web, sent: &Sent) -> Result<NewAttachment, Problem> {
    let missing = || Problem::not_found("there is no such run task");
    let name = RunTaskName::new(sent.text("run_task")).map_err(|_| missing())?;
    let (stages, enforcement) = terms(sent)?;
    Ok(NewAttachment { run_task: web.queries.run_task(&name)?.task.id, stages, enforcement })
}

fn terms(sent: &Sent) -> Result<(Vec<Stage>, Enforcement), Refused> {
    let stages = sent
        .all("stage")
        .map(|word| Stage::from_word(word).ok_or_else(|| Refused::field("stage", format!("`{word}` is not a stage"))));
    let enforcement = Enforcement::from_word(sent.text("enforcement"));
    let enforcement = enforcement.ok_or_else(|| Refused::field("enforcement", "choose one"))?;
    Ok((stages.collect::<Result<_, _>>()?, enforcement))
}

/// The attachment that a form is about, with its run task's name.
fn found(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Result<(AttachmentId, String), Problem> {
    let missing = || Problem::not_found("that run task is not on this stack any more");
    let id: AttachmentId = sent.text("attached").parse().map_err(|_| missing())?;
    let row = web.queries.attachment(&visitor.who, slug, id).map_err(|_| missing())?;
    Ok((id, row.task.name.to_string()))
}
