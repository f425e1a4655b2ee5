//! Policies: the list, a new one, the workbench, those of a stack, and what they said of a run.

use askama::Template;

use super::{
    form::{Choice, Control, Field, Fields as _, form},
    frame::{Empty, Frame, Tab},
    stack::StackHead,
    status::{Badge, Mark, Moment},
};
use crate::domain::{Look, PolicyKind, PolicyOutcome};

/// A policy in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    pub name: String,
    pub kind: &'static str,
    /// What it does, or when it is asked.
    pub about: String,
    /// `attached to shop and dns`, `attached to no stack`
    pub attached: String,
    pub updated: Moment,
}

impl PolicyRow {
    pub(super) fn href(&self) -> String {
        format!("/admin/policies/{}", self.name)
    }
}

/// `/admin/policies`. Posts `do=delete`, `policy`.
#[derive(Clone, Debug, Template)]
#[template(path = "policies.html")]
pub struct PoliciesPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub policies: Vec<PolicyRow>,
    pub empty: Empty,
}

/// A policy of the library: name, kind, what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedRow {
    pub name: &'static str,
    pub kind: &'static str,
    pub about: &'static str,
    /// It fills the form.
    pub here: bool,
}

form!(
    /// Posts `do=create|save|evaluate`. A policy that exists keeps its name and kind.
    PolicyForm {
        name,
        kind,
        description,
        labels,
        body,
        input,
    }
);

impl PolicyForm {
    pub fn new() -> Self {
        let kinds = PolicyKind::ALL.map(|kind| Choice::new(kind.word(), described(kind))).to_vec();
        Self {
            name: Field::text("name", "Name").placeholder("no-state-surgery").hint("a-z, 0-9, - and _").required(),
            kind: Field::new("kind", "Kind", Control::Select(kinds)).hint(
                "Nothing is pushed to Airlock yet: push policies can be saved and tried, but nothing asks them. \
                     Access policies narrow roles: without a rule read or write one takes away only what it denies, \
                     with one it leaves only what that grants.",
            ),
            description: Field::text("description", "What it does"),
            labels: Field::text("labels", "Labels").placeholder("autoattach:prod").hint(
                "With commas between. autoattach:prod attaches it to every stack labelled prod, autoattach:* to all.",
            ),
            body: Field::code_area("body", "Rego", 22).required(),
            input: Field::code_area("input", "Input", 22).hint("JSON: a sample, or your own."),
        }
    }
}

/// `plan — after planning`
fn described(kind: PolicyKind) -> String {
    let trial = if kind.caveat().is_some() { " (only tried so far)" } else { "" };
    format!("{} — {}{trial}", kind.word(), kind.when())
}

impl Default for PolicyForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/admin/policies/new?from=<policy of the library>`. Posts `do=create`.
#[derive(Clone, Debug, Template)]
#[template(path = "policy_new.html")]
pub struct NewPolicyPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub library: Vec<OfferedRow>,
    pub form: PolicyForm,
    pub problems: Vec<String>,
}

/// A sample that can be asked about again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRow {
    pub href: String,
    pub badge: Badge,
    /// `run #12 on shop`
    pub what: String,
    pub at: Moment,
    pub here: bool,
}

/// A definition that gave an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRow {
    pub rule: String,
    pub line: u32,
    pub gave: Vec<String>,
}

/// A line of the policy, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyLine {
    pub number: u32,
    pub text: String,
    /// `gave`, `reached`, `unreached`, `wrong`; empty for what is never evaluated.
    pub mark: &'static str,
}

impl BodyLine {
    /// The same for those who do not see the colour.
    pub(super) fn word(&self) -> &'static str {
        match self.mark {
            "gave" => "gave an answer",
            "reached" => "evaluated",
            "unreached" => "not reached",
            "wrong" => "the mistake",
            _ => "",
        }
    }
}

/// What the policy said.
#[derive(Clone, Debug)]
pub struct Result {
    pub badge: Badge,
    /// `Denied: 2 messages`
    pub sentence: String,
    pub messages: Vec<String>,
    pub origins: Vec<OriginRow>,
    pub lines: Vec<BodyLine>,
    pub printed: Vec<String>,
    /// What each rule gave, as JSON.
    pub rules: String,
}

/// `/admin/policies/{name}?sample=`: the workbench. Posts `do=evaluate|save`.
#[derive(Clone, Debug, Template)]
#[template(path = "policy.html")]
pub struct PolicyPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub name: String,
    pub kind: &'static str,
    pub when: &'static str,
    /// What is to be known about its kind.
    pub caveat: Option<&'static str>,
    pub attached: String,
    pub updated: Moment,
    pub by: Mark,
    pub form: PolicyForm,
    pub problems: Vec<String>,
    pub samples: Vec<SampleRow>,
    pub result: Option<Result>,
}

/// A policy of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedRow {
    pub name: String,
    pub kind: &'static str,
    pub about: String,
    /// `by hand`, `by label`, `by label and by hand`
    pub how: &'static str,
    /// What follows when it is taken off here; none: it cannot be.
    pub detach: Option<&'static str>,
}

/// `/stacks/{slug}/policies`. Posts `do=attach|detach`, `policy`.
#[derive(Clone, Debug, Template)]
#[template(path = "stack_policies.html", blocks = ["head"])]
pub struct StackPoliciesPage {
    pub frame: Frame,
    pub head: StackHead,
    pub rev: u64,
    pub policies: Vec<AttachedRow>,
    /// Names and kinds of those that may be attached; empty for those who may not.
    pub others: Vec<(String, &'static str)>,
    pub may_attach: bool,
    /// The policies' own pages are for admins.
    pub links: bool,
    pub problems: Vec<String>,
    pub empty: Empty,
}

impl StackPoliciesPage {
    pub const fn head_rev(&self) -> u64 {
        self.rev
    }
}

/// What one policy said about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    pub name: String,
    pub kind: &'static str,
    pub badge: Badge,
    pub messages: Vec<String>,
    /// Its page, for admins.
    pub href: Option<String>,
}

/// How a decision looks.
pub fn outcome_badge(outcome: PolicyOutcome) -> Badge {
    let (look, word) = match outcome {
        PolicyOutcome::Allow => (Look::Succeeded, "Allows"),
        PolicyOutcome::Warn => (Look::NeedsYou, "Warns"),
        PolicyOutcome::Deny => (Look::Failed, "Denies"),
        PolicyOutcome::Approve => (Look::Succeeded, "Approves"),
        PolicyOutcome::Reject => (Look::Failed, "Rejects"),
        PolicyOutcome::Undecided => (Look::Waiting, "Undecided"),
        PolicyOutcome::Trigger => (Look::Succeeded, "Triggers"),
        PolicyOutcome::Error => (Look::Failed, "Broken"),
    };
    Badge::new(look, word)
}
