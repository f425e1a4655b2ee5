//! `/admin/run-tasks`: outside checks, and how calling them goes.

use std::time::Duration;

use axum::extract::{Path, State};

use crate::{
    actions::{NewRunTask, NewRunTaskKind, Secret},
    auth::{On, Permission, Permit},
    domain::{GuestName, Look, Refused, RunTaskName, TaskResultId, limits},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            lists::{cursor, pager},
            sent::{Asked, Form, Sent, Wrong},
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            RunTaskPage, RunTasksPage,
            admin::admin_tabs,
            form::Fields as _,
            frame::{Empty, Place},
            rows::StackRef,
            run_task::{DeliveryRow, RunTaskForm, RunTaskRow, VerificationRow},
            status::{Badge, Moment},
            words,
        },
    },
    queries::{DeliveryReason, DeliveryRow as Sending, RunTaskKind, RunTaskRow as Record, Verification},
};

const PATH: &str = "/admin/run-tasks";
/// What is written into the field of a key to remove the stored one.
const NO_KEY: &str = "-";

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.may_here(Permission::ManageRunTasks).await?;
    visitor.page(&page(&web, &visitor)?)
}

fn page(web: &Web, visitor: &Visitor) -> Result<RunTasksPage, Problem> {
    Ok(RunTasksPage {
        frame: visitor.frame(Place::Admin, "Run tasks", super::crumbs("Run tasks"))?,
        tabs: admin_tabs("Run tasks"),
        tasks: web.queries.run_tasks()?.into_iter().map(|row| shown(web, row)).collect(),
        form: RunTaskForm::new(&guests(web, visitor)?),
        problems: Vec::new(),
        empty: Empty {
            title: "No run tasks yet".to_owned(),
            text: "Checks of cost, security or change management that are called at the stages of a run will appear \
                   here. Services that speak HCP Terraform's run-task protocol work unchanged."
                .to_owned(),
            action: None,
        },
    })
}

fn guests(web: &Web, visitor: &Visitor) -> Result<Vec<String>, Problem> {
    Ok(web.queries.guests(&visitor.who)?.into_iter().map(|guest| guest.name.to_string()).collect())
}

fn shown(web: &Web, row: Record) -> RunTaskRow {
    let task = row.task;
    let (what, signed) = match &task.kind {
        RunTaskKind::Http { url, hmac_key } => (host(url), hmac_key.is_some()),
        RunTaskKind::Wasi { guest } => (format!("the guest {guest}"), false),
    };
    RunTaskRow {
        href: format!("{PATH}/{}", task.name),
        name: task.name.to_string(),
        enabled: task.enabled,
        trusted: task.trusted,
        what,
        signed,
        description: task.description,
        stacks: match row.stacks.len() {
            0 => "on no stack".to_owned(),
            n => format!("on {}", words::count(n as u64, "stack")),
        },
        updated: Moment::new(task.updated_at, web.queries.now()),
    }
}

/// An address without its path, which may be a secret.
pub(super) fn host(url: &str) -> String {
    url::Url::parse(url)
        .map_or_else(|_| url.to_owned(), |url| url[url::Position::BeforeScheme..url::Position::BeforePath].to_owned())
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManageRunTasks).await?;
    match sent.verb() {
        "create" => create(&web, &visitor, &permit, &sent).await,
        other => Err(unknown_verb(other)),
    }
}

async fn create(web: &Web, visitor: &Visitor, permit: &Permit, sent: &Sent) -> Answer {
    let wrong: Wrong = match wanted(sent, false) {
        Err(refused) => refused.into(),
        Ok(new) => match web.actions.create_run_task(permit, new, visitor.once(sent)?).await {
            Ok(task) => {
                let text = format!("The run task {} is there. It is called once a stack has it.", task.name);
                return visitor.done(&format!("{PATH}/{}", task.name), Carried::good(text));
            }
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = page(web, visitor)?;
    page.form.keep(sent.pairs());
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

/// What a form asks for. In one that changes something an empty key keeps the stored one.
fn wanted(sent: &Sent, changes: bool) -> Result<NewRunTask, Refused> {
    let name = RunTaskName::new(sent.text("name").trim());
    let name = name.map_err(|error| Refused::field("name", error.to_string()))?;
    let kind = match sent.text("kind") {
        "http" => {
            let key = sent.filled("hmac_key");
            let hmac_key = match key {
                None => None,
                Some(NO_KEY) if changes => Some(Secret::new(String::new())),
                Some(key) => Some(Secret::new(key.to_owned())),
            };
            NewRunTaskKind::Http { url: sent.text("url").trim().to_owned(), hmac_key }
        }
        "wasi" => {
            let guest = GuestName::new(sent.text("guest"));
            NewRunTaskKind::Wasi { guest: guest.map_err(|error| Refused::field("guest", error.to_string()))? }
        }
        _ => return Err(Refused::field("kind", "choose one")),
    };
    Ok(NewRunTask {
        name,
        description: sent.text("description").trim().to_owned(),
        kind,
        enabled: sent.is_on("enabled"),
        trusted: sent.is_on("trusted"),
    })
}

// ── One of them ─────────────────────────────────────────────────────────────────────────────

fn name_of(text: &str) -> Result<RunTaskName, Problem> {
    RunTaskName::new(text).map_err(|_| Problem::not_found("there is no such run task"))
}

pub async fn get_one(
    State(web): State<Web>,
    visitor: Visitor,
    Path(name): Path<String>,
    Asked(asked): Asked,
) -> Answer {
    visitor.may_here(Permission::ManageRunTasks).await?;
    visitor.page(&one(&web, &visitor, &name_of(&name)?, &asked)?)
}

fn one(web: &Web, visitor: &Visitor, name: &RunTaskName, asked: &Sent) -> Result<RunTaskPage, Problem> {
    let row = web.queries.run_task(name)?;
    let task = row.task;
    let crumbs = super::crumbs_below("Run tasks", PATH, task.name.as_str());
    let sent = web.queries.deliveries(task.id, cursor(asked)?.as_ref(), limits::PAGE_ROWS)?;
    let pages = pager(&format!("{PATH}/{}", task.name), asked, &sent);
    let mut form = RunTaskForm::new(&guests(web, visitor)?);
    task.name.as_str().clone_into(&mut form.name.value);
    form.description.value.clone_from(&task.description);
    let on = |on: bool| if on { "on".to_owned() } else { String::new() };
    (form.enabled.value, form.trusted.value) = (on(task.enabled), on(task.trusted));
    match &task.kind {
        RunTaskKind::Http { url, hmac_key } => {
            form.url.value.clone_from(url);
            if hmac_key.is_some() {
                form.keeps_key();
            }
        }
        RunTaskKind::Wasi { guest } => {
            "wasi".clone_into(&mut form.kind.value);
            guest.as_str().clone_into(&mut form.guest.value);
        }
    }
    let badge = match task.enabled {
        true => Badge::new(Look::Succeeded, "Enabled"),
        false => Badge::new(Look::Skipped, "Disabled"),
    };
    let stack = |it: crate::queries::OnStack| StackRef { slug: it.slug.to_string(), name: it.name.to_string() };
    Ok(RunTaskPage {
        frame: visitor.frame(Place::Admin, format!("Run task {}", task.name), crumbs)?,
        tabs: admin_tabs("Run tasks"),
        name: task.name.to_string(),
        id: task.id.to_string(),
        badge,
        form,
        problems: Vec::new(),
        stacks: row.stacks.into_iter().map(stack).collect(),
        deliveries: deliveries(web, sent.items),
        verifications: task.verifications.iter().rev().map(|asked| verified(web, asked)).collect(),
        pager: pages,
        is_called: matches!(task.kind, RunTaskKind::Http { .. }),
    })
}

fn answered(status: Option<u16>) -> Badge {
    match status {
        Some(200) => Badge::new(Look::Succeeded, "200"),
        Some(status) => Badge::new(Look::Failed, status.to_string()),
        None => Badge::new(Look::Failed, "No answer"),
    }
}

fn verified(web: &Web, asked: &Verification) -> VerificationRow {
    VerificationRow {
        badge: answered(asked.status),
        at: Moment::new(asked.at, web.queries.now()),
        took: words::span(Duration::from_millis(asked.duration_ms)),
        note: asked.note.clone(),
    }
}

fn deliveries(web: &Web, sendings: Vec<Sending>) -> Vec<DeliveryRow> {
    let now = web.queries.now();
    let mut seen = std::collections::HashSet::new();
    let row = |it: Sending| DeliveryRow {
        badge: answered(it.delivery.status),
        attempt: it.n,
        at: Moment::new(it.delivery.at, now),
        took: words::span(Duration::from_millis(it.delivery.duration_ms)),
        reason: match &it.delivery.reason {
            DeliveryReason::First => "first".to_owned(),
            DeliveryReason::Retry => "retry".to_owned(),
            DeliveryReason::Again { by } => format!("sent again by {}", by.name),
        },
        stage: it.result.stage.title(),
        run: it.result.run.to_string(),
        note: it.delivery.note,
        // The rows come newest first: one button for each result.
        may_send: seen.insert(it.result.id),
        result: it.result.id.to_string(),
    };
    sendings.into_iter().map(row).collect()
}

pub async fn post_one(State(web): State<Web>, visitor: Visitor, Path(name): Path<String>, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManageRunTasks).await?;
    let name = name_of(&name)?;
    match sent.verb() {
        "save" => save(&web, &visitor, &permit, &name, &sent).await,
        "delete" => {
            let id = web.queries.run_task(&name)?.task.id;
            web.actions.delete_run_task(&permit, id).await?;
            visitor.done(PATH, Carried::good(format!("The run task {name} was deleted.")))
        }
        "redeliver" => {
            let id: TaskResultId =
                sent.text("result").parse().map_err(|_| Problem::not_found("there is no such delivery"))?;
            let task = web.queries.run_task(&name)?.task.id;
            let result = web.queries.task_result(&visitor.who, id)?;
            if result.run_task != task {
                return Err(Problem::not_found("there is no such delivery"));
            }
            let permit = visitor.may(Permission::ManageRunTasks, On::Stack(result.stack), &id.to_string()).await?;
            web.actions.redeliver(&permit, id).await?;
            visitor.done(&visitor.path, Carried::good(format!("The request to {name} is sent again.")))
        }
        other => Err(unknown_verb(other)),
    }
}

async fn save(web: &Web, visitor: &Visitor, permit: &Permit, name: &RunTaskName, sent: &Sent) -> Answer {
    let id = web.queries.run_task(name)?.task.id;
    let wrong: Wrong = match wanted(sent, true) {
        Err(refused) => refused.into(),
        Ok(new) => match web.actions.edit_run_task(permit, id, new).await {
            Ok(task) => {
                let text = format!("The run task {} was saved.", task.name);
                return visitor.done(&format!("{PATH}/{}", task.name), Carried::good(text));
            }
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = one(web, visitor, name, &Sent::default())?;
    page.form.keep(sent.pairs());
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}
