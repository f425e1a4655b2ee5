//! What stands above every page of a stack: name, state, lock, the primary action, tabs.

use crate::{
    auth::Who,
    domain::{
        Role,
        stack::{ExecutorKind, Lock, Source},
    },
    http::{
        Problem, Web,
        pages::show,
        view::{
            frame::Crumb,
            offers,
            rows::StackRef,
            stack::{LockCard, StackHead, TriggerForm},
            status::Moment,
        },
    },
    queries::{Stack, StackRow},
};

/// The header of a stack's page, with the tab that is open.
pub fn head(web: &Web, who: &Who, row: &StackRow, here: &str) -> Result<StackHead, Problem> {
    let stack = &row.stack;
    let role = who.role_on(stack.id);
    let (writes, administers) = (role >= Some(Role::Writer), role >= Some(Role::Admin));
    let uploads = matches!(stack.settings.source, Some(Source::Upload { .. }));
    let ready = has_source(stack);
    Ok(StackHead {
        stack: StackRef { slug: stack.slug.to_string(), name: stack.settings.name.to_string() },
        description: stack.settings.description.clone(),
        labels: stack.settings.labels.iter().map(ToString::to_string).collect(),
        badge: show::stack_badge(row),
        latest: row
            .current()
            .or(row.other.as_ref())
            .map(|run| (offers::label(run.kind, run.number), format!("/runs/{}", run.id))),
        vendor: stack.settings.vendor.word(),
        source: source(stack),
        uploaded: uploaded(web, who, stack)?,
        has_commits: branch(stack).is_some(),
        disabled: !stack.settings.enabled,
        lock: stack.lock.as_ref().map(|lock| lock_card(web, who, lock, writes, administers)),
        may_lock: writes,
        trigger: (writes && ready).then(|| TriggerForm::new(branch(stack))),
        trigger_open: false,
        trigger_problems: Vec::new(),
        unconfined: stack.settings.executor.kind == ExecutorKind::Unconfined,
        before_trigger: (writes && !ready).then(|| before_trigger(stack, uploads, administers)).flatten(),
        tabs: StackHead::tabs(stack.slug.as_str(), here, administers || (writes && uploads)),
    })
}

/// The way to a page of a stack: to the stack itself, or to a part of it.
pub fn crumbs(head: &StackHead, part: Option<&str>) -> Vec<Crumb> {
    let stacks = Crumb::link("Stacks", "/stacks");
    match part {
        None => vec![stacks, Crumb::here(&head.stack.name)],
        Some(part) => vec![stacks, Crumb::link(&head.stack.name, head.stack.href()), Crumb::here(part)],
    }
}

/// Whether runs have something to work on.
fn has_source(stack: &Stack) -> bool {
    match stack.settings.source {
        Some(Source::Git { .. }) => true,
        Some(Source::Upload { .. }) => stack.upload.is_some(),
        None => false,
    }
}

fn before_trigger(stack: &Stack, uploads: bool, administers: bool) -> Option<(String, String)> {
    let settings = format!("/stacks/{}/settings", stack.slug);
    match (uploads, administers) {
        (true, _) => Some(("Upload a source".to_owned(), format!("{settings}#upload"))),
        (false, true) => Some(("Set a source".to_owned(), settings)),
        (false, false) => None,
    }
}

fn branch(stack: &Stack) -> Option<&str> {
    match &stack.settings.source {
        Some(Source::Git { branch, .. }) => Some(branch.as_str()),
        Some(Source::Upload { .. }) | None => None,
    }
}

fn source(stack: &Stack) -> Option<String> {
    match &stack.settings.source {
        Some(Source::Git { url, branch, .. }) => Some(format!("{branch} of {url}")),
        Some(Source::Upload { .. }) if stack.upload.is_none() => Some("uploads, none so far".to_owned()),
        Some(Source::Upload { .. }) | None => None,
    }
}

fn uploaded(web: &Web, who: &Who, stack: &Stack) -> Result<Option<Moment>, Problem> {
    let newest = match stack.settings.source {
        Some(Source::Upload { .. }) => web.queries.uploads(who, &stack.slug)?.into_iter().next(),
        Some(Source::Git { .. }) | None => None,
    };
    Ok(newest.map(|upload| Moment::new(upload.at, web.queries.now())))
}

fn lock_card(web: &Web, who: &Who, lock: &Lock, writes: bool, administers: bool) -> LockCard {
    let mine = lock.is_of(&who.actor);
    let unlock = match (mine, administers) {
        (true, _) => writes.then(|| "Unlock".to_owned()),
        (false, true) => Some(format!("Unlock although {} holds it", lock.by.name)),
        (false, false) => None,
    };
    LockCard {
        by: lock.by.clone().into(),
        note: lock.note.as_ref().map(ToString::to_string),
        since: Moment::new(lock.since, web.queries.now()),
        mine,
        unlock,
    }
}
