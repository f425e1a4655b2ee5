//! From records to what pages show: rows, badges, reasons, marks.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher as _},
};

use crate::{
    domain::{
        BlockedBy, Delta, Kind, Look, Slug, StackId, StackName, State, Timestamp, Verdict, actor::ActorName,
        run::SourceVersion,
    },
    http::view::{
        offers,
        rows::{RunRow, StackRef, StackRow, Why},
        status::{Badge, DeltaView, Mark, Moment, Took, When},
        words,
    },
    queries::{self, Run, blocked_by},
};

/// Characters of a title in a list.
const TITLE_CHARS: usize = 120;

/// Makes rows of runs.
#[derive(Debug)]
pub struct Rows {
    pub now: Timestamp,
    pub names: HashMap<StackId, StackName>,
}

impl Rows {
    /// A run in a list over several stacks.
    pub fn run(&self, run: &Run) -> RunRow {
        RunRow { stack: Some(self.stack(run)), ..self.run_of_stack(run) }
    }

    pub fn stack(&self, run: &Run) -> StackRef {
        let name = self.names.get(&run.stack).map_or_else(|| run.slug.to_string(), ToString::to_string);
        StackRef { slug: run.slug.to_string(), name }
    }

    /// A run in a list of one stack.
    pub fn run_of_stack(&self, run: &Run) -> RunRow {
        RunRow {
            id: run.id.to_string(),
            badge: badge(run),
            stack: None,
            label: offers::label(run.kind, run.number),
            title: words::first_line(&title(run), TITLE_CHARS),
            command: run.message.is_none() && run.command.is_some(),
            why: why(run),
            mark: Some(run.triggered_by.clone().into()),
            commit: run.source.commit().map(|commit| commit.short().to_owned()),
            delta: delta(run),
            when: when(run, self.now),
        }
    }

    /// A stack in a list.
    pub fn stack_row(&self, row: &queries::StackRow) -> StackRow {
        let stack = &row.stack;
        let run = row.current().or(row.other.as_ref());
        StackRow {
            stack: StackRef { slug: stack.slug.to_string(), name: stack.settings.name.to_string() },
            badge: stack_badge(row),
            detail: run.map_or_else(|| "nothing has run yet".to_owned(), detail),
            run: run.map(|run| format!("/runs/{}", run.id)),
            vendor: stack.settings.vendor.word(),
            labels: stack.settings.labels.iter().map(ToString::to_string).collect(),
            locked_by: stack.lock.as_ref().map(|lock| lock.by.name.clone()),
            disabled: !stack.settings.enabled,
            delta: row.current().and_then(delta),
            when: run.map(|run| when(run, self.now)),
        }
    }
}

/// The state of a run, with its own look where nobody knows what it changed.
pub fn badge(run: &Run) -> Badge {
    if run.unacknowledged { Badge::lost() } else { Badge::of(run.state) }
}

/// The state of a stack is that of its current deployment, unless something else was lost.
pub fn stack_badge(row: &queries::StackRow) -> Badge {
    match row.current() {
        _ if row.lost => Badge::lost(),
        Some(run) => badge(run),
        None => Badge::never_deployed(),
    }
}

fn detail(run: &Run) -> String {
    let label = offers::label(run.kind, run.number);
    let reason = if run.state == State::Failed { why(run).map(|why| why.text) } else { run.reason.clone() };
    match (reason, &run.message) {
        (Some(reason), _) => format!("{label} · {reason}"),
        (None, Some(message)) => format!("{label} · {}", words::first_line(message.as_str(), TITLE_CHARS)),
        (None, None) => label,
    }
}

/// What a run is about: what somebody wrote, the command, or what such a run does.
pub fn title(run: &Run) -> String {
    if let Some(message) = &run.message {
        return message.to_string();
    }
    if let Some(command) = run.command.as_ref().or(run.guest.as_ref()) {
        return command.clone();
    }
    if let Some(task) = &run.declared_task {
        return format!("Task {task}");
    }
    let source = match &run.source {
        SourceVersion::Git { branch, .. } => branch.to_string(),
        SourceVersion::Upload { digest } => format!("the upload {}", digest.short()),
    };
    match run.kind {
        Kind::Tracked => format!("Deploy {source}"),
        Kind::Proposed => format!("Preview {source}"),
        Kind::Destroy => "Destroy everything".to_owned(),
        Kind::Drift => format!("Look for drift from {source}"),
        Kind::Task | Kind::OnDemand => "A task without a command".to_owned(),
    }
}

/// Why a run is as it is, with the thing that makes it so.
pub fn why(run: &Run) -> Option<Why> {
    if let Some(blocked) = blocked_by(run) {
        return Some(blocked_why(&blocked, &run.slug));
    }
    match run.state {
        State::Unconfirmed => Some(Why::new("waits for a decision")),
        State::PendingReview => Some(Why::new("waits for a review")),
        State::Failed => {
            let parts = [run.reason.clone().or_else(|| failed(run)), error_line(run)];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            (!parts.is_empty()).then(|| Why::new(parts.join(" · ")))
        }
        _ => run.reason.clone().map(Why::new),
    }
}

/// The line that says what went wrong, where the reason does not say it.
fn error_line(run: &Run) -> Option<String> {
    let line = words::first_line(run.error_line.as_deref()?, TITLE_CHARS);
    let said = run.reason.as_ref().is_some_and(|reason| reason.contains(&line));
    (!line.is_empty() && !said).then_some(line)
}

/// The numbers of a plan; none where it changes something and does not list what.
pub fn delta(run: &Run) -> Option<DeltaView> {
    run.delta.filter(|_| !is_unlisted(run)).map(DeltaView::resources)
}

/// Whether the plan changes something, and does not list what: such are the plans of custom commands
/// that only exit with 2, and those before a stack's own commands destroy it, whatever they exit with.
pub fn is_unlisted(run: &Run) -> bool {
    let own_commands = run.kind == Kind::Destroy && run.changes.is_some() && run.terraform_version.is_none();
    (run.changes == Some(true) || own_commands) && run.delta.is_none_or(Delta::is_empty)
}

fn blocked_why(blocked: &BlockedBy, slug: &Slug) -> Why {
    let text = blocked.to_string();
    match blocked {
        BlockedBy::Run { run, .. } | BlockedBy::Upstream { run } => Why::linked(text, format!("/runs/{run}")),
        BlockedBy::Lock { .. } | BlockedBy::State { .. } | BlockedBy::Disabled => {
            Why::linked(text, format!("/stacks/{slug}"))
        }
        BlockedBy::Slot => Why::linked(text, "/queue"),
        BlockedBy::Approval | BlockedBy::Disk | BlockedBy::Pool { .. } => Why::new(text),
    }
}

/// How a run failed: the verdict, and in which phase.
pub fn failed(run: &Run) -> Option<String> {
    let phase = run.phases.iter().rev().find(|phase| phase.verdict.as_ref().is_some_and(|v| !v.is_success()));
    let verdict = phase.and_then(|phase| phase.verdict.as_ref()).or(run.verdict.as_ref())?;
    if verdict.is_success() {
        return None;
    }
    Some(match (phase, verdict) {
        (_, Verdict::Refused { reason }) => reason.clone(),
        (Some(phase), verdict) => format!("{verdict} in {}", phase.phase.word().replace('_', " ")),
        (None, verdict) => verdict.to_string(),
    })
}

/// When something was, or how long it goes on.
pub fn when(run: &Run, now: Timestamp) -> When {
    match run.state.look() {
        Look::Working => When::Took(Took::going_on(run.phases.first().map_or(run.state_since, |p| p.started_at), now)),
        Look::Waiting | Look::NeedsYou => When::Took(Took::going_on(run.state_since, now)),
        Look::Succeeded | Look::Failed | Look::Dropped | Look::Skipped => When::At(Moment::new(run.state_since, now)),
    }
}

/// A page's number for something that it shows: changes when it would look different, times apart.
/// It is read by a script, so it has the bits of a number there.
#[derive(Debug, Default)]
pub struct Rev(DefaultHasher);

impl Rev {
    #[must_use]
    pub fn with(mut self, thing: impl Hash) -> Self {
        thing.hash(&mut self.0);
        self
    }

    #[must_use]
    pub fn run(self, run: &Run) -> Self {
        let blocked = run.blocked_by.as_ref().map(ToString::to_string);
        self.with((run.seq, run.updated_at, run.state, blocked, run.prioritized, run.phases.len()))
    }

    #[must_use]
    pub fn runs<'r>(self, runs: impl IntoIterator<Item = &'r Run>) -> Self {
        runs.into_iter().fold(self.with("runs"), Self::run)
    }

    #[must_use]
    pub fn stacks<'r>(self, rows: impl IntoIterator<Item = &'r queries::StackRow>) -> Self {
        rows.into_iter().fold(self.with("stacks"), |rev, row| {
            let rev = rev.with((row.stack.slug.as_str(), row.stack.version, row.lost));
            let shown = row.current().or(row.other.as_ref());
            shown.into_iter().fold(rev, Self::run)
        })
    }

    pub fn number(self) -> u64 {
        self.0.finish() & ((1 << 53) - 1)
    }
}

/// Who, for marks.
pub fn mark(actor: &ActorName) -> Mark {
    actor.clone().into()
}
