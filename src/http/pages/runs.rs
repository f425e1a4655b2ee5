//! `/runs`: all runs that somebody may see, by filters that live in the address.

use axum::extract::State;

use super::{
    lists::{cursor, is_filtered, names_of, pager, run_filter},
    sent::{Asked, Sent},
    show::{Rev, Rows},
    visitor::{Answer, Visitor, block},
};
use crate::{
    auth::Who,
    domain::limits,
    http::{
        Problem, Web,
        view::{
            RunsPage,
            form::Fields as _,
            frame::{Crumb, Empty, Place},
            lists::RunFilter,
            live::LiveState,
            rows::RunList,
        },
    },
    queries::{Page, Run, StackFilter},
};

const SUBJECT: &str = "Runs";

fn load(web: &Web, who: &Who, asked: &Sent) -> Result<Page<Run>, Problem> {
    let filter = run_filter(web, asked)?;
    Ok(web.queries.runs(who, &filter, cursor(asked)?.as_ref(), limits::PAGE_ROWS)?)
}

pub async fn get(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    let found = load(&web, &visitor.who, &asked)?;
    let rows = Rows { now: web.queries.now(), names: names_of(&web, &found.items)? };
    let live = asked.address("/live/runs", &["block"]);
    let page = RunsPage {
        frame: visitor.live_frame(Place::Runs, SUBJECT, vec![Crumb::here("Runs")], live)?,
        rev: Rev::default().runs(&found.items).number(),
        filter: filter_form(&web, &visitor.who, &asked, &found.items)?,
        list: RunList { rows: found.items.iter().map(|run| rows.run(run)).collect(), empty: empty(&asked) },
        pager: pager("/runs", &asked, &found),
        partial: found.next.is_some() && found.items.len() < limits::PAGE_ROWS,
    };
    match asked.text("block") {
        "lists" => block(&page.as_lists()),
        _ => visitor.page(&page),
    }
}

/// Menus of what there is: stacks that this person sees, and who triggered something.
fn filter_form(web: &Web, who: &Who, asked: &Sent, shown: &[Run]) -> Result<RunFilter, Problem> {
    let stacks = web.queries.stacks(who, &StackFilter::default())?;
    let slugs: Vec<String> = stacks.iter().map(|row| row.stack.slug.to_string()).collect();
    let mut actors = web.queries.actors(who)?;
    actors.extend(shown.iter().map(|run| format!("{}:{}", run.triggered_by.kind.word(), run.triggered_by.name)));
    actors.extend(asked.filled("actor").map(str::to_owned));
    actors.sort_by(|a, b| a.split_once(':').map(|(_, name)| name).cmp(&b.split_once(':').map(|(_, name)| name)));
    actors.dedup();
    let mut form = RunFilter::new(&slugs, &actors);
    form.keep(asked.pairs());
    Ok(form)
}

fn empty(asked: &Sent) -> Empty {
    if is_filtered(asked) {
        return Empty {
            title: "Nothing fits these filters".to_owned(),
            text: "Take one away, or look at all runs.".to_owned(),
            action: Some(("All runs".to_owned(), "/runs".to_owned())),
        };
    }
    Empty {
        title: "No runs yet".to_owned(),
        text: "Every deployment, preview and task of every stack will appear here, the newest first.".to_owned(),
        action: Some(("Stacks".to_owned(), "/stacks".to_owned())),
    }
}

pub fn live(web: &Web, who: &Who, asked: &Sent) -> Result<LiveState, Problem> {
    let found = load(web, who, asked)?;
    Ok(super::live::lists(SUBJECT, Rev::default().runs(&found.items).number()))
}
