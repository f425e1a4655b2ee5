//! Home, and the lists over all stacks: stacks, runs, tasks, the queue.

use askama::Template;

use super::{
    declared::DeclaredList,
    form::{Choice, Control, Field, Fields, form},
    frame::{Empty, Frame, Pager},
    rows::{RunList, RunRow, StackGroup, StackRow},
    webhook::MessageRow,
    words,
};
use crate::domain::{Kind, State};

/// `/`. Block: `lists`. Posts `do=read|dismiss`, `message`.
#[derive(Clone, Debug, Template)]
#[template(path = "home.html", blocks = ["lists"])]
pub struct HomePage {
    pub frame: Frame,
    pub rev: u64,
    /// Unconfirmed, pending review, lost and not acknowledged.
    pub needs_you: Vec<RunRow>,
    /// What policies and Airlock itself have to say.
    pub messages: Vec<MessageRow>,
    pub working: Vec<RunRow>,
    pub slots_taken: usize,
    pub slots: usize,
    pub failed: Vec<RunRow>,
    /// The most recent ones.
    pub stacks: Vec<StackRow>,
    pub stacks_total: u64,
    /// Whether this person may create stacks: the first step when there is none.
    pub may_create: bool,
}

impl HomePage {
    /// What the page says at once.
    pub fn headline(&self) -> String {
        match self.needs_you.len() as u64 {
            0 => "Nothing needs you".to_owned(),
            1 => "One thing needs you".to_owned(),
            n => format!("{} things need you", words::capital_number(n)),
        }
    }

    fn total(&self) -> String {
        words::number(self.stacks_total)
    }

    fn has_more(&self) -> bool {
        (self.stacks.len() as u64) < self.stacks_total
    }
}

form!(
    /// Filters of the list of stacks; all of them live in the URL.
    StackFilter {
        q,
        state,
        label,
    }
);

impl StackFilter {
    /// `labels` are those that exist.
    pub fn new(labels: &[String]) -> Self {
        let states = [
            ("", "Any state"),
            ("needs_attention", "Needs attention"),
            ("in_progress", "In progress"),
            ("failed", "Failed"),
            ("on_hold", "On hold"),
            ("finished", "Finished"),
            ("never_run", "Never deployed"),
        ];
        let states = states.map(|(value, word)| Choice::new(value, word)).to_vec();
        let any = std::iter::once(Choice::new("", "Any label"));
        let labels = any.chain(labels.iter().map(|label| Choice::new(label, label))).collect();
        Self {
            q: Field::text("q", "Name").placeholder("Name or slug"),
            state: Field::new("state", "State", Control::Select(states)),
            label: Field::new("label", "Label", Control::Select(labels)),
        }
    }
}

/// `/stacks`. Posts `do=lock|unlock|confirm|discard`, `stack` (repeated slugs), `note`.
/// Block: `lists`.
#[derive(Clone, Debug, Template)]
#[template(path = "stacks.html", blocks = ["lists"])]
pub struct StacksPage {
    pub frame: Frame,
    pub rev: u64,
    pub filter: StackFilter,
    pub groups: Vec<StackGroup>,
    pub total: u64,
    pub empty: Empty,
    pub may_create: bool,
    /// Whether this person may write to any of them: shows checkboxes and the bar.
    pub may_write: bool,
    /// What a bulk action did to each stack: slug, sentence, whether it went well.
    pub outcomes: Vec<(String, String, bool)>,
    pub pager: Pager,
}

form!(
    /// Filters of the list of runs.
    RunFilter {
        q,
        kind,
        state,
        stack,
        actor,
        from,
        to,
    }
);

impl RunFilter {
    /// `stacks` are slugs, `actors` like `user:alice`, of those this person sees.
    pub fn new(stacks: &[String], actors: &[String]) -> Self {
        let menu = |any: &str, items: &mut dyn Iterator<Item = (String, String)>| {
            let any = std::iter::once(Choice::new("", any));
            Control::Select(any.chain(items.map(|(value, word)| Choice::new(value, word))).collect())
        };
        let mut kinds = Kind::ALL.iter().map(|kind| (kind.word().to_owned(), kind.word().replace('_', " ")));
        let mut states = State::ALL.iter().map(|state| (state.word().to_owned(), state.title().to_owned()));
        let mut stacks = stacks.iter().map(|slug| (slug.clone(), slug.clone()));
        let name = |actor: &str| actor.split_once(':').map_or(actor, |(_, name)| name).to_owned();
        let mut actors = actors.iter().map(|actor| (actor.clone(), name(actor)));
        Self {
            q: Field::text("q", "Words").placeholder("Message or command"),
            kind: Field::new("kind", "Kind", menu("Any kind", &mut kinds)),
            state: Field::new("state", "State", menu("Any state", &mut states)),
            stack: Field::new("stack", "Stack", menu("Any stack", &mut stacks)),
            actor: Field::new("actor", "Person", menu("Anybody", &mut actors)),
            from: Field::new("from", "From", Control::Date),
            to: Field::new("to", "To", Control::Date),
        }
    }
}

/// `/runs`. Block: `lists`.
#[derive(Clone, Debug, Template)]
#[template(path = "runs.html", blocks = ["lists"])]
pub struct RunsPage {
    pub frame: Frame,
    pub rev: u64,
    pub filter: RunFilter,
    pub list: RunList,
    pub pager: Pager,
    /// Only a part of the history was looked at: the cursor goes on from there.
    pub partial: bool,
}

form!(
    /// *Run a command*. Posts `do=perform`.
    CommandForm {
        stack,
        command,
        initialize,
    }
);

impl CommandForm {
    /// `stacks`: slug and name of those this person may write to.
    pub fn new(stacks: &[(String, String)]) -> Self {
        let stacks = stacks.iter().map(|(slug, name)| Choice::new(slug, name)).collect();
        Self {
            stack: Field::new("stack", "Stack", Control::Select(stacks)).required(),
            command: Field::code_area("command", "Command", 3)
                .hint("Run as sh -c in the stack's project root. It has the stack to itself and cannot be stopped.")
                .placeholder("terraform state list")
                .required(),
            initialize: Field::toggle("initialize", "Initialize first")
                .hint("Off: the command runs in the bare source, without the vendor's init.")
                .value("on"),
        }
    }
}

/// `/tasks`. Block: `lists`.
#[derive(Clone, Debug, Template)]
#[template(path = "tasks.html", blocks = ["lists"])]
pub struct TasksPage {
    pub frame: Frame,
    pub rev: u64,
    /// Absent for those who may write to no stack.
    pub command: Option<CommandForm>,
    /// What is wrong with the command and has no field.
    pub problems: Vec<String>,
    pub declared: DeclaredList,
    pub list: RunList,
    pub pager: Pager,
}

/// A run in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    pub run: RunRow,
    /// Its place, from 1; none while it is blocked.
    pub position: Option<u64>,
    pub prioritized: bool,
    pub may_prioritize: bool,
}

/// `/queue`. Posts `do=prioritize`, `run`. Block: `lists`.
#[derive(Clone, Debug, Template)]
#[template(path = "queue.html", blocks = ["lists"])]
pub struct QueuePage {
    pub frame: Frame,
    pub rev: u64,
    pub slots: usize,
    /// Runs that hold a slot.
    pub working: Vec<RunRow>,
    /// Eligible, waiting for a slot.
    pub ready: Vec<QueueRow>,
    /// Blocked; each says by what.
    pub blocked: Vec<QueueRow>,
}

impl QueuePage {
    /// The slots, from the first: `true` is taken.
    pub fn slot_row(&self) -> impl Iterator<Item = bool> {
        let taken = self.working.len();
        (0..self.slots.max(taken).min(64)).map(move |slot| slot < taken)
    }
}
