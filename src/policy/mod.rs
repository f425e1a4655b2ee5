//! Policies in Rego: what they are asked, how they answer, and the child that evaluates them.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `decision` | what a policy decided, as types; how the values of its rules are read |
//! | `notification` | what a notification policy wants said, to whom |
//! | `engine` | Rego itself: parsing, evaluating, testing; pure |
//! | `alias` | names of Spacelift's for parts of an input |
//! | `child` | `airlock evaluate`: the process that an evaluation happens in, and its fences |
//! | `library` | policies to begin with |
//! | `ask` | the server's side of it: start, feed, bound, judge the end |
//!
//! Invariants: whoever wrote a policy is not trusted. Parsing and evaluating happen only in a child
//! that can open nothing, has a bounded time and memory, and is killed when it takes more. Whatever
//! goes wrong is a [`Trouble`], and a trouble is a no. Knows nothing of the store, nor of what a
//! decision sets off.

mod alias;
mod ask;
mod child;
mod decision;
mod engine;
mod library;
mod notification;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::PolicyKind;

pub use ask::{Evaluator, wall};
pub use child::main;
pub use decision::{Access, Decision, Origin};
pub use library::{LIBRARY, Offered};
pub use notification::{Inbox, Notification, Slack, Webhook};

/// One module of Rego.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// What errors call it.
    pub name: String,
    pub body: String,
}

/// What the child is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Whether it is Rego, and a policy of this kind.
    Check {
        kind: PolicyKind,
        module: Module,
    },
    Decide(Question),
    /// The `test_` rules of all modules together.
    Test {
        modules: Vec<Module>,
    },
}

/// A policy and what it is asked about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    pub kind: PolicyKind,
    pub module: Module,
    pub input: Box<RawValue>,
    /// Say where each answer came from, too.
    pub explain: bool,
}

/// What the child answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Sound,
    Decided(Box<Decision>),
    Tested(Vec<Tested>),
    Trouble(Trouble),
}

/// What became of one `test_` rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// The module that it stands in.
    pub module: String,
    pub name: String,
    pub line: u32,
    pub outcome: TestOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    Passed,
    /// It was false, or undefined.
    Failed,
    Trouble(Trouble),
}

/// Why a policy could not be read or evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}{message}", place(*.line, *.column))]
pub struct Trouble {
    pub message: String,
    pub line: Option<u32>,
    pub column: Option<u32>,
}

impl Trouble {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None, column: None }
    }
}

fn place(line: Option<u32>, column: Option<u32>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: "),
        (Some(line), None) => format!("line {line}: "),
        (None, _) => String::new(),
    }
}
