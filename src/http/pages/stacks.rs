//! `/stacks`: the list, grouped by state, and what is done to several at once.

use axum::extract::State;

use super::{
    cookies::Carried,
    lists::is_filtered,
    sent::{Asked, Form, Sent, sentence},
    show::{Rev, Rows},
    visitor::{Answer, Visitor, block, unknown_verb},
};
use crate::{
    actions::{Decision, Error},
    auth::{Permission, Who},
    domain::{Label, Note, Refused, Role, Slug, State as RunState},
    http::{
        Problem, Web,
        view::{
            StacksPage,
            form::Fields as _,
            frame::{Crumb, Empty, Pager, Place},
            lists,
            live::LiveState,
            offers, rows,
        },
    },
    queries::{RunFilter, StackFilter, StackGroup, StackRow},
};

const SUBJECT: &str = "Stacks";
/// Stacks on one page.
const SHOWN: usize = 200;
/// Stacks that one bulk action takes.
const BULK: usize = 200;

struct Found {
    rows: Vec<StackRow>,
    total: usize,
    /// From 0.
    page: usize,
    rev: u64,
}

fn load(web: &Web, who: &Who, asked: &Sent) -> Result<Found, Problem> {
    let page = asked.filled("page").map_or(Ok(1), str::parse).ok().filter(|page| *page > 0);
    let page = page.ok_or_else(|| Refused::field("page", "must be a number from 1"))? - 1;
    let all = web.queries.stacks(who, &filter(asked)?)?;
    let total = all.len();
    let rows: Vec<StackRow> = all.into_iter().skip(page * SHOWN).take(SHOWN).collect();
    let rev = Rev::default().stacks(&rows).with(total).number();
    Ok(Found { rows, total, page, rev })
}

fn filter(asked: &Sent) -> Result<StackFilter, Problem> {
    let group = asked.filled("state").map(|word| {
        StackGroup::ALL
            .into_iter()
            .find(|group| group.word() == word)
            .ok_or_else(|| Refused::field("state", "is not a state of stacks"))
    });
    let label = asked.filled("label").map(Label::new).transpose();
    Ok(StackFilter {
        group: group.transpose()?,
        state: None,
        label: label.map_err(|error| Refused::field("label", error.to_string()))?,
        words: asked.text("q").trim().to_owned(),
    })
}

pub async fn get(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    let found = load(&web, &visitor.who, &asked)?;
    let rows = Rows { now: web.queries.now(), names: std::collections::HashMap::new() };
    let live = asked.address("/live/stacks", &["block"]);
    let all = web.queries.stacks(&visitor.who, &StackFilter::default())?;
    let page = StacksPage {
        frame: visitor.live_frame(Place::Stacks, SUBJECT, vec![Crumb::here("Stacks")], live)?,
        rev: found.rev,
        filter: filter_form(&all, &asked),
        groups: groups(&rows, &found.rows),
        total: found.total as u64,
        empty: empty(&asked, visitor.who.admin),
        may_create: visitor.who.admin,
        may_write: all.iter().any(|row| visitor.who.role_on(row.stack.id) >= Some(Role::Writer)),
        outcomes: visitor.carried.outcomes.clone(),
        pager: pager(&asked, &found),
    };
    match asked.text("block") {
        "lists" => block(&page.as_lists()),
        _ => visitor.page(&page),
    }
}

fn filter_form(all: &[StackRow], asked: &Sent) -> lists::StackFilter {
    let mut labels: Vec<String> =
        all.iter().flat_map(|row| row.stack.settings.labels.iter().map(ToString::to_string)).collect();
    labels.sort();
    labels.dedup();
    let mut form = lists::StackFilter::new(&labels);
    form.keep(asked.pairs());
    form
}

fn groups(rows: &Rows, found: &[StackRow]) -> Vec<rows::StackGroup> {
    let title = |group: StackGroup| match group {
        StackGroup::NeedsAttention => "Needs attention",
        StackGroup::InProgress => "In progress",
        StackGroup::Failed => "Failed",
        StackGroup::OnHold => "On hold",
        StackGroup::Finished => "Finished",
        StackGroup::NeverRun => "Never deployed",
    };
    StackGroup::ALL
        .into_iter()
        .map(|group| rows::StackGroup {
            title: title(group),
            rows: found.iter().filter(|row| row.group == group).map(|row| rows.stack_row(row)).collect(),
        })
        .filter(|group| !group.rows.is_empty())
        .collect()
}

fn pager(asked: &Sent, found: &Found) -> Pager {
    let to = |page: usize| {
        let mut other = Sent::default();
        for (name, value) in asked.pairs().iter().filter(|(name, _)| name != "page" && name != "block") {
            other.push(name, value);
        }
        if page > 0 {
            other.push("page", (page + 1).to_string());
        }
        other.address("/stacks", &[])
    };
    let more = (found.page + 1) * SHOWN < found.total;
    Pager { newest: (found.page > 0).then(|| to(0)), older: more.then(|| to(found.page + 1)) }
}

fn empty(asked: &Sent, may_create: bool) -> Empty {
    if is_filtered(asked) {
        return Empty {
            title: "No stack fits these filters".to_owned(),
            text: "Take one away, or look at all stacks.".to_owned(),
            action: Some(("All stacks".to_owned(), "/stacks".to_owned())),
        };
    }
    let text = "A stack is a piece of infrastructure with its source, its commands and its lock.";
    if may_create {
        let action = Some(("Create the first stack".to_owned(), "/stacks/new".to_owned()));
        return Empty { title: "No stacks yet".to_owned(), text: text.to_owned(), action };
    }
    let text = format!("{text} You see those on which an administrator gave you a role.");
    Empty { title: "No stacks for you yet".to_owned(), text, action: None }
}

pub fn live(web: &Web, who: &Who, asked: &Sent) -> Result<LiveState, Problem> {
    Ok(super::live::lists(SUBJECT, load(web, who, asked)?.rev))
}

// ── Several at once ─────────────────────────────────────────────────────────────────────────

#[derive(Clone, Copy)]
enum Bulk {
    Lock,
    Unlock,
    Confirm,
    Discard,
}

impl Bulk {
    fn of(verb: &str) -> Option<Self> {
        match verb {
            "lock" => Some(Self::Lock),
            "unlock" => Some(Self::Unlock),
            "confirm" => Some(Self::Confirm),
            "discard" => Some(Self::Discard),
            _ => None,
        }
    }

    const fn permission(self) -> Permission {
        match self {
            Self::Lock | Self::Unlock => Permission::Lock,
            Self::Confirm => Permission::Confirm,
            Self::Discard => Permission::Discard,
        }
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let bulk = Bulk::of(sent.verb()).ok_or_else(|| unknown_verb(sent.verb()))?;
    let note = Note::optional(sent.get("note")).map_err(|error| Refused::field("note", error.to_string()))?;
    let mut slugs: Vec<&str> = sent.all("stack").collect();
    slugs.dedup();
    if slugs.is_empty() {
        return Err(Refused::field("stack", "choose at least one").into());
    }
    if slugs.len() > BULK {
        return Err(Refused::field("stack", format!("at most {BULK} at once are allowed")).into());
    }
    let mut outcomes = Vec::new();
    for slug in slugs {
        let outcome = one(&web, &visitor, bulk, slug, note.clone()).await;
        let (text, good) = match outcome {
            Ok(text) => (text, true),
            // A fault is not this stack's: the rest would meet it, too.
            Err(problem) if problem.status >= 500 => return Err(problem),
            Err(problem) => (problem.detail, false),
        };
        outcomes.push((slug.chars().take(63).collect(), text, good));
    }
    visitor.done(
        visitor.from.as_deref().filter(|from| from.starts_with("/stacks")).unwrap_or("/stacks"),
        Carried::outcomes(outcomes),
    )
}

/// One stack's part of it: checked and recorded by itself.
async fn one(web: &Web, visitor: &Visitor, bulk: Bulk, slug: &str, note: Option<Note>) -> Result<String, Problem> {
    let slug = Slug::new(slug).map_err(|_| Refused::not_found("the stack"))?;
    let (stack, permit) = visitor.may_on(bulk.permission(), &slug).await?;
    let decision = match bulk {
        Bulk::Lock => {
            web.actions.lock_stack(&permit, stack.id, note).await?;
            return Ok("is locked by you".to_owned());
        }
        Bulk::Unlock => {
            web.actions.unlock_stack(&permit, stack.id).await?;
            return Ok("is not locked any more".to_owned());
        }
        Bulk::Confirm => Decision::Confirm { plan_digest: None, note },
        Bulk::Discard => Decision::Discard { note },
    };
    let filter = RunFilter { stack: Some(stack.id), states: vec![RunState::Unconfirmed], ..RunFilter::default() };
    let waiting = web.queries.runs(&visitor.who, &filter, None, 1)?.items.pop();
    let run = waiting.ok_or_else(|| Error::from(Refused::conflict("no run of it waits for a decision")))?;
    let run = web.actions.decide(&permit, run.id, decision).await?;
    let done = if matches!(bulk, Bulk::Confirm) { "confirmed" } else { "discarded" };
    Ok(format!("{} is {done}", sentence(&offers::label(run.kind, run.number))))
}
