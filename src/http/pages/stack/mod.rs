//! The pages of one stack: runs and tasks, and what stands above all of them.

pub mod environment;
pub mod fields;
mod head;
pub mod new;
pub mod policies;
pub mod run_tasks;
pub mod settings;
mod upload;

use axum::extract::{Path, State};

use self::head::{crumbs, head};
use super::{
    cookies::Carried,
    declared,
    lists::{cursor, pager},
    sent::{Asked, Form, Sent, Wrong, sentence},
    show::{Rev, Rows},
    tasks,
    visitor::{Answer, Visitor, block, unknown_verb},
};
use crate::{
    actions::NewRun,
    auth::{Permission, Who},
    domain::{CommitSha, FieldError, Kind, Note, Refused, Role, Slug, limits},
    http::{
        Problem, Web,
        view::{
            StackRunsPage, StackTasksPage,
            form::Fields as _,
            frame::{Empty, Place},
            lists::CommandForm,
            live::LiveState,
            offers,
            rows::RunList,
            stack::StackHead,
        },
    },
    queries::{Page, Run, RunFilter, StackRow},
};

/// A slug out of an address; a text that cannot be one is no stack's.
pub fn slug_of(text: &str) -> Result<Slug, Problem> {
    Slug::new(text).map_err(|_| Problem::not_found("there is no such stack"))
}

/// Which runs a tab shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tab {
    Runs,
    Tasks,
}

impl Tab {
    fn kinds(self) -> Vec<Kind> {
        match self {
            Self::Runs => vec![Kind::Tracked, Kind::Proposed, Kind::Destroy, Kind::Drift],
            Self::Tasks => vec![Kind::Task, Kind::OnDemand],
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Runs => "Runs",
            Self::Tasks => "Tasks",
        }
    }

    fn path(self, slug: &Slug) -> String {
        match self {
            Self::Runs => format!("/stacks/{slug}"),
            Self::Tasks => format!("/stacks/{slug}/tasks"),
        }
    }

    /// Where it hears of changes.
    fn live(self, slug: &Slug, asked: &Sent) -> String {
        let path = match self {
            Self::Runs => format!("/live/stacks/{slug}"),
            Self::Tasks => format!("/live/stacks/{slug}/tasks"),
        };
        asked.address(&path, &["block", "trigger"])
    }
}

struct Found {
    row: StackRow,
    runs: Page<Run>,
    rev: u64,
}

fn load(web: &Web, who: &Who, slug: &Slug, tab: Tab, asked: &Sent) -> Result<Found, Problem> {
    let row = web.queries.stack_row(who, slug)?;
    let filter = RunFilter { stack: Some(row.stack.id), kinds: tab.kinds(), ..RunFilter::default() };
    let runs = web.queries.runs(who, &filter, cursor(asked)?.as_ref(), limits::PAGE_ROWS)?;
    let rev = Rev::default().stacks([&row]).runs(&runs.items).number();
    Ok(Found { row, runs, rev })
}

fn run_list(web: &Web, found: &Found, empty: Empty) -> RunList {
    let rows = Rows { now: web.queries.now(), names: std::collections::HashMap::new() };
    RunList { rows: found.runs.items.iter().map(|run| rows.run_of_stack(run)).collect(), empty }
}

// ── Runs ────────────────────────────────────────────────────────────────────────────────────

pub async fn get(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>, Asked(asked): Asked) -> Answer {
    let slug = slug_of(&slug)?;
    let mut page = runs_page(&web, &visitor, &slug, &asked)?;
    page.head.trigger_open = asked.get("trigger").is_some() && page.head.trigger.is_some();
    match asked.text("block") {
        "head" => block(&page.as_head()),
        "lists" => block(&page.as_lists()),
        _ => visitor.page(&page),
    }
}

fn runs_page(web: &Web, visitor: &Visitor, slug: &Slug, asked: &Sent) -> Result<StackRunsPage, Problem> {
    let tab = Tab::Runs;
    let found = load(web, &visitor.who, slug, tab, asked)?;
    let head = head(web, &visitor.who, &found.row, tab.word())?;
    let mut frame =
        visitor.live_frame(Place::Stacks, head.stack.name.clone(), crumbs(&head, None), tab.live(slug, asked))?;
    frame.badge = Some(head.badge.clone());
    let empty = Empty {
        title: "No runs yet".to_owned(),
        text: "Deployments and previews of this stack will appear here, the newest first.".to_owned(),
        action: first_step(&head),
    };
    Ok(StackRunsPage {
        frame,
        rev: found.rev,
        list: run_list(web, &found, empty),
        pager: pager(&tab.path(slug), asked, &found.runs),
        head,
    })
}

fn first_step(head: &StackHead) -> Option<(String, String)> {
    let trigger =
        head.trigger.as_ref().map(|_| ("Trigger the first run".to_owned(), format!("{}?trigger", head.stack.href())));
    head.before_trigger.clone().or(trigger)
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>, Form(sent): Form) -> Answer {
    let slug = slug_of(&slug)?;
    match sent.verb() {
        "lock" => lock(&web, &visitor, &slug, &sent).await,
        "unlock" => unlock(&web, &visitor, &slug).await,
        "trigger" => trigger(&web, &visitor, &slug, &sent).await,
        other => Err(unknown_verb(other)),
    }
}

async fn lock(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::Lock, slug).await?;
    let note = Note::optional(sent.get("note")).map_err(|error| Refused::field("note", error.to_string()))?;
    let stack = web.actions.lock_stack(&permit, stack.id, note).await?;
    visitor.done(&back(visitor, slug), Carried::good(format!("{} is locked by you.", stack.settings.name)))
}

async fn unlock(web: &Web, visitor: &Visitor, slug: &Slug) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::Lock, slug).await?;
    let stack = web.actions.unlock_stack(&permit, stack.id).await?;
    visitor.done(&back(visitor, slug), Carried::good(format!("{} is not locked any more.", stack.settings.name)))
}

/// The header's forms stand on all pages of a stack: back to the one they were sent from.
fn back(visitor: &Visitor, slug: &Slug) -> String {
    let home = format!("/stacks/{slug}");
    let from = visitor.from.as_deref().filter(|from| from.split('?').next().unwrap_or_default().starts_with(&home));
    from.unwrap_or(&home).to_owned()
}

async fn trigger(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::Trigger, slug).await?;
    let wrong = match new_run(sent) {
        Err(wrong) => wrong,
        Ok(new) => match web.actions.trigger(&permit, stack.id, new, visitor.once(sent)?).await {
            Ok(run) => {
                let label = sentence(&offers::label(run.kind, run.number));
                let text = format!("{label} of {} was triggered.", stack.settings.name);
                return visitor.done(&format!("/runs/{}", run.id), Carried::good(text));
            }
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = runs_page(web, visitor, slug, &Sent::default())?;
    page.head.trigger_open = true;
    // A stack that lost its source meanwhile still shows what is wrong.
    let form = page.head.trigger.get_or_insert_with(|| crate::http::view::stack::TriggerForm::new(None));
    form.keep(sent.pairs());
    page.head.trigger_problems = wrong.blame(form);
    visitor.page_with(wrong.status, &page)
}

fn new_run(sent: &Sent) -> Result<NewRun, Wrong> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, error: String| errors.push(FieldError { field: field.to_owned(), error });
    let kind = Kind::from_word(sent.text("kind"));
    if kind.is_none() {
        wrong("kind", "choose one".to_owned());
    }
    let message = Note::optional(sent.get("message")).map_err(|error| wrong("message", error.to_string()));
    let commit = sent.filled("commit").map(CommitSha::new).transpose();
    let commit = commit.map_err(|error| wrong("commit", error.to_string()));
    match (kind, message, commit) {
        (Some(kind), Ok(message), Ok(commit)) => {
            let runtime_config = sent.filled("runtime_config").map(str::to_owned);
            Ok(NewRun { kind, commit, message, runtime_config })
        }
        _ => Err(Refused::fields(errors).into()),
    }
}

// ── Tasks ───────────────────────────────────────────────────────────────────────────────────

pub async fn get_tasks(
    State(web): State<Web>,
    visitor: Visitor,
    Path(slug): Path<String>,
    Asked(asked): Asked,
) -> Answer {
    let page = tasks_page(&web, &visitor, &slug_of(&slug)?, &asked)?;
    match asked.text("block") {
        "head" => block(&page.as_head()),
        "lists" => block(&page.as_lists()),
        _ => visitor.page(&page),
    }
}

fn tasks_page(web: &Web, visitor: &Visitor, slug: &Slug, asked: &Sent) -> Result<StackTasksPage, Problem> {
    let tab = Tab::Tasks;
    let found = load(web, &visitor.who, slug, tab, asked)?;
    let head = head(web, &visitor.who, &found.row, tab.word())?;
    let subject = format!("Tasks · {}", head.stack.name);
    let mut frame = visitor.live_frame(Place::Stacks, subject, crumbs(&head, Some("Tasks")), tab.live(slug, asked))?;
    frame.badge = Some(head.badge.clone());
    let may_write = visitor.who.role_on(found.row.stack.id) >= Some(Role::Writer);
    let choice = (slug.to_string(), head.stack.name.clone());
    let empty = Empty {
        title: "No tasks yet".to_owned(),
        text: "Commands that were run on this stack will appear here, the newest first.".to_owned(),
        action: None,
    };
    Ok(StackTasksPage {
        frame,
        rev: found.rev,
        command: may_write.then(|| CommandForm::new(&[choice])),
        problems: Vec::new(),
        declared: declared::of_stack(web, &visitor.who, slug)?,
        list: run_list(web, &found, empty),
        pager: pager(&tab.path(slug), asked, &found.runs),
        head,
    })
}

pub async fn post_tasks(
    State(web): State<Web>,
    visitor: Visitor,
    Path(slug): Path<String>,
    Form(sent): Form,
) -> Answer {
    let slug = slug_of(&slug)?;
    match tasks::make(&web, &visitor, &slug, &sent).await? {
        Ok(run) => tasks::performed(&visitor, &run),
        Err(wrong) => {
            let mut page = tasks_page(&web, &visitor, &slug, &Sent::default())?;
            if !declared::refill(&mut page.declared, &slug, &sent, &wrong) {
                page.problems =
                    page.command.as_mut().map(|form| tasks::refill(form, &sent, &wrong)).unwrap_or_default();
            }
            visitor.page_with(wrong.status, &page)
        }
    }
}

// ── Live ────────────────────────────────────────────────────────────────────────────────────

pub fn live_runs(web: &Web, who: &Who, slug: &Slug, asked: &Sent) -> Result<LiveState, Problem> {
    live(web, who, slug, Tab::Runs, asked)
}

pub fn live_tasks(web: &Web, who: &Who, slug: &Slug, asked: &Sent) -> Result<LiveState, Problem> {
    live(web, who, slug, Tab::Tasks, asked)
}

fn live(web: &Web, who: &Who, slug: &Slug, tab: Tab, asked: &Sent) -> Result<LiveState, Problem> {
    let found = load(web, who, slug, tab, asked)?;
    let name = &found.row.stack.settings.name;
    let subject = if tab == Tab::Runs { name.to_string() } else { format!("Tasks · {name}") };
    Ok(super::live::object(&super::show::stack_badge(&found.row), &subject, &["head", "lists"], found.rev))
}
