//! The pages of one run: what it is and does, its log, its changes.

pub mod decide;
mod declared;
pub mod guest;
mod head;
mod log;
mod phases;
mod policies;
pub mod run_tasks;
mod runtime;
pub mod stream;

use axum::extract::{Path, State};

use self::log::{Shown, log_view};
use super::{
    sent::{Asked, Sent},
    show::{self, Rev, Rows, mark},
    visitor::{Answer, Visitor, block},
};
use crate::{
    domain::{Changes, Role, RunId, Stage, State as RunState},
    http::{
        Problem, Web,
        view::{
            Frame, RunChangesPage, RunLogPage, RunPage,
            changes::{ChangesView, SHOWN},
            frame::{Crumb, Empty, Place, Tab},
            live::LiveHook,
            offers,
            run::{Event, LogLines, NoChanges, Panel, Timeline, Told},
            status::{Badge, Moment},
            words,
        },
    },
    queries::{Run, RunDetail},
};

/// An id out of an address; a text that cannot be one is no run's.
pub fn id_of(text: &str) -> Result<RunId, Problem> {
    text.parse().map_err(|_| Problem::not_found("there is no such run"))
}

/// The part of the page that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Changes,
    RunTasks,
    Guest,
    Policies,
    Runtime,
    Log,
    Timeline,
}

impl Part {
    /// What was asked for, else what matters most in the run's state.
    pub fn of(asked: &Sent, run: &Run) -> Self {
        match asked.text("tab") {
            "changes" if run.kind.plans() => Self::Changes,
            "run_tasks" => Self::RunTasks,
            "guest" => Self::Guest,
            "policies" => Self::Policies,
            "configuration" => Self::Runtime,
            "log" => Self::Log,
            "timeline" => Self::Timeline,
            // While outside checks are asked, they are what the run is about.
            _ if run.checking.is_some() || failed_checks(run) => Self::RunTasks,
            _ if run.kind.plans() && shows_changes(run) => Self::Changes,
            // What a guest left says more than what it printed.
            _ if run.guest.is_some() && run.state.is_terminal() => Self::Guest,
            _ => Self::Log,
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::RunTasks => "run_tasks",
            Self::Guest => "guest",
            Self::Policies => "policies",
            Self::Runtime => "configuration",
            Self::Log => "log",
            Self::Timeline => "timeline",
        }
    }
}

/// Whether outside checks are why the run failed: every phase went well, and stages were begun.
fn failed_checks(run: &Run) -> bool {
    let bad = |phase: &crate::queries::PhaseRow| phase.verdict.as_ref().is_some_and(|verdict| !verdict.is_success());
    run.state == RunState::Failed && run.stages > 0 && !run.phases.iter().any(bad)
}

/// Whether the plan is what a reader comes for.
fn shows_changes(run: &Run) -> bool {
    let preview = !run.kind.is_blocking() && run.state == RunState::Finished;
    matches!(run.state, RunState::Unconfirmed | RunState::PendingReview) || (preview && run.delta.is_some())
}

/// Numbers of the page's blocks: the page writes them, the stream compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revs {
    /// State, phases, buttons, tabs.
    pub run: u64,
    pub panel: u64,
}

impl Revs {
    /// `beside` changes with the stack, where a lock takes the button away, and with what checks said.
    pub fn of(run: &Run, beside: u64, part: Part, shown: &Shown) -> Self {
        let phases: Vec<_> = run.phases.iter().map(|phase| (phase.number, phase.finished_at)).collect();
        let told = (run.history, run.remarks, run.comments, run.reviews, policies::rev(run));
        let all = Rev::default().run(run).with((beside, told, run.unacknowledged, phases));
        let all = all.number();
        let panel = match part {
            Part::Changes => changes_rev(run),
            // What people say meanwhile closes nothing that somebody reads.
            Part::RunTasks => Rev::default().with((beside, run.checking.map(Stage::word), run.stages)).number(),
            Part::Guest | Part::Runtime => all,
            Part::Timeline => Rev::default().with((run.history, run.remarks, run.comments, run.reviews)).number(),
            Part::Policies => policies::rev(run),
            Part::Log => shown.rev(run),
        };
        Self { run: all, panel }
    }
}

pub async fn get(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>, Asked(asked): Asked) -> Answer {
    let page = page(&web, &visitor, id_of(&id)?, &asked).await?;
    match asked.text("block") {
        "head" => block(&page.as_head()),
        "aside" => block(&page.as_aside()),
        "tabs" => block(&page.as_tabs()),
        "panel" => block(&page.as_panel()),
        _ => visitor.page(&page),
    }
}

async fn page(web: &Web, visitor: &Visitor, id: RunId, asked: &Sent) -> Result<RunPage, Problem> {
    let detail = web.queries.run_detail(&visitor.who, id)?;
    let run = &detail.run;
    let part = Part::of(asked, run);
    let shown = Shown::of(asked, run);
    let rows = Rows { now: web.queries.now(), names: super::lists::names_of(web, [run])? };
    let role = visitor.who.role_on(run.stack).unwrap_or(Role::Reader);
    let revs = Revs::of(run, beside(&detail), part, &shown);
    let (panel, next) = panel(web, visitor, &detail, asked, part, &shown).await?;
    let error_line = match &panel {
        Panel::Log(log) => log.lines.iter().rev().find(|line| line.error).map(|line| format!("#L{}", line.n)),
        Panel::Changes(_)
        | Panel::Guest(_)
        | Panel::RunTasks(_)
        | Panel::Policies(_)
        | Panel::Runtime(_)
        | Panel::Timeline(_) => None,
    };
    let mut frame = frame(visitor, &rows, run, None)?;
    if !run.state.is_terminal() {
        frame.live = Some(live_hook(id, "page", part, &shown, next));
    }
    Ok(RunPage {
        frame,
        rev: revs.run,
        head: head::head(&rows, &visitor.who, &detail, role, offers::label(run.kind, run.number)),
        decision: head::decision(&rows, &visitor.who, &detail, role),
        failure: head::failure(run, error_line),
        phases: phases::phases(&rows, &detail),
        facts: phases::facts(run),
        tabs: tabs(&detail, part),
        panel,
    })
}

/// What the page shows beside the run's own record.
fn beside(detail: &RunDetail) -> u64 {
    run_tasks::rev(detail.stack.as_ref().map_or(0, |stack| stack.version), &detail.stages)
}

/// The frame of a run's pages; `below` is the page behind the run's own.
fn frame(visitor: &Visitor, rows: &Rows, run: &Run, below: Option<&str>) -> Result<Frame, Problem> {
    let label = offers::label(run.kind, run.number);
    let stack = rows.stack(run);
    let mut crumbs = vec![Crumb::link("Stacks", "/stacks"), Crumb::link(&stack.name, stack.href())];
    match below {
        None => crumbs.push(Crumb::here(&label)),
        Some(word) => {
            crumbs.push(Crumb::link(&label, format!("/runs/{}", run.id)));
            crumbs.push(Crumb::here(word));
        }
    }
    let mut frame = visitor.frame(Place::Stacks, subject(run, &stack.name), crumbs)?;
    frame.badge = Some(show::badge(run));
    Ok(frame)
}

/// `run #12 · Shop`
fn subject(run: &Run, stack: &str) -> String {
    format!("{} · {stack}", offers::label(run.kind, run.number))
}

/// Where a page of a run hears of changes; a log says which line it goes on with.
fn live_hook(id: RunId, of: &str, part: Part, shown: &Shown, next: Option<u64>) -> LiveHook {
    let mut query = Sent::default();
    query.push("of", of);
    query.push("tab", part.word());
    if let Some(number) = shown.asked {
        query.push("n", number.to_string());
    }
    if let Some(phase) = shown.asked_word {
        query.push("phase", phase.word());
    }
    if let (Part::Log, Some(next)) = (part, next) {
        query.push("after", format!("{}:{next}", shown.phase.word()));
    }
    LiveHook::new(query.address(&format!("/live/runs/{id}"), &[]))
}

fn tabs(detail: &RunDetail, here: Part) -> Vec<Tab> {
    let run = &detail.run;
    let tab = |part: Part, word: &str| Tab::new(word, format!("/runs/{}?tab={}", run.id, part.word()), part == here);
    let mut tabs = Vec::new();
    if run.kind.plans() {
        let changes = tab(Part::Changes, "Changes");
        tabs.push(match run.delta.filter(|_| !show::is_unlisted(run)) {
            Some(delta) => changes.counted(u64::from(delta.resources.total() + delta.outputs.total())),
            None => changes,
        });
    }
    if run_tasks::has_any(detail) || here == Part::RunTasks {
        let results: usize = detail.stages.iter().map(|stage| stage.results.len()).sum();
        tabs.push(tab(Part::RunTasks, "Run tasks").counted(results as u64));
    }
    if let Some(word) = guest::tab(detail) {
        let artifacts: usize = detail.left.iter().map(|left| left.artifacts.len()).sum();
        tabs.push(match artifacts {
            0 => tab(Part::Guest, word),
            n => tab(Part::Guest, word).counted(n as u64),
        });
    }
    if !run.policies.is_empty() || here == Part::Policies {
        tabs.push(tab(Part::Policies, "Policies").counted(run.policies.len() as u64));
    }
    tabs.push(tab(Part::Log, "Log"));
    if detail.runtime.is_some() {
        tabs.push(tab(Part::Runtime, "Configuration"));
    }
    tabs.push(
        tab(Part::Timeline, "Timeline").counted(u64::from(run.history + run.remarks + run.comments + run.reviews)),
    );
    tabs
}

/// The open part, and the line that a log's follower goes on with.
async fn panel(
    web: &Web,
    visitor: &Visitor,
    detail: &RunDetail,
    asked: &Sent,
    part: Part,
    shown: &Shown,
) -> Result<(Panel, Option<u64>), Problem> {
    let run = &detail.run;
    Ok(match part {
        Part::Changes => (Panel::Changes(changes(web, visitor, detail, SHOWN)?), None),
        Part::Guest => {
            let rev = Revs::of(run, beside(detail), part, shown).panel;
            (Panel::Guest(Box::new(guest::view(web, detail, rev)?)), None)
        }
        Part::RunTasks => {
            let rev = Revs::of(run, beside(detail), part, shown).panel;
            (Panel::RunTasks(Box::new(run_tasks::view(web, visitor, detail, rev)?)), None)
        }
        Part::Policies => (Panel::Policies(policies::view(visitor, run)), None),
        Part::Runtime => {
            let rev = Revs::of(run, beside(detail), part, shown).panel;
            (Panel::Runtime(Box::new(runtime::view(visitor, detail, rev))), None)
        }
        Part::Timeline => (Panel::Timeline(timeline(web, visitor, detail)), None),
        Part::Log => {
            let (mut view, next) = log_view(web, visitor, run, asked, shown, log::Page::Run).await?;
            view.full = Some(log::address(run, shown, "/log"));
            (Panel::Log(Box::new(view)), Some(next))
        }
    })
}

/// Changes with the plan, and with what can be done about it.
fn changes_rev(run: &Run) -> u64 {
    let digest = run.plan_digest.as_ref().map(ToString::to_string);
    let state = (run.state == RunState::Unconfirmed, run.state.is_terminal());
    Rev::default().with((digest, run.changes, state)).number()
}

/// Why there is no list of changes.
fn no_changes(run: &Run, planned: bool) -> Empty {
    if planned {
        return Empty {
            title: "The plan does not list its changes".to_owned(),
            text: "What it would do is in the words of its own log.".to_owned(),
            action: Some(("Log of Planning".to_owned(), format!("/runs/{}?tab=log&phase=planning", run.id))),
        };
    }
    let text = match run.state.is_terminal() {
        true => "The run ended before it had planned.",
        false => "It appears here once the run has planned.",
    };
    Empty { title: "No plan yet".to_owned(), text: text.to_owned(), action: None }
}

/// What the plan would change, or why there is nothing to show.
fn changes(
    web: &Web,
    visitor: &Visitor,
    detail: &RunDetail,
    most: usize,
) -> Result<Result<ChangesView, NoChanges>, Problem> {
    let run = &detail.run;
    let found = web.queries.changes(&visitor.who, run.id)?;
    let found = found.or_else(|| run.delta.map(|_| Changes::default()));
    let found = match found {
        Some(found) if !show::is_unlisted(run) => found,
        found => return Ok(Err(NoChanges { rev: changes_rev(run), empty: no_changes(run, found.is_some()) })),
    };
    let delta = run.delta.unwrap_or_default();
    let mut view = ChangesView::new(&found, delta, most, &format!("/runs/{}/changes", run.id));
    let writes = visitor.who.role_on(run.stack) >= Some(Role::Writer);
    view.replan = writes && run.state == RunState::Unconfirmed && !view.groups.is_empty();
    view.rev = changes_rev(run);
    Ok(Ok(view))
}

fn timeline(web: &Web, visitor: &Visitor, detail: &RunDetail) -> Timeline {
    let now = web.queries.now();
    let mut events: Vec<(crate::domain::Timestamp, Event)> = Vec::new();
    for entry in &detail.history {
        let event = Event {
            told: Told::Decided(Badge::of(entry.state)),
            actor: mark(&entry.actor),
            at: Moment::new(entry.at, now),
            after: None,
            reason: entry.reason.clone(),
            note: entry.note.clone(),
        };
        events.push((entry.at, event));
    }
    for remark in &detail.remarks {
        let event = Event {
            told: Told::Remark,
            actor: mark(&remark.actor),
            at: Moment::new(remark.at, now),
            after: None,
            reason: Some(remark.text.clone()),
            note: remark.note.clone(),
        };
        events.push((remark.at, event));
    }
    for comment in &detail.comments {
        let event = Event {
            told: Told::Comment,
            actor: mark(&comment.actor),
            at: Moment::new(comment.at, now),
            after: None,
            reason: None,
            note: Some(comment.text.to_string()),
        };
        events.push((comment.at, event));
    }
    for review in &detail.reviews {
        let event = Event {
            told: Told::Decided(head::review_badge(review.decision)),
            actor: mark(&review.by.public()),
            at: Moment::new(review.at, now),
            after: None,
            reason: (!review.is_current(&detail.run)).then(|| format!("while {}", review.state.title().to_lowercase())),
            note: review.note.as_ref().map(ToString::to_string),
        };
        events.push((review.at, event));
    }
    // Stable: entries of the same moment stay in the order in which they were written.
    events.sort_by_key(|(at, _)| *at);
    for later in 1..events.len() {
        let length = events[later].0 - events[later - 1].0;
        events[later].1.after = Some(words::span(length));
    }
    Timeline {
        rev: Revs::of(&detail.run, 0, Part::Timeline, &Shown::of(&Sent::default(), &detail.run)).panel,
        events: events.into_iter().map(|(_, event)| event).collect(),
        may_comment: visitor.who.role_on(detail.run.stack).is_some(),
    }
}

/// `/runs/{id}/log`
pub async fn get_log(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>, Asked(asked): Asked) -> Answer {
    let run = web.queries.run(&visitor.who, id_of(&id)?)?;
    let shown = Shown::of(&asked, &run);
    let (log, next) = log_view(&web, &visitor, &run, &asked, &shown, log::Page::Log).await?;
    if asked.text("block") == "lines" {
        return block(&LogLines { log });
    }
    let rows = Rows { now: web.queries.now(), names: super::lists::names_of(&web, [&run])? };
    let mut frame = frame(&visitor, &rows, &run, Some("Log"))?;
    if log.live {
        frame.live = Some(live_hook(run.id, "log", Part::Log, &shown, Some(next)));
    }
    let page = RunLogPage {
        badge: show::badge(&run),
        title: format!("Log of {}", subject(&run, &rows.stack(&run).name)),
        run_href: format!("/runs/{}", run.id),
        frame,
        log,
    };
    match asked.text("block") {
        "log" => block(&page.as_log()),
        _ => visitor.page(&page),
    }
}

/// `/runs/{id}/changes`
pub async fn get_changes(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>) -> Answer {
    let detail = web.queries.run_detail(&visitor.who, id_of(&id)?)?;
    let run = &detail.run;
    let found = changes(&web, &visitor, &detail, usize::MAX)?;
    let rows = Rows { now: web.queries.now(), names: super::lists::names_of(&web, [run])? };
    let page = RunChangesPage {
        frame: frame(&visitor, &rows, run, Some("Changes"))?,
        badge: show::badge(run),
        title: format!("Changes of {}", subject(run, &rows.stack(run).name)),
        run_href: format!("/runs/{}", run.id),
        changes: found.map(|view| ChangesView { more: None, ..view }),
    };
    visitor.page(&page)
}
