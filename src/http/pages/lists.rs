//! What the lists of runs share: filters out of an address, pages by cursor, names of stacks.

use std::collections::HashMap;

use crate::{
    domain::{Kind, Refused, Slug, StackId, StackName, State, Timestamp},
    http::{Problem, Web, view::frame::Pager},
    queries::{Cursor, Page, Run, RunFilter},
};

use super::sent::Sent;

/// The names of the stacks of some runs.
pub fn names_of<'r>(
    web: &Web,
    runs: impl IntoIterator<Item = &'r Run>,
) -> Result<HashMap<StackId, StackName>, Problem> {
    Ok(web.queries.stack_names(runs.into_iter().map(|run| run.stack))?)
}

/// Where a list goes on.
pub fn cursor(asked: &Sent) -> Result<Option<Cursor>, Problem> {
    Ok(asked.filled("cursor").map(str::parse).transpose()?)
}

/// Links to the newest and to older ones, with the same filters.
pub fn pager<T>(path: &str, asked: &Sent, page: &Page<T>) -> Pager {
    pager_to(path, asked, page.next.as_ref())
}

pub fn pager_to(path: &str, asked: &Sent, next: Option<&Cursor>) -> Pager {
    let newest = asked.filled("cursor").map(|_| asked.address(path, &["cursor", "block"]));
    let older = next.map(|next| {
        let mut older = asked.clone();
        older.push("cursor", next.to_string());
        let mut kept = Sent::default();
        let last = older.pairs().len() - 1;
        for (at, (name, value)) in older.pairs().iter().enumerate() {
            if name != "cursor" && name != "block" || at == last {
                kept.push(name, value);
            }
        }
        kept.address(path, &[])
    });
    Pager { newest, older }
}

/// A day out of a date field; the moment at which it begins.
pub fn day(asked: &Sent, name: &str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = asked.filled(name) else { return Ok(None) };
    let at = format!("{text}T00:00:00Z").parse();
    at.map(Some).map_err(|_| Refused::field(name, "must be a day such as 2026-02-03").into())
}

/// The moment at which the day after begins, so that the last day is shown as a whole.
pub fn day_after(asked: &Sent, name: &str) -> Result<Option<Timestamp>, Problem> {
    Ok(day(asked, name)?.map(|at| at.plus(std::time::Duration::from_secs(86_400))))
}

/// The filter of a list of runs. What makes no sense is refused by name.
pub fn run_filter(web: &Web, asked: &Sent) -> Result<RunFilter, Problem> {
    let wrong = |field: &str, value: &str| Refused::field(field, format!("there is no `{}`", clip(value)));
    let mut filter = RunFilter { words: asked.text("q").trim().to_owned(), ..RunFilter::default() };
    if let Some(word) = asked.filled("kind") {
        filter.kinds = vec![Kind::from_word(word).ok_or_else(|| wrong("kind", word))?];
    }
    if let Some(word) = asked.filled("state") {
        filter.states = vec![State::from_word(word).ok_or_else(|| wrong("state", word))?];
    }
    if let Some(slug) = asked.filled("stack") {
        let found = Slug::new(slug).ok().map(|slug| web.queries.stack_id(&slug)).transpose()?.flatten();
        filter.stack = Some(found.ok_or_else(|| Refused::not_found(format_args!("the stack `{}`", clip(slug))))?);
    }
    filter.actor = asked.filled("actor").map(str::to_owned);
    filter.from = day(asked, "from")?;
    filter.to = day_after(asked, "to")?;
    Ok(filter)
}

/// Whether an address asks for less than everything.
pub fn is_filtered(asked: &Sent) -> bool {
    asked.pairs().iter().any(|(name, value)| !matches!(name.as_str(), "cursor" | "block") && !value.trim().is_empty())
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
