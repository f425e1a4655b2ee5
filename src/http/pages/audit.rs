//! `/audit`: who did what to what, and whether the chain of entries holds.

use std::sync::{Mutex, PoisonError};

use axum::extract::State;

use super::{
    lists::{cursor, day, day_after, is_filtered, pager_to},
    sent::{Asked, Sent},
    show::mark,
    visitor::{Answer, Visitor},
};
use crate::{
    actions::{Checked, Verification, verify_on},
    auth::Permission,
    domain::{Look, limits},
    http::{
        Problem, Web,
        view::{
            AuditPage,
            admin::{self, AuditRow, ChainState},
            form::Fields as _,
            frame::{Crumb, Empty, Place},
            status::{Badge, Moment},
            words,
        },
    },
    queries::{AuditEntry, AuditFilter, Outcome},
};

/// Entries that one look at the page checks at most; the next look goes on from there.
const CHECKED_AT_ONCE: usize = 20_000;
/// Digits of a hash that are shown.
const DIGITS: usize = 12;

/// How far the log was checked since the server began, and what came of it.
#[derive(Debug, Default)]
pub struct ChainCheck(Mutex<Found>);

#[derive(Clone, Debug, Default)]
struct Found {
    checked: Checked,
    broken: Option<String>,
}

pub async fn get(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    visitor.may_here(Permission::SeeAudit).await?;
    let filter = filter(&asked)?;
    let outcome = match asked.text("outcome") {
        "done" => Some(Outcome::Done),
        "refused" => Some(Outcome::Refused),
        _ => None,
    };
    let found = web.queries.audit(&filter, cursor(&asked)?.as_ref(), limits::PAGE_ROWS)?;
    let shown = found.entries.iter().filter(|entry| outcome.is_none_or(|outcome| entry.outcome == outcome));
    let rows: Vec<AuditRow> = shown.map(|entry| row(&web, entry)).collect();
    let mut form = admin::AuditFilter::new();
    form.keep(asked.pairs());
    let page = AuditPage {
        frame: visitor.frame(Place::Audit, "Audit", vec![Crumb::here("Audit")])?,
        filter: form,
        chain: chain(&web).await?,
        partial: found.next.is_some() && rows.len() < limits::PAGE_ROWS,
        rows,
        export: export(&asked),
        pager: pager_to("/audit", &asked, found.next.as_ref()),
        empty: empty(&asked),
    };
    visitor.page(&page)
}

fn filter(asked: &Sent) -> Result<AuditFilter, Problem> {
    let text = |name: &str| asked.filled(name).map(str::to_owned);
    Ok(AuditFilter {
        actor: text("actor"),
        verb: text("verb"),
        object: text("object"),
        from: day(asked, "from")?,
        to: day_after(asked, "to")?,
    })
}

/// The same entries as JSON lines, from the API.
fn export(asked: &Sent) -> String {
    let mut query = Sent::default();
    for name in ["actor", "verb", "object"] {
        if let Some(value) = asked.filled(name) {
            query.push(name, value);
        }
    }
    for (name, at) in [("from", day(asked, "from")), ("to", day_after(asked, "to"))] {
        if let Ok(Some(at)) = at {
            query.push(name, at.to_string());
        }
    }
    query.push("format", "jsonl");
    query.address("/api/v1/audit", &[])
}

fn row(web: &Web, entry: &AuditEntry) -> AuditRow {
    AuditRow {
        number: entry.seq,
        at: Moment::new(entry.at, web.queries.now()),
        actor: mark(&entry.actor),
        address: entry.address.clone().filter(|address| !address.is_empty()),
        verb: entry.verb.clone(),
        object: (entry.object.clone(), href(&entry.object)),
        refused: entry.outcome == Outcome::Refused,
        detail: entry.detail.clone().unwrap_or_default(),
        hash: entry.hash.chars().take(DIGITS).collect(),
    }
}

/// Where to look at what something was done to. It may be gone by now; then the page says so.
fn href(object: &str) -> Option<String> {
    if object.starts_with("run_") {
        return Some(format!("/runs/{object}"));
    }
    match object.split_once(':')? {
        ("stack", slug) => Some(format!("/stacks/{slug}")),
        ("user", _) => Some("/admin/users".to_owned()),
        ("api_key", _) => Some("/admin/keys".to_owned()),
        ("credential", _) => Some("/admin/credentials".to_owned()),
        _ => None,
    }
}

fn empty(asked: &Sent) -> Empty {
    let (title, text, action) = if is_filtered(asked) {
        ("No entry fits these filters", "Take one away, or look at all entries.", Some("/audit"))
    } else {
        ("No entries yet", "Every change and every refused attempt will appear here.", None)
    };
    Empty {
        title: title.to_owned(),
        text: text.to_owned(),
        action: action.map(|href| ("All entries".to_owned(), href.to_owned())),
    }
}

/// Checks the entries that are new since the last look, away from those that wait for pages.
async fn chain(web: &Web) -> Result<ChainState, Problem> {
    let web = web.clone();
    let checked = tokio::task::spawn_blocking(move || check(&web)).await;
    checked.map_err(|error| {
        tracing::error!(%error, "the audit log could not be checked");
        Problem::internal()
    })?
}

fn check(web: &Web) -> Result<ChainState, Problem> {
    let mut found = web.chain.0.lock().unwrap_or_else(PoisonError::into_inner);
    if found.broken.is_none() {
        let entries = web.queries.audit_from(found.checked.entries + 1, CHECKED_AT_ONCE)?;
        let all = entries.len() < CHECKED_AT_ONCE;
        match verify_on(&found.checked, entries) {
            Verification::Whole { entries, head } => found.checked = Checked { entries, head },
            Verification::Broken { why, .. } => found.broken = Some(why),
        }
        if !all && found.broken.is_none() {
            return Ok(state(&found, true));
        }
    }
    Ok(state(&found, false))
}

fn state(found: &Found, partly: bool) -> ChainState {
    let entries = words::number(found.checked.entries);
    let counted = if found.checked.entries == 1 { "entry" } else { "entries" };
    let (badge, text) = match (&found.broken, partly) {
        (Some(why), _) => (Badge::new(Look::Failed, "Broken"), why.clone()),
        (None, true) => {
            (Badge::new(Look::Working, "Checking"), format!("the first {entries} fit; the rest is checked as you look"))
        }
        (None, false) => {
            (Badge::new(Look::Succeeded, "Unbroken"), format!("{entries} {counted}, each fits the one before"))
        }
    };
    ChainState { badge, text, head: found.checked.head.chars().take(DIGITS).collect() }
}
