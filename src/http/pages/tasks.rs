//! `/tasks`: all tasks, and the box in which one is written.

use axum::extract::State;

use super::{
    declared,
    lists::{cursor, names_of, pager},
    sent::{Asked, Form, Sent, Wrong},
    show::{Rev, Rows},
    visitor::{Answer, Visitor, block, unknown_verb},
};
use crate::{
    actions::NewTask,
    auth::{Permission, Who},
    domain::{Kind, Role, Slug, limits},
    http::{
        Problem, Web,
        pages::cookies::Carried,
        view::{
            TasksPage,
            form::Fields as _,
            frame::{Crumb, Empty, Place},
            lists::CommandForm,
            live::LiveState,
            offers,
            rows::RunList,
        },
    },
    queries::{Page, Run, RunFilter, StackFilter},
};

const SUBJECT: &str = "Tasks";

fn load(web: &Web, who: &Who, asked: &Sent) -> Result<Page<Run>, Problem> {
    let filter = RunFilter { kinds: vec![Kind::Task, Kind::OnDemand], ..RunFilter::default() };
    Ok(web.queries.runs(who, &filter, cursor(asked)?.as_ref(), limits::PAGE_ROWS)?)
}

pub async fn get(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    let command = command_form(&web, &visitor.who)?;
    let page = page(&web, &visitor, &asked, command, Vec::new())?;
    match asked.text("block") {
        "lists" => block(&page.as_lists()),
        _ => visitor.page(&page),
    }
}

fn page(
    web: &Web,
    visitor: &Visitor,
    asked: &Sent,
    command: Option<CommandForm>,
    problems: Vec<String>,
) -> Result<TasksPage, Problem> {
    let found = load(web, &visitor.who, asked)?;
    let rows = Rows { now: web.queries.now(), names: names_of(web, &found.items)? };
    let live = asked.address("/live/tasks", &["block"]);
    Ok(TasksPage {
        frame: visitor.live_frame(Place::Tasks, SUBJECT, vec![Crumb::here("Tasks")], live)?,
        rev: Rev::default().runs(&found.items).number(),
        command,
        problems,
        declared: declared::of_all(web, &visitor.who)?,
        list: RunList { rows: found.items.iter().map(|run| rows.run(run)).collect(), empty: empty() },
        pager: pager("/tasks", asked, &found),
    })
}

/// The box, for those who may write to a stack.
fn command_form(web: &Web, who: &Who) -> Result<Option<CommandForm>, Problem> {
    let stacks = web.queries.stacks(who, &StackFilter::default())?;
    let writable = stacks.iter().filter(|row| who.role_on(row.stack.id) >= Some(Role::Writer));
    let choices: Vec<(String, String)> =
        writable.map(|row| (row.stack.slug.to_string(), row.stack.settings.name.to_string())).collect();
    Ok((!choices.is_empty()).then(|| CommandForm::new(&choices)))
}

fn empty() -> Empty {
    Empty {
        title: "No tasks yet".to_owned(),
        text: "A task is one command on a stack's source, with the stack to itself. Tasks will appear here, the \
               newest first."
            .to_owned(),
        action: None,
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let slug = Slug::new(sent.text("stack")).map_err(|_| Problem::not_found("there is no such stack"))?;
    match make(&web, &visitor, &slug, &sent).await? {
        Ok(run) => performed(&visitor, &run),
        Err(wrong) => {
            let form = command_form(&web, &visitor.who)?;
            let mut page = page(&web, &visitor, &Sent::default(), form, Vec::new())?;
            if !declared::refill(&mut page.declared, &slug, &sent, &wrong) {
                page.problems = page.command.as_mut().map(|form| refill(form, &sent, &wrong)).unwrap_or_default();
            }
            visitor.page_with(wrong.status, &page)
        }
    }
}

/// Does what one of the forms of a page of tasks asks for.
pub async fn make(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Result<Result<Run, Wrong>, Problem> {
    match sent.verb() {
        "perform" => perform(web, visitor, slug, sent).await,
        "run" => declared::run(web, visitor, slug, sent).await,
        other => Err(unknown_verb(other)),
    }
}

/// Makes a task out of a form; what is wrong with it comes back.
async fn perform(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Result<Result<Run, Wrong>, Problem> {
    let (stack, permit) = visitor.may_on(Permission::Perform, slug).await?;
    let new = NewTask { command: sent.text("command").to_owned(), skip_initialization: !sent.is_on("initialize") };
    match web.actions.perform(&permit, stack.id, new, visitor.once(sent)?).await {
        Ok(run) => Ok(Ok(run)),
        Err(error) => Ok(Err(Wrong::of(error)?)),
    }
}

/// Puts back what was sent, and what is wrong with it.
pub fn refill(form: &mut CommandForm, sent: &Sent, wrong: &Wrong) -> Vec<String> {
    form.keep(sent.pairs());
    wrong.blame(form)
}

/// Leads to the task that was made.
pub fn performed(visitor: &Visitor, run: &Run) -> Answer {
    let label = super::sent::sentence(&offers::label(run.kind, run.number));
    visitor.done(&format!("/runs/{}", run.id), Carried::good(format!("{label} was given to the stack {}.", run.slug)))
}

pub fn live(web: &Web, who: &Who, asked: &Sent) -> Result<LiveState, Problem> {
    let found = load(web, who, asked)?;
    Ok(super::live::lists(SUBJECT, Rev::default().runs(&found.items).number()))
}
