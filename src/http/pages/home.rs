//! `/`: what needs somebody, what works, what failed.

use axum::extract::State;

use super::{
    cookies::Carried,
    lists::names_of,
    sent::{Asked, Form, Sent},
    show::{Rev, Rows},
    visitor::{Answer, Visitor, block, unknown_verb},
};
use crate::{
    actions::Mark,
    auth::{On, Permission, Who},
    http::{
        Problem, Web,
        view::{
            HomePage,
            frame::{Crumb, Place},
            live::LiveState,
            rows::{RunRow, Why},
            status::Moment,
            webhook::{MessageRow, severity_badge},
        },
    },
    queries::{self, Home, Run},
};

/// Stacks that the first page shows.
const STACKS: usize = 10;
const SUBJECT: &str = "Home";

pub async fn get(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    let home = web.queries.home(&visitor.who)?;
    let messages = web.queries.messages(&visitor.who)?;
    let all = home.needs.iter().chain(&home.working).chain(&home.failed);
    let rows = Rows { now: web.queries.now(), names: names_of(&web, all)? };
    let row = |runs: &[Run]| runs.iter().map(|run| rows.run(run)).collect();
    let page = HomePage {
        frame: visitor.live_frame(Place::Home, SUBJECT, vec![Crumb::here("Home")], "/live/home".to_owned())?,
        rev: rev(&home, &messages),
        messages: messages.into_iter().map(|row| message(&web, &visitor.who, row)).collect(),
        needs_you: home.needs.iter().map(|run| needed(&rows, &visitor.who, run, &home)).collect(),
        working: row(&home.working),
        slots_taken: home.slots_used,
        slots: web.queries.slots(),
        failed: row(&home.failed),
        stacks: home.stacks.iter().take(STACKS).map(|stack| rows.stack_row(stack)).collect(),
        stacks_total: home.stacks.len() as u64,
        may_create: visitor.who.admin,
    };
    match asked.text("block") {
        "lists" => block(&page.as_lists()),
        _ => visitor.page(&page),
    }
}

fn message(web: &Web, who: &Who, row: queries::MessageRow) -> MessageRow {
    let message = row.message;
    MessageRow {
        number: row.seq,
        badge: severity_badge(message.severity),
        title: message.title,
        text: message.text,
        href: message.run.map(|run| format!("/runs/{run}")),
        policy: message.policy.filter(|_| who.admin).map(|policy| policy.to_string()),
        at: Moment::new(message.at, web.queries.now()),
        read: row.read,
    }
}

/// `do=read|dismiss`, `message`.
pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let (mark, said) = match sent.verb() {
        "read" => (Mark::Read, "The message is marked as read."),
        "dismiss" => (Mark::Dismissed, "The message is gone from your inbox."),
        other => return Err(unknown_verb(other)),
    };
    let gone = || Problem::not_found("there is no such message");
    let number = sent.text("message").parse().map_err(|_| gone())?;
    let object = format!("message:{number}");
    let permit = match web.actions.audience_of(number)? {
        Some(stack) => visitor.may(Permission::See, On::Stack(stack), &object).await?,
        None => visitor.may(Permission::SeeSystem, On::Installation, &object).await?,
    };
    web.actions.mark_message(&permit, number, mark).await?;
    visitor.done("/", Carried::good(said.to_owned()))
}

/// What somebody can do something about, with what is missing.
fn needed(rows: &Rows, who: &Who, run: &Run, home: &Home) -> RunRow {
    let row = rows.run(run);
    match home.open.get(&run.id) {
        Some(standing) => RunRow { why: Some(Why::new(standing.missing(Some(&who.actor.public())))), ..row },
        None => row,
    }
}

fn rev(home: &Home, messages: &[queries::MessageRow]) -> u64 {
    let shown: Vec<(u64, bool)> = messages.iter().map(|row| (row.seq, row.read)).collect();
    let runs = home.needs.iter().chain(&home.working).chain(&home.failed);
    Rev::default()
        .runs(runs)
        .stacks(home.stacks.iter().take(STACKS))
        .with((home.slots_used, home.stacks.len()))
        .with(shown)
        .number()
}

pub fn live(web: &Web, who: &Who, _: &Sent) -> Result<LiveState, Problem> {
    let rev = rev(&web.queries.home(who)?, &web.queries.messages(who)?);
    Ok(super::live::lists(SUBJECT, rev))
}
