//! What a policy decided, read out of the values of its rules.
//!
//! Policies that were written for others are read as they are meant there: a set, a list or an
//! object of messages is the same thing. What has no meaning at all is a [`Trouble`], never silence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Trouble,
    notification::{self, Notification},
};
use crate::domain::{PolicyKind, PolicyOutcome, limits};

/// What one policy said about one input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decision {
    pub deny: Vec<String>,
    pub warn: Vec<String>,
    pub approve: bool,
    pub reject: bool,
    /// What was said along with `approve` and `reject`.
    pub notes: Vec<String>,
    /// Slugs of stacks.
    pub trigger: Vec<String>,
    pub access: Access,
    /// The rules of a push policy that hold: `track`, `ignore`, …
    pub push: Vec<String>,
    /// Runs that a push makes needless.
    pub cancel: Vec<String>,
    /// What a push policy tells whoever pushed.
    pub messages: Vec<String>,
    pub notifications: Vec<Notification>,
    pub flags: Vec<String>,
    pub reset_flags: Vec<String>,
    /// Where the answers came from; only when that was asked.
    pub origins: Vec<Origin>,
    /// Lines that were evaluated, and those that were not; only when that was asked.
    pub reached: Vec<u32>,
    pub unreached: Vec<u32>,
    /// What `print` printed.
    pub printed: Vec<String>,
}

/// What an access policy grants and denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    pub read: bool,
    pub write: bool,
    pub deny: bool,
    pub deny_write: bool,
    /// It has neither of the rules `read` and `write`: what it does not deny stays as it is.
    pub keeps: bool,
}

/// A definition of a rule that gave an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub rule: String,
    pub line: u32,
    /// What this definition gave, as messages; `true` alone gives none.
    pub gave: Vec<String>,
}

impl Decision {
    /// The one word for it.
    pub fn outcome(&self, kind: PolicyKind) -> PolicyOutcome {
        match kind {
            PolicyKind::Approval if self.reject => PolicyOutcome::Reject,
            PolicyKind::Approval if self.approve => PolicyOutcome::Approve,
            PolicyKind::Approval => PolicyOutcome::Undecided,
            PolicyKind::Access if self.access.deny || self.access.deny_write => PolicyOutcome::Deny,
            PolicyKind::Trigger if !self.trigger.is_empty() => PolicyOutcome::Trigger,
            PolicyKind::Notification if !self.notifications.is_empty() => PolicyOutcome::Trigger,
            PolicyKind::Push if self.push.iter().any(|rule| rule == "fail") => PolicyOutcome::Deny,
            PolicyKind::Push if self.push.iter().any(|rule| rule == "track" || rule == "propose") => {
                PolicyOutcome::Trigger
            }
            PolicyKind::Task
            | PolicyKind::Plan
            | PolicyKind::Access
            | PolicyKind::Trigger
            | PolicyKind::Notification
            | PolicyKind::Push => {
                if !self.deny.is_empty() {
                    PolicyOutcome::Deny
                } else if !self.warn.is_empty() {
                    PolicyOutcome::Warn
                } else {
                    PolicyOutcome::Allow
                }
            }
        }
    }

    /// Everything that it says to people, the gravest first.
    pub fn said(&self) -> Vec<String> {
        let stacks = self.trigger.iter().map(|stack| format!("triggers {stack}"));
        let told = self.notifications.iter().map(Notification::said);
        let all = self.deny.iter().chain(&self.warn).chain(&self.notes).chain(&self.messages).cloned();
        all.chain(stacks).chain(told).collect()
    }

    /// Takes over what a rule gave.
    pub(super) fn take(&mut self, kind: PolicyKind, rule: &str, value: &Value) -> Result<(), Trouble> {
        match (kind, rule) {
            (_, "flag") => self.flags = messages(rule, value)?,
            (_, "reset_flag") => self.reset_flags = messages(rule, value)?,
            (PolicyKind::Task | PolicyKind::Plan, "deny") => self.deny = messages(rule, value)?,
            (PolicyKind::Plan, "warn") => self.warn = messages(rule, value)?,
            (PolicyKind::Approval, "approve") => self.approve |= holds(rule, value)?,
            (PolicyKind::Approval, "reject") => self.reject |= holds(rule, value)?,
            (PolicyKind::Approval, "approve_with_note" | "reject_with_note") => {
                let notes = messages(rule, value)?;
                let flag = if rule == "approve_with_note" { &mut self.approve } else { &mut self.reject };
                *flag |= !notes.is_empty();
                self.notes.extend(notes);
            }
            (PolicyKind::Trigger, "trigger") => self.trigger = messages(rule, value)?,
            (PolicyKind::Access, "read") => self.access.read = holds(rule, value)?,
            (PolicyKind::Access, "write") => self.access.write = holds(rule, value)?,
            (PolicyKind::Access, "deny") => self.access.deny = holds(rule, value)?,
            (PolicyKind::Access, "deny_write") => self.access.deny_write = holds(rule, value)?,
            (PolicyKind::Push, "cancel") => self.cancel = messages(rule, value)?,
            (PolicyKind::Push, "message") => self.messages = messages(rule, value)?,
            (PolicyKind::Push, _) => self.push.extend(holds(rule, value)?.then(|| rule.to_owned())),
            (PolicyKind::Notification, _) => self.notifications.extend(notification::read(rule, value)?),
            (
                PolicyKind::Task | PolicyKind::Plan | PolicyKind::Approval | PolicyKind::Trigger | PolicyKind::Access,
                _,
            ) => {}
        }
        Ok(())
    }
}

/// The rules that are asked for: those of the kind, and those that every kind has.
pub(super) fn asked(kind: PolicyKind) -> impl Iterator<Item = &'static str> {
    kind.rules().iter().copied().chain(["flag", "reset_flag"])
}

/// Texts out of a set, a list, an object whose keys they are, or one text.
pub(super) fn messages(rule: &str, value: &Value) -> Result<Vec<String>, Trouble> {
    let mut found = match value {
        Value::Null | Value::Bool(false) => Vec::new(),
        Value::Bool(true) => vec![format!("the rule `{rule}` holds")],
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Object(entries) => {
            entries.iter().filter(|(_, holds)| **holds != false).map(|(key, _)| key.clone()).collect()
        }
        Value::Number(_) => return Err(strange(rule, "a number", "texts")),
    };
    found.truncate(limits::POLICY_MESSAGES);
    Ok(found.into_iter().map(cut).collect())
}

/// A yes or a no: `true`, or a set that is not empty.
fn holds(rule: &str, value: &Value) -> Result<bool, Trouble> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(holds) => Ok(*holds),
        Value::Array(items) => Ok(!items.is_empty()),
        Value::Object(entries) => Ok(!entries.is_empty()),
        Value::Number(_) => Err(strange(rule, "a number", "true or false")),
        Value::String(_) => Err(strange(rule, "a text", "true or false")),
    }
}

pub(super) fn strange(rule: &str, is: &str, should: &str) -> Trouble {
    Trouble::new(format!("the rule `{rule}` gives {is} where {should} would be understood"))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A message as people see it: bounded, without control characters.
pub(super) fn cut(message: String) -> String {
    let clean = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    let mut kept: String = message.chars().take(limits::POLICY_MESSAGE_CHARS).map(clean).collect();
    if message.chars().nth(limits::POLICY_MESSAGE_CHARS).is_some() {
        kept.push('…');
    }
    kept
}

/// A decision by rule, as the workbench and the API show it.
impl Decision {
    pub fn by_rule(&self, kind: PolicyKind) -> BTreeMap<&'static str, Value> {
        let mut rules = BTreeMap::new();
        let mut put = |rule: &'static str, value: Value| drop(rules.insert(rule, value));
        match kind {
            PolicyKind::Task => put("deny", self.deny.clone().into()),
            PolicyKind::Plan => {
                put("deny", self.deny.clone().into());
                put("warn", self.warn.clone().into());
            }
            PolicyKind::Approval => {
                put("approve", self.approve.into());
                put("reject", self.reject.into());
                put("notes", self.notes.clone().into());
            }
            PolicyKind::Push => {
                put("holds", self.push.clone().into());
                put("cancel", self.cancel.clone().into());
                put("message", self.messages.clone().into());
            }
            PolicyKind::Trigger => put("trigger", self.trigger.clone().into()),
            PolicyKind::Access => {
                if !self.access.keeps {
                    put("read", self.access.read.into());
                    put("write", self.access.write.into());
                }
                put("deny", self.access.deny.into());
                put("deny_write", self.access.deny_write.into());
            }
            PolicyKind::Notification => {
                put("messages", serde_json::to_value(&self.notifications).unwrap_or_default());
            }
        }
        put("flag", self.flags.clone().into());
        rules
    }
}
