//! Rows of lists: one line per object, the same wherever it appears.

use super::{
    frame::Empty,
    status::{Badge, DeltaView, Mark, When},
};

/// A stack, to link to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackRef {
    pub slug: String,
    pub name: String,
}

impl StackRef {
    pub fn href(&self) -> String {
        format!("/stacks/{}", self.slug)
    }
}

/// Why something is as it is, with the thing that makes it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub text: String,
    pub href: Option<String>,
}

impl Why {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), href: None }
    }

    pub fn linked(text: impl Into<String>, href: impl Into<String>) -> Self {
        Self { text: text.into(), href: Some(href.into()) }
    }
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// `run_01K…`
    pub id: String,
    pub badge: Badge,
    /// Left out in the lists of one stack.
    pub stack: Option<StackRef>,
    /// `run #42`, `task #41`, `preview #7`.
    pub label: String,
    /// The message, the commit's subject, or the command.
    pub title: String,
    /// The title is a command.
    pub command: bool,
    pub why: Option<Why>,
    pub mark: Option<Mark>,
    /// Seven digits.
    pub commit: Option<String>,
    pub delta: Option<DeltaView>,
    pub when: When,
}

impl RunRow {
    pub fn href(&self) -> String {
        format!("/runs/{}", self.id)
    }
}

/// A list of runs under a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunList {
    pub rows: Vec<RunRow>,
    pub empty: Empty,
}

/// A stack in a list. Its state is that of its current deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackRow {
    pub stack: StackRef,
    pub badge: Badge,
    /// `run #310 · nothing to change`.
    pub detail: String,
    /// Where `detail` leads: the run.
    pub run: Option<String>,
    pub vendor: &'static str,
    pub labels: Vec<String>,
    /// Who holds the lock.
    pub locked_by: Option<String>,
    pub disabled: bool,
    pub delta: Option<DeltaView>,
    pub when: Option<When>,
}

impl StackRow {
    /// How many labels a row has room for.
    const fn room(&self) -> usize {
        if self.locked_by.is_some() { 1 } else { 2 }
    }

    pub fn shown_labels(&self) -> &[String] {
        self.labels.get(..self.room()).unwrap_or(&self.labels)
    }

    /// How many more there are, and which.
    pub fn more_labels(&self) -> Option<(usize, String)> {
        let more = self.labels.get(self.room()..).filter(|more| !more.is_empty())?;
        Some((more.len(), more.join(", ")))
    }
}

/// Stacks of one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackGroup {
    pub title: &'static str,
    pub rows: Vec<StackRow>,
}
