//! Policies: what kinds there are, by which rules each decides, and what a decision comes to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::PolicyName;

/// When a policy is asked, and what it decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyKind {
    /// Before a task is created.
    Task,
    /// After planning.
    Plan,
    /// Whether a run may go on, at each of its gates and at each review.
    Approval,
    /// What a git event sets off.
    Push,
    /// Which stacks follow a run that ended.
    Trigger,
    /// What an actor may do on a stack, within their role.
    Access,
    /// Who hears of a change of state.
    Notification,
}

impl PolicyKind {
    pub const ALL: [Self; 7] =
        [Self::Task, Self::Plan, Self::Approval, Self::Push, Self::Trigger, Self::Access, Self::Notification];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Plan => "plan",
            Self::Approval => "approval",
            Self::Push => "push",
            Self::Trigger => "trigger",
            Self::Access => "access",
            Self::Notification => "notification",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// When it is asked, for people.
    pub const fn when(self) -> &'static str {
        match self {
            Self::Task => "before a task is created",
            Self::Plan => "after planning",
            Self::Approval => "when a run is queued, unconfirmed or pending review, and at each review",
            Self::Push => "when something is pushed",
            Self::Trigger => "when a run has ended",
            Self::Access => "at each request on a stack",
            Self::Notification => "when a run changes its state",
        }
    }

    /// The rules that it decides by. One of them must be there.
    pub const fn rules(self) -> &'static [&'static str] {
        match self {
            Self::Task => &["deny"],
            Self::Plan => &["deny", "warn"],
            Self::Approval => &["approve", "reject", "approve_with_note", "reject_with_note"],
            Self::Push => &[
                "track",
                "propose",
                "ignore",
                "ignore_track",
                "cancel",
                "prioritize",
                "fail",
                "message",
                "notrigger",
                "notify",
                "allow_fork",
            ],
            Self::Trigger => &["trigger"],
            Self::Access => &["read", "write", "deny", "deny_write"],
            Self::Notification => &["inbox", "webhook", "slack", "pull_request"],
        }
    }

    /// Rules that others know and that are carried out by nothing here, each with what to use instead. A
    /// policy that counted on one would be silent, so it is no policy.
    pub const fn refused_rules(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Notification => {
                &[("email", "no mail is sent; use `inbox` for people here, or `webhook` to a service that sends mail")]
            }
            Self::Task | Self::Plan | Self::Approval | Self::Push | Self::Trigger | Self::Access => &[],
        }
    }

    /// What is to be known before one is written, beyond when it is asked.
    pub const fn caveat(self) -> Option<&'static str> {
        match self {
            Self::Push => Some("nothing is pushed to Airlock yet: it can be saved and tried, but nothing asks it"),
            Self::Task | Self::Plan | Self::Approval | Self::Trigger | Self::Access | Self::Notification => None,
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a policy came to, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyOutcome {
    /// Nothing was said against it.
    Allow,
    Warn,
    Deny,
    Approve,
    Reject,
    /// An approval policy that has not decided yet.
    Undecided,
    /// It sets something off: runs, messages.
    Trigger,
    /// It could not be evaluated. Counts as a no.
    Error,
}

impl PolicyOutcome {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Deny => "deny",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Undecided => "undecided",
            Self::Trigger => "trigger",
            Self::Error => "error",
        }
    }
}

/// What one policy said about one run: kept with the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReceipt {
    pub name: PolicyName,
    pub kind: PolicyKind,
    pub decision: PolicyOutcome,
    pub messages: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_that_reads_back_and_agrees_with_serde() {
        for kind in PolicyKind::ALL {
            assert_eq!(PolicyKind::from_word(kind.word()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
            assert!(!kind.rules().is_empty());
        }
    }
}
