//! `/`: what needs somebody, what works, what failed.

use axum::extract::State;

use super::{
    lists::names_of,
    sent::{Asked, Sent},
    show::{Rev, Rows},
    visitor::{Answer, Visitor, block},
};
use crate::{
    auth::Who,
    http::{
        Problem, Web,
        view::{
            HomePage,
            frame::{Crumb, Place},
            live::LiveState,
            rows::{RunRow, Why},
        },
    },
    queries::{Home, Run},
};

/// Stacks that the first page shows.
const STACKS: usize = 10;
const SUBJECT: &str = "Home";

pub async fn get(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    let home = web.queries.home(&visitor.who)?;
    let all = home.needs.iter().chain(&home.working).chain(&home.failed);
    let rows = Rows { now: web.queries.now(), names: names_of(&web, all)? };
    let row = |runs: &[Run]| runs.iter().map(|run| rows.run(run)).collect();
    let page = HomePage {
        frame: visitor.live_frame(Place::Home, SUBJECT, vec![Crumb::here("Home")], "/live/home".to_owned())?,
        rev: rev(&home),
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

/// What somebody can do something about, with what is missing.
fn needed(rows: &Rows, who: &Who, run: &Run, home: &Home) -> RunRow {
    let row = rows.run(run);
    match home.open.get(&run.id) {
        Some(standing) => RunRow { why: Some(Why::new(standing.missing(Some(&who.actor.public())))), ..row },
        None => row,
    }
}

fn rev(home: &Home) -> u64 {
    let runs = home.needs.iter().chain(&home.working).chain(&home.failed);
    Rev::default()
        .runs(runs)
        .stacks(home.stacks.iter().take(STACKS))
        .with((home.slots_used, home.stacks.len()))
        .number()
}

pub fn live(web: &Web, who: &Who, _: &Sent) -> Result<LiveState, Problem> {
    let rev = rev(&web.queries.home(who)?);
    Ok(super::live::lists(SUBJECT, rev))
}
