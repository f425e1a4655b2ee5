//! Policies, and the inputs that they were asked about.

use serde::{Deserialize, Serialize};

use crate::domain::{Label, PolicyKind, PolicyName, PolicyOutcome, RunId, Slug, Timestamp, actor::ActorName};
use crate::store::Fault;

/// A policy as somebody saved it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub name: PolicyName,
    pub kind: PolicyKind,
    /// Rego.
    pub body: String,
    /// `autoattach:<label>` attaches it to every stack with that label, `autoattach:*` to all.
    pub labels: Vec<Label>,
    pub description: String,
    /// Another one with every change, never the same again: what was evaluated is told by it.
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub updated_by: ActorName,
}

impl Policy {
    /// Whether it goes to every stack that has these labels.
    pub fn attaches_itself(&self, labels: &[Label]) -> bool {
        let wanted = self.labels.iter().filter_map(|label| label.as_str().strip_prefix("autoattach:"));
        wanted.into_iter().any(|wanted| wanted == "*" || labels.iter().any(|label| label.as_str() == wanted))
    }
}

/// What is due after a run that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// The policies were asked; these stacks are left.
    pub asked: bool,
    pub stacks: Vec<Follower>,
}

/// A stack that a policy triggers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    pub policy: PolicyName,
    pub stack: Slug,
}

/// What a policy was asked about once, and what it said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Timestamp,
    pub stack: Slug,
    pub run: Option<RunId>,
    pub decision: PolicyOutcome,
    pub messages: Vec<String>,
    #[serde(with = "super::serde_bytes_compat")]
    zstd: Vec<u8>,
}

/// A sample without its input.
#[derive(Clone, Debug)]
pub struct SampleFacts {
    pub at: Timestamp,
    pub stack: Slug,
    pub run: Option<RunId>,
    pub decision: PolicyOutcome,
    pub messages: Vec<String>,
}

impl Sample {
    pub fn new(facts: SampleFacts, input: &str) -> Result<Self, Fault> {
        let SampleFacts { at, stack, run, decision, messages } = facts;
        let zstd = zstd::bulk::compress(input.as_bytes(), 3).map_err(|error| fault(&error))?;
        Ok(Self { at, stack, run, decision, messages, zstd })
    }

    pub fn compressed_bytes(&self) -> usize {
        self.zstd.len()
    }

    /// The input, as JSON.
    pub fn input(&self) -> Result<String, Fault> {
        let bytes = zstd::stream::decode_all(self.zstd.as_slice()).map_err(|error| fault(&error))?;
        String::from_utf8(bytes).map_err(|error| fault(&error))
    }
}

fn fault(error: &dyn std::fmt::Display) -> Fault {
    Fault::Record { table: "POLICY_SEQ_TO_SAMPLE", why: error.to_string() }
}
