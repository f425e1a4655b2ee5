//! The status language: icon, word and colour of a state, what set a run off, deltas, moments.

use std::time::Duration;

use super::words;
use crate::domain::{ActorKind, Delta, Look, State, Timestamp, actor::ActorName};

/// A state as it is shown everywhere: icon and colour by its look, a word, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    pub look: Look,
    pub word: String,
}

impl Badge {
    pub fn new(look: Look, word: impl Into<String>) -> Self {
        Self { look, word: word.into() }
    }

    pub fn of(state: State) -> Self {
        Self::new(state.look(), state.title())
    }

    /// A failed run of which nobody knows what it changed.
    pub fn lost() -> Self {
        Self::new(Look::Failed, "Lost")
    }

    /// A stack without a tracked run.
    pub fn never_deployed() -> Self {
        Self::new(Look::Skipped, "Never deployed")
    }

    /// What a title begins with, for those who see only the browser's tab.
    pub const fn sign(look: Look) -> &'static str {
        match look {
            Look::Waiting => "◌",
            Look::NeedsYou => "⏸",
            Look::Working => "●",
            Look::Succeeded => "✓",
            Look::Failed => "✗",
            Look::Dropped => "⊘",
            Look::Skipped => "–",
        }
    }

    /// The file of the tab's icon.
    pub const fn favicon(look: Option<Look>) -> &'static str {
        match look {
            None => "favicon.svg",
            Some(Look::Waiting) => "favicon-waiting.svg",
            Some(Look::NeedsYou) => "favicon-needs_you.svg",
            Some(Look::Working) => "favicon-working.svg",
            Some(Look::Succeeded) => "favicon-succeeded.svg",
            Some(Look::Failed) => "favicon-failed.svg",
            Some(Look::Dropped) => "favicon-dropped.svg",
            Some(Look::Skipped) => "favicon-skipped.svg",
        }
    }
}

/// What set a run off: an icon by kind, and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub kind: ActorKind,
    pub name: String,
}

impl Mark {
    /// The kind in a word for people.
    pub const fn word(&self) -> &'static str {
        match self.kind {
            ActorKind::User => "person",
            ActorKind::ApiKey => "API key",
            ActorKind::Commit => "commit",
            ActorKind::Tag => "tag",
            ActorKind::Policy => "policy",
            ActorKind::Schedule => "schedule",
            ActorKind::Run => "upstream run",
            ActorKind::Task => "task",
            ActorKind::System => "Airlock",
        }
    }
}

impl From<ActorName> for Mark {
    fn from(actor: ActorName) -> Self {
        Self { kind: actor.kind, name: actor.name }
    }
}

/// A point in time: relative words now, the absolute one on asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339, for machines and the script that keeps the words fresh.
    pub iso: String,
    pub absolute: String,
    pub words: String,
}

impl Moment {
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { iso: at.to_string(), absolute: words::absolute(at), words: words::relative(at, now) }
    }
}

/// How long something took, or takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Took {
    /// It is over.
    For(String),
    /// It goes on: ticks in the page.
    Since(Moment),
}

impl Took {
    pub fn ended(length: Duration) -> Self {
        Self::For(words::span(length))
    }

    pub fn going_on(since: Timestamp, now: Timestamp) -> Self {
        let whole = Duration::from_secs(now.since(since).as_secs());
        let moment = Moment { iso: since.to_string(), absolute: words::absolute(since), words: words::span(whole) };
        Self::Since(moment)
    }
}

/// When something was, at the end of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    At(Moment),
    Took(Took),
}

/// One number of a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// `create`, `update`, `replace` or `delete`: chooses colour and glyph. `none` where it is zero.
    pub action: &'static str,
    pub text: String,
}

/// The numbers beside a planned run, in resources or outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaView {
    pub counts: Vec<Count>,
    /// The same in words.
    pub label: String,
}

impl DeltaView {
    pub fn resources(delta: Delta) -> Self {
        let r = delta.resources;
        Self::new(&[
            ("create", "+", r.added, "to add"),
            ("update", "~", r.changed, "to change"),
            ("replace", "±", r.replaced, "to replace"),
            ("delete", "−", r.deleted, "to delete"),
        ])
    }

    pub fn outputs(delta: Delta) -> Self {
        let o = delta.outputs;
        Self::new(&[
            ("create", "+", o.added, "to add"),
            ("update", "~", o.changed, "to change"),
            ("delete", "−", o.deleted, "to delete"),
        ])
    }

    fn new(numbers: &[(&'static str, &str, u32, &str)]) -> Self {
        let counts = numbers
            .iter()
            .map(|(action, glyph, n, _)| Count {
                action: if *n == 0 { "none" } else { action },
                text: format!("{glyph}{n}"),
            })
            .collect();
        let label = numbers.iter().map(|(.., n, words)| format!("{n} {words}")).collect::<Vec<_>>().join(", ");
        Self { counts, label }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Counts, OutputCounts};

    #[test]
    fn a_delta_always_carries_all_its_numbers_and_says_them_in_words() {
        let delta = Delta {
            resources: Counts { added: 1, changed: 0, deleted: 2, replaced: 0 },
            outputs: OutputCounts::default(),
        };
        let view = DeltaView::resources(delta);
        assert_eq!(view.counts.iter().map(|c| c.text.as_str()).collect::<Vec<_>>(), ["+1", "~0", "±0", "−2"]);
        assert_eq!(view.counts.iter().map(|c| c.action).collect::<Vec<_>>(), ["create", "none", "none", "delete"]);
        assert_eq!(view.label, "1 to add, 0 to change, 0 to replace, 2 to delete");
    }
}
