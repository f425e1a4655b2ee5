//! Policies, what they are attached to, and what they were asked about.

use crate::{
    auth::Who,
    domain::{PolicyKind, PolicyName, PolicyOutcome, RunId, Slug, StackId, Timestamp, limits},
    store::{
        Find, Flow, Order, Rows,
        record::{Policy, Sample, Stack},
        tables as t,
    },
};

use super::{Queries, Result, not_found};

/// A policy with the stacks that it is attached to.
#[derive(Clone, Debug)]
pub struct PolicyRow {
    pub policy: Policy,
    /// Stacks that somebody attached it to.
    pub by_hand: Vec<Slug>,
    /// Stacks that it attaches itself to.
    pub by_label: Vec<Slug>,
}

/// How a policy came to a stack.
#[derive(Clone, Debug)]
pub struct AttachedPolicy {
    pub name: PolicyName,
    pub kind: PolicyKind,
    pub description: String,
    pub by_hand: bool,
    pub by_label: bool,
}

/// A sample without its input.
#[derive(Clone, Debug)]
pub struct SampleRow {
    pub number: u64,
    pub at: Timestamp,
    pub stack: Slug,
    pub run: Option<RunId>,
    pub decision: PolicyOutcome,
    pub messages: Vec<String>,
}

impl Queries {
    /// Every policy, by name.
    pub fn policies(&self) -> Result<Vec<PolicyRow>> {
        let view = self.view()?;
        let stacks = view.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)?;
        let mut by_hand: Vec<(Slug, Vec<PolicyName>)> = Vec::new();
        for stack in &stacks {
            by_hand.push((stack.slug.clone(), view.policies_by_hand(stack.id)?));
        }
        let row = |policy: Policy| {
            let attached = by_hand.iter().filter(|(_, names)| names.contains(&policy.name));
            let itself = stacks.iter().filter(|stack: &&Stack| policy.attaches_itself(&stack.settings.labels));
            PolicyRow {
                by_hand: attached.map(|(slug, _)| slug.clone()).collect(),
                by_label: itself.map(|stack| stack.slug.clone()).collect(),
                policy,
            }
        };
        Ok(view.all(t::NAME_TO_POLICY, ""..="\u{10ffff}")?.into_iter().map(row).collect())
    }

    /// One policy.
    pub fn policy(&self, name: &PolicyName) -> Result<PolicyRow> {
        let row = self.policies()?.into_iter().find(|row| row.policy.name == *name);
        row.ok_or_else(|| not_found(format_args!("the policy `{name}`")))
    }

    /// The policies of a stack that the actor may see.
    pub fn policies_of(&self, who: &Who, stack: StackId) -> Result<Vec<AttachedPolicy>> {
        let view = self.view()?;
        let found = view.stack(stack)?.filter(|stack| super::sees(who, stack.id));
        let stack = found.ok_or_else(|| not_found("the stack"))?;
        let by_hand = view.policies_by_hand(stack.id)?;
        let row = |policy: Policy| AttachedPolicy {
            by_hand: by_hand.contains(&policy.name),
            by_label: policy.attaches_itself(&stack.settings.labels),
            name: policy.name,
            kind: policy.kind,
            description: policy.description,
        };
        let rows = view.all(t::NAME_TO_POLICY, ""..="\u{10ffff}")?.into_iter().map(row);
        Ok(rows.filter(|row| row.by_hand || row.by_label).collect())
    }

    /// What a policy was asked about lately, the newest first.
    pub fn samples(&self, name: &PolicyName) -> Result<Vec<SampleRow>> {
        let now = self.now();
        let mut rows = Vec::new();
        let key = name.as_str();
        let all = (key, 0)..=(key, u64::MAX);
        self.view()?.walk(t::POLICY_SEQ_TO_SAMPLE, all, Order::Down, |(_, number), row: Sample| {
            if now - row.at <= limits::POLICY_SAMPLE_AGE && rows.len() < limits::POLICY_SAMPLES {
                let Sample { at, stack, run, decision, messages, .. } = row;
                rows.push(SampleRow { number, at, stack, run, decision, messages });
            }
            Ok(Flow::Continue(()))
        })?;
        Ok(rows)
    }

    /// The input of a sample, as JSON.
    pub fn sample_input(&self, name: &PolicyName, number: u64) -> Result<String> {
        let found = self.view()?.get(t::POLICY_SEQ_TO_SAMPLE, (name.as_str(), number))?;
        let sample: Sample = found.ok_or_else(|| not_found(format_args!("the sample {number} of `{name}`")))?;
        Ok(sample.input()?)
    }
}
