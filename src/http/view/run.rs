//! The page of one run, its page of all changes, and its page of nothing but the log.

use askama::Template;

use super::{
    changes::ChangesView,
    context::RuntimeView,
    frame::{Empty, Frame, Tab},
    guest::GuestView,
    log::LogView,
    offers::Act,
    policy::ReceiptRow,
    rows::{StackRef, Why},
    run_task::RunTasksView,
    status::{Badge, DeltaView, Mark, Moment, Took},
};

/// What is true of the run as a whole.
#[derive(Clone, Debug)]
pub struct RunHead {
    pub id: String,
    /// `run #42`
    pub label: String,
    /// The message, or the command of a task.
    pub title: String,
    /// The title is a command.
    pub command: bool,
    pub stack: StackRef,
    /// `tracked`, `task`, …
    pub kind: &'static str,
    pub badge: Badge,
    /// After the state's word: `waits for a decision`, `exit 1 in planning`.
    pub verdict: Option<String>,
    /// Ticks while the state is active.
    pub took: Option<Took>,
    pub why: Option<Why>,
    pub mark: Mark,
    pub created: Moment,
    /// Commit or upload that it works on.
    pub source: Option<SourceRef>,
    /// `confirmed by reviewer: “go”` and the like: who decided.
    pub decided: Option<(Mark, &'static str, Option<String>)>,
    /// The run that this one repeats.
    pub retry_of: Option<Why>,
    /// The run whose guest made the changes that this one is about.
    pub patched_by: Option<Why>,
    pub acts: Vec<Act>,
    /// Said where no button is: `Applying cannot be stopped`.
    pub no_acts: Option<String>,
    /// Of plan policies and the vendor.
    pub warnings: Vec<String>,
}

/// The version of the source that a run works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRef {
    /// `4f2c1e9`, `sha256:9c41…e07b`, or `main` before the commit is known.
    pub short: String,
    /// All of it, to copy.
    pub full: String,
    pub branch: Option<String>,
}

/// What a person decides, and what follows from it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// `3 resources and 1 output would change.`
    pub sentence: String,
    /// What confirming does and to what, without the digest.
    pub detail: String,
    pub digest: Option<PlanDigest>,
    /// Why it cannot be confirmed now: a lock. Then there is no such button.
    pub missing: Option<Why>,
    /// `1 more approval is needed, not by you.`: then there is no button to confirm either.
    pub open: Option<String>,
    /// Who said what about exactly this.
    pub reviews: Vec<ReviewLine>,
    /// `Approve run #42`, for those whose approval counts.
    pub approve: Option<String>,
    /// `Reject run #42`
    pub reject: Option<String>,
    /// `Confirm run #42`
    pub confirm: Option<String>,
    /// `Discard run #42`
    pub discard: Option<String>,
    /// When the system discards it.
    pub expires: Option<Moment>,
    pub warnings: Vec<String>,
    /// The numbers of the plan, where it lists its changes.
    pub delta: Option<DeltaView>,
    /// The run destroys: the box is red and the words are plain.
    pub destroys: bool,
}

/// What one person said, in the box in which others decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewLine {
    pub badge: Badge,
    pub by: Mark,
    pub note: Option<String>,
    pub at: Moment,
}

/// The plan that is confirmed: sent along, so that nobody confirms another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanDigest {
    pub full: String,
    pub short: String,
}

/// Why the run failed, visible without a click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `Planning`
    pub phase: &'static str,
    /// `exit 1`
    pub verdict: String,
    /// The line that says it, and where it stands in the log.
    pub line: Option<(String, String)>,
}

/// A phase, or a state between phases, beside the tabs.
#[derive(Clone, Debug)]
pub struct PhaseRow {
    pub badge: Badge,
    pub took: Option<Took>,
    /// In the place of a duration: `2 passed`, `reviewer`.
    pub note: Option<String>,
    /// Per cent of the run's longest phase, which counts as a second at least.
    pub bar: Option<u8>,
    /// It is the present one.
    pub now: bool,
    /// Not reached yet.
    pub ahead: bool,
    /// Its log.
    pub href: Option<String>,
}

/// A fact at the side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub name: &'static str,
    pub value: String,
    pub code: bool,
    /// Can be copied: the whole value.
    pub copy: Option<String>,
}

impl Fact {
    pub fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), code: false, copy: None }
    }

    pub fn code(name: &'static str, value: impl Into<String>) -> Self {
        Self { code: true, ..Self::new(name, value) }
    }
}

/// What an entry of the timeline is about.
#[derive(Clone, Debug)]
pub enum Told {
    /// A transition to a state, or a review.
    Decided(Badge),
    Comment,
    /// It left the run in its state.
    Remark,
}

/// One entry of the timeline.
#[derive(Clone, Debug)]
pub struct Event {
    pub told: Told,
    pub actor: Mark,
    pub at: Moment,
    /// How long after the entry before: `0.6s`.
    pub after: Option<String>,
    /// Why the system did it.
    pub reason: Option<String>,
    /// What the person wrote.
    pub note: Option<String>,
}

/// The timeline with its comment form.
#[derive(Clone, Debug)]
pub struct Timeline {
    pub rev: u64,
    pub events: Vec<Event>,
    pub may_comment: bool,
}

/// Why there is no list of changes.
#[derive(Clone, Debug)]
pub struct NoChanges {
    pub rev: u64,
    pub empty: Empty,
}

/// The opened tab. Further tabs (policies) become further variants.
#[derive(Clone, Debug)]
pub enum Panel {
    /// A plan with changes, without changes, or none yet and why.
    Changes(Result<ChangesView, NoChanges>),
    Log(Box<LogView>),
    /// What guests may do, did and left.
    Guest(Box<GuestView>),
    /// What outside checks said.
    RunTasks(Box<RunTasksView>),
    /// What it was configured with, and what it used.
    Runtime(Box<RuntimeView>),
    Timeline(Timeline),
    /// What policies said.
    Policies(Receipts),
}

/// What policies said about a run.
#[derive(Clone, Debug)]
pub struct Receipts {
    pub rev: u64,
    pub rows: Vec<ReceiptRow>,
}

/// `/runs/{id}?tab=changes|run_tasks|guest|policies|log|timeline`.
///
/// Blocks: `head` (state, title, buttons, decision, failure), `aside` (phases, facts), `tabs`, and
/// `panel`. The log is not fetched as a block while it is open: its lines come by the stream.
#[derive(Clone, Debug, Template)]
#[template(path = "run.html", blocks = ["head", "aside", "tabs", "panel"])]
pub struct RunPage {
    pub frame: Frame,
    /// Changes with every transition, comment and phase.
    pub rev: u64,
    pub head: RunHead,
    pub decision: Option<Decision>,
    pub failure: Option<Failure>,
    pub phases: Vec<PhaseRow>,
    pub facts: Vec<Fact>,
    pub tabs: Vec<Tab>,
    pub panel: Panel,
}

impl RunPage {
    /// The number of the opened tab's block. A log keeps its own.
    pub const fn panel_rev(&self) -> u64 {
        match &self.panel {
            Panel::Changes(Ok(changes)) => changes.rev,
            Panel::Timeline(timeline) => timeline.rev,
            Panel::Changes(Err(none)) => none.rev,
            Panel::Log(log) => log.rev,
            Panel::Guest(guest) => guest.rev,
            Panel::RunTasks(view) => view.rev,
            Panel::Policies(receipts) => receipts.rev,
            Panel::Runtime(runtime) => runtime.rev,
        }
    }
}

/// `/runs/{id}/log?phase=&line=&before=&q=`. Block: `log`. *Earlier* fetches `block=lines`,
/// which is answered with [`LogLines`].
#[derive(Clone, Debug, Template)]
#[template(path = "run_log.html", blocks = ["log"])]
pub struct RunLogPage {
    pub frame: Frame,
    pub badge: Badge,
    pub title: String,
    pub run_href: String,
    pub log: LogView,
}

/// Lines that come before those already shown, with the link to still earlier ones.
#[derive(Clone, Debug, Template)]
#[template(path = "log_lines.html")]
pub struct LogLines {
    pub log: LogView,
}

/// `/runs/{id}/changes`: all of them.
#[derive(Clone, Debug, Template)]
#[template(path = "run_changes.html")]
pub struct RunChangesPage {
    pub frame: Frame,
    pub badge: Badge,
    pub title: String,
    pub run_href: String,
    pub changes: Result<ChangesView, NoChanges>,
}
