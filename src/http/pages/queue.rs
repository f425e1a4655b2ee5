//! `/queue`: slots, what waits and behind what.

use axum::extract::State;

use super::{
    cookies::Carried,
    lists::names_of,
    sent::{Asked, Form, Sent, sentence},
    show::{Rev, Rows},
    visitor::{Answer, Visitor, block, unknown_verb},
};
use crate::{
    actions::Decision,
    auth::{Permission, Who},
    domain::{Role, RunId, State as RunState},
    http::{
        Problem, Web,
        view::{
            QueuePage,
            frame::{Crumb, Place},
            lists::QueueRow,
            live::LiveState,
            offers,
        },
    },
    queries::{Queue, Waiting},
};

const SUBJECT: &str = "Queue";

pub async fn get(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    let queue = web.queries.queue(&visitor.who)?;
    let all = queue.running.iter().chain(queue.waiting.iter().map(|waiting| &waiting.run));
    let rows = Rows { now: web.queries.now(), names: names_of(&web, all)? };
    let (blocked, ready): (Vec<&Waiting>, Vec<&Waiting>) =
        queue.waiting.iter().partition(|waiting| waiting.run.state == RunState::Queued);
    let row = |waiting: &Waiting, position: Option<u64>| QueueRow {
        run: rows.run(&waiting.run),
        position,
        prioritized: waiting.run.prioritized,
        may_prioritize: visitor.who.role_on(waiting.run.stack) >= Some(Role::Writer),
    };
    let page = QueuePage {
        frame: visitor.live_frame(Place::Queue, SUBJECT, vec![Crumb::here("Queue")], "/live/queue".to_owned())?,
        rev: rev(&queue),
        slots: queue.slots,
        working: queue.running.iter().map(|run| rows.run(run)).collect(),
        ready: ready.iter().zip(1..).map(|(waiting, place)| row(waiting, Some(place))).collect(),
        blocked: blocked.iter().map(|waiting| row(waiting, None)).collect(),
    };
    match asked.text("block") {
        "lists" => block(&page.as_lists()),
        _ => visitor.page(&page),
    }
}

fn rev(queue: &Queue) -> u64 {
    let waiting = queue.waiting.iter().map(|waiting| &waiting.run);
    Rev::default().runs(&queue.running).runs(waiting).with(queue.slots).number()
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let prioritized = match sent.verb() {
        "prioritize" => true,
        "deprioritize" => false,
        other => return Err(unknown_verb(other)),
    };
    let id: RunId = sent.text("run").parse().map_err(|_| Problem::not_found("there is no such run"))?;
    let (_, permit) = visitor.may_on_run(Permission::Prioritize, id).await?;
    let run = web.actions.decide(&permit, id, Decision::Prioritize { prioritized }).await?;
    let label = sentence(&offers::label(run.kind, run.number));
    let text =
        format!("{label} of {} {} in front now.", run.slug, if prioritized { "stands" } else { "no longer stands" });
    visitor.done("/queue", Carried::good(text).link("Look at it", format!("/runs/{id}")))
}

pub fn live(web: &Web, who: &Who, _: &Sent) -> Result<LiveState, Problem> {
    let rev = rev(&web.queries.queue(who)?);
    Ok(super::live::lists(SUBJECT, rev))
}
