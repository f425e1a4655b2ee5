//! The side of a run's page: phases with their durations, and facts.

use super::super::show::{Rows, mark};
use crate::{
    domain::{Kind, Look, Phase, State, Timestamp, Verdict, verdict::bytes},
    http::view::{
        run::{Fact, PhaseRow},
        status::{Badge, Took},
    },
    queries::{HistoryEntry, PhaseRow as Record, Run, RunDetail},
};

/// A phase's name for people.
pub const fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Preparing => "Preparing",
        Phase::Initializing => "Initializing",
        Phase::Planning => "Planning",
        Phase::PreparingApply => "Preparing apply",
        Phase::Applying => "Applying",
        Phase::Performing => "Performing",
        Phase::Destroying => "Destroying",
        Phase::Sealing => "Sealing",
        Phase::Ending => "Ending",
    }
}

/// The phases that such a run has when nothing goes wrong.
pub fn expected(run: &Run) -> Vec<Phase> {
    match run.kind {
        Kind::Tracked => {
            vec![Phase::Preparing, Phase::Initializing, Phase::Planning, Phase::PreparingApply, Phase::Applying]
        }
        Kind::Destroy => {
            vec![Phase::Preparing, Phase::Initializing, Phase::Planning, Phase::PreparingApply, Phase::Destroying]
        }
        Kind::Proposed | Kind::Drift => vec![Phase::Preparing, Phase::Initializing, Phase::Planning],
        Kind::Task if run.skip_initialization => vec![Phase::Preparing, Phase::Performing],
        Kind::OnDemand => vec![Phase::Preparing, Phase::Performing],
        Kind::Task => vec![Phase::Preparing, Phase::Initializing, Phase::Performing],
    }
}

/// Those that are still to come.
pub fn ahead(run: &Run) -> Vec<Phase> {
    if run.state.is_terminal() {
        return Vec::new();
    }
    let last = run.phases.iter().rev().find_map(|done| expected(run).iter().position(|phase| *phase == done.phase));
    expected(run).into_iter().skip(last.map_or(0, |last| last + 1)).collect()
}

/// Milliseconds that are nothing to compare: a bar as wide as its place stands for more.
const SHORT_MS: u128 = 1_000;

/// Phases, with the decision in its place between them.
pub fn phases(rows: &Rows, detail: &RunDetail) -> Vec<PhaseRow> {
    let run = &detail.run;
    let longest = run.phases.iter().filter_map(|phase| length(phase, rows.now)).max().unwrap_or(0).max(SHORT_MS);
    let mut list: Vec<(Timestamp, PhaseRow)> =
        run.phases.iter().map(|phase| (phase.started_at, row(rows, run, phase, longest))).collect();
    list.extend(detail.stages.iter().map(|stage| (stage.row.created_at, super::run_tasks::phase_row(run, stage))));
    list.extend(decisions(detail).map(|entry| (entry.at, decision_row(run, entry))));
    list.sort_by_key(|(at, _)| *at);
    let mut rows: Vec<PhaseRow> = list.into_iter().map(|(_, row)| row).collect();
    rows.extend(ahead(run).into_iter().map(ahead_row));
    rows
}

fn length(phase: &Record, now: Timestamp) -> Option<u128> {
    Some((phase.finished_at.unwrap_or(now) - phase.started_at).as_millis())
}

fn row(rows: &Rows, run: &Run, phase: &Record, longest: u128) -> PhaseRow {
    let look = match &phase.verdict {
        None => Look::Working,
        Some(_) if phase.skipped => Look::Skipped,
        // A plan says by 2 that there are changes.
        Some(verdict) if verdict.is_success() || is_changes(phase, verdict) => Look::Succeeded,
        Some(Verdict::Stopped) => Look::Dropped,
        Some(_) => Look::Failed,
    };
    let took = match phase.finished_at {
        Some(end) => Took::ended(end - phase.started_at),
        None => Took::going_on(phase.started_at, rows.now),
    };
    let share = length(phase, rows.now).unwrap_or(0) * 100 / longest;
    PhaseRow {
        badge: Badge::new(look, title(phase.phase)),
        took: Some(took),
        note: None,
        bar: Some(u8::try_from(share).unwrap_or(100).max(1)),
        now: phase.finished_at.is_none() || (look == Look::Failed && run.state == State::Failed),
        ahead: false,
        href: Some(href(run, phase)),
    }
}

pub fn is_changes(phase: &Record, verdict: &Verdict) -> bool {
    phase.phase == Phase::Planning && verdict.exit_code() == Some(2)
}

fn href(run: &Run, phase: &Record) -> String {
    format!("/runs/{}?tab=log&{}", run.id, which(run, phase))
}

/// A phase that was repeated is named by its number.
pub fn which(run: &Run, phase: &Record) -> String {
    let newest = run.phases.iter().rev().find(|other| other.phase == phase.phase);
    match newest {
        Some(newest) if newest.number != phase.number => format!("n={}", phase.number),
        _ => format!("phase={}", phase.phase.word()),
    }
}

fn decisions(detail: &RunDetail) -> impl Iterator<Item = &HistoryEntry> {
    let decides =
        |state| matches!(state, State::Confirmed | State::Discarded | State::ReplanRequested | State::Canceled);
    let waits = detail.history.iter().filter(move |entry| decides(entry.state));
    let now = detail.history.last().filter(|entry| entry.state == State::Unconfirmed);
    waits.chain(now)
}

fn decision_row(run: &Run, entry: &HistoryEntry) -> PhaseRow {
    let here = entry.state == State::Unconfirmed;
    let look = if entry.state == State::Confirmed { Look::Succeeded } else { entry.state.look() };
    PhaseRow {
        badge: Badge::new(look, entry.state.title()),
        took: None,
        note: (!here).then(|| mark(&entry.actor).name),
        bar: None,
        now: here,
        ahead: false,
        href: Some(format!("/runs/{}?tab={}", run.id, if here { "changes" } else { "timeline" })),
    }
}

fn ahead_row(phase: Phase) -> PhaseRow {
    PhaseRow {
        badge: Badge::new(Look::Waiting, title(phase)),
        took: None,
        note: None,
        bar: None,
        now: false,
        ahead: true,
        href: None,
    }
}

/// Facts at the side.
pub fn facts(run: &Run) -> Vec<Fact> {
    let copied = |name, value: String, whole: String| Fact { copy: Some(whole), ..Fact::code(name, value) };
    let mut facts = vec![copied("Run", short_id(&run.id.to_string()), run.id.to_string())];
    if let Some(digest) = &run.plan_digest {
        facts.push(copied("Plan", digest.short(), digest.to_string()));
    }
    if !run.targets.is_empty() {
        facts.push(Fact::code("Targets", run.targets.join(", ")));
    }
    if let Some(command) = run.command.as_ref().filter(|_| run.message.is_some()) {
        facts.push(Fact::code("Command", command.clone()));
    }
    if run.skip_initialization {
        facts.push(Fact::new("Initialize first", "no"));
    }
    if let Some(code) = run.exit_code {
        facts.push(Fact::code("Exit code", code.to_string()));
    }
    if let Some(sealed) = run.sealed {
        let text = format!("{} → {}", bytes(sealed.tree_bytes), bytes(sealed.sealed_bytes));
        facts.push(Fact::new("Sealed", text));
    }
    if let Some(peak) = run.phases.iter().filter_map(|phase| phase.peak_memory_bytes).max() {
        facts.push(Fact::new("Peak memory", bytes(peak)));
    }
    if let Some(cpu) = total(run.phases.iter().map(|phase| phase.cpu_ms)) {
        facts.push(Fact::new("CPU time", crate::http::view::words::span(std::time::Duration::from_millis(cpu))));
    }
    if let Some(held) = run.phases.iter().rev().find_map(|phase| phase.limited_by.clone()) {
        facts.push(Fact::new("Limits held by", held));
    }
    facts
}

fn total(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

/// Enough of an id to compare; all of it is a click away.
fn short_id(id: &str) -> String {
    match id.char_indices().nth_back(5) {
        Some((at, _)) => format!("run_…{}", &id[at..]),
        None => id.to_owned(),
    }
}
