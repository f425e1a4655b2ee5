//! Asking every attached policy of a kind, and remembering what they were asked.

use serde_json::{Value, value::RawValue};

use crate::{
    domain::{PolicyKind, PolicyName, PolicyOutcome, PolicyReceipt, RunId, Timestamp, limits},
    policy::{Answer, Ask, Decision, Module, Question, Trouble},
    store::{
        Error, Fault, Find, Flow, Order, Rows, Tx,
        record::{Policy, Run, Sample, SampleFacts, Stack},
        tables as t,
    },
};

use super::{
    BODY,
    input::{self, PlanFacts, Reviews},
};
use crate::actions::Actions;

/// What one policy came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    pub name: PolicyName,
    pub version: u64,
    pub outcome: Result<Decision, Trouble>,
}

/// What all attached policies of a kind came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    pub kind: PolicyKind,
    pub policies: Vec<Evaluated>,
}

/// What all approval policies together say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    Approved,
    /// At least one said no, or could not be asked; with what was said.
    Rejected(Vec<String>),
    /// These have not decided yet; with what they said.
    Undecided(Vec<String>),
}

impl Evaluation {
    /// Whether there was nobody to ask.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Whether the same versions are attached still, as a transaction sees it.
    pub fn still_holds(&self, view: &impl Rows, stack: &Stack) -> Result<bool, Fault> {
        let present = view.attached_policies(stack, self.kind)?;
        let seen = self.policies.iter().map(|one| (&one.name, one.version));
        Ok(present.iter().map(|policy| (&policy.name, policy.version)).eq(seen))
    }

    /// Every no, each with the policy that says it. A policy that cannot be evaluated says no.
    pub fn denials(&self) -> Vec<String> {
        let each = self.policies.iter().flat_map(|one| match &one.outcome {
            Ok(decision) => decision.deny.iter().map(|message| said(&one.name, message)).collect(),
            Err(trouble) => vec![broken(&one.name, trouble)],
        });
        each.collect()
    }

    pub fn warnings(&self) -> Vec<String> {
        let decided = self.policies.iter().filter_map(|one| Some((&one.name, one.outcome.as_ref().ok()?)));
        decided.flat_map(|(name, decision)| decision.warn.iter().map(|message| said(name, message))).collect()
    }

    /// All must approve; one no is enough; else it waits. With nobody to ask it is approved.
    pub fn approval(&self) -> Approval {
        let mut no = Vec::new();
        let mut open = Vec::new();
        for one in &self.policies {
            match &one.outcome {
                Err(trouble) => no.push(broken(&one.name, trouble)),
                Ok(decision) if decision.reject => no.push(noted(&one.name, "rejects it", decision)),
                Ok(decision) if decision.approve => {}
                Ok(decision) => open.push(noted(&one.name, "has not approved it yet", decision)),
            }
        }
        match (no.is_empty(), open.is_empty()) {
            (false, _) => Approval::Rejected(no),
            (true, false) => Approval::Undecided(open),
            (true, true) => Approval::Approved,
        }
    }

    /// What is kept with a run.
    pub fn receipts(&self) -> Vec<PolicyReceipt> {
        let receipt = |one: &Evaluated| PolicyReceipt {
            name: one.name.clone(),
            kind: self.kind,
            decision: one.outcome(self.kind),
            messages: one.messages(),
        };
        self.policies.iter().map(receipt).collect()
    }
}

impl Evaluated {
    pub fn outcome(&self, kind: PolicyKind) -> PolicyOutcome {
        self.outcome.as_ref().map_or(PolicyOutcome::Error, |decision| decision.outcome(kind))
    }

    pub fn messages(&self) -> Vec<String> {
        match &self.outcome {
            Ok(decision) => decision.said(),
            Err(trouble) => vec![trouble.to_string()],
        }
    }
}

fn said(name: &PolicyName, message: &str) -> String {
    format!("{message} (policy `{name}`)")
}

fn broken(name: &PolicyName, trouble: &Trouble) -> String {
    format!("the policy `{name}` cannot be evaluated: {trouble}")
}

fn noted(name: &PolicyName, what: &str, decision: &Decision) -> String {
    if decision.notes.is_empty() {
        format!("the policy `{name}` {what}")
    } else {
        format!("the policy `{name}` {what}: {}", decision.notes.join("; "))
    }
}

impl Actions {
    /// Asks every policy of a kind that is attached to a stack, all at once. `input` is not even made
    /// when there is none.
    pub(crate) async fn evaluate_policies(
        &self,
        kind: PolicyKind,
        stack: &Stack,
        run: Option<RunId>,
        input: impl FnOnce() -> Result<Value, Error>,
    ) -> Result<Evaluation, Error> {
        let attached = self.store.read()?.attached_policies(stack, kind)?;
        if attached.is_empty() {
            return Ok(Evaluation { kind, policies: Vec::new() });
        }
        let input = input()?.to_string();
        let each = attached.iter().map(|policy| self.ask_policy(policy, &input));
        let policies = futures_util::future::join_all(each).await;
        let evaluation = Evaluation { kind, policies };
        self.keep_samples(stack, run, &evaluation, input).await?;
        Ok(evaluation)
    }

    /// Asks the approval policies of a stack whether a run may go on.
    pub async fn ask_approval_policies(
        &self,
        stack: &Stack,
        run: &Run,
        reviews: &Reviews,
    ) -> Result<Evaluation, Error> {
        let document = || Ok(input::approval(&self.store.read()?, stack, run, reviews)?);
        self.evaluate_policies(PolicyKind::Approval, stack, Some(run.id), document).await
    }

    /// Asks the plan policies of a stack about what a run would change.
    pub(in crate::actions) async fn ask_plan_policies(
        &self,
        stack: &Stack,
        run: &Run,
        plan: &PlanFacts<'_>,
    ) -> Result<Evaluation, Error> {
        let document = || Ok(input::plan(&self.store.read()?, stack, run, plan, self.now())?);
        self.evaluate_policies(PolicyKind::Plan, stack, Some(run.id), document).await
    }

    async fn ask_policy(&self, policy: &Policy, input: &str) -> Evaluated {
        let outcome = self.ask_body(policy.kind, &policy.body, input, false).await;
        Evaluated { name: policy.name.clone(), version: policy.version, outcome }
    }

    /// Asks one body about one input, which is JSON.
    pub(in crate::actions) async fn ask_body(
        &self,
        kind: PolicyKind,
        body: &str,
        input: &str,
        explain: bool,
    ) -> Result<Decision, Trouble> {
        let input = RawValue::from_string(input.to_owned()).map_err(|error| Trouble::new(error.to_string()))?;
        let module = Module { name: BODY.to_owned(), body: body.to_owned() };
        match self.evaluator.ask(Ask::Decide(Question { kind, module, input, explain })).await? {
            Answer::Decided(decision) => Ok(*decision),
            Answer::Trouble(trouble) => Err(trouble),
            Answer::Sound | Answer::Tested(_) => Err(Trouble::new("it gave another answer than was asked for")),
        }
    }

    /// Writes down what was asked and what was said. An input too large to be kept is left out.
    async fn keep_samples(
        &self,
        stack: &Stack,
        run: Option<RunId>,
        evaluation: &Evaluation,
        input: String,
    ) -> Result<(), Error> {
        let mut samples = Vec::new();
        for one in &evaluation.policies {
            let facts = SampleFacts {
                at: self.now(),
                stack: stack.slug.clone(),
                run,
                decision: one.outcome(evaluation.kind),
                messages: one.messages(),
            };
            let sample = Sample::new(facts, &input)?;
            if sample.compressed_bytes() <= limits::POLICY_SAMPLE_BYTES {
                samples.push((one.name.clone(), sample));
            }
        }
        self.store
            .write(move |tx| {
                for (name, sample) in &samples {
                    keep_sample(tx, name, sample)?;
                }
                Ok(())
            })
            .await
    }
}

/// Puts a sample behind the others, and lets go of those whose time or place is up.
fn keep_sample(tx: &Tx<'_>, name: &PolicyName, sample: &Sample) -> Result<(), Fault> {
    let seq = tx.next("policy_sample")?;
    tx.put(t::POLICY_SEQ_TO_SAMPLE, (name.as_str(), seq), sample)?;
    let mut kept = 0;
    let mut over = Vec::new();
    tx.walk(t::POLICY_SEQ_TO_SAMPLE, (name.as_str(), 0)..=(name.as_str(), u64::MAX), Order::Down, |(_, seq), row| {
        kept += 1;
        if kept > limits::POLICY_SAMPLES || is_old(&row, sample.at) {
            over.push(seq);
        }
        Ok(Flow::Continue(()))
    })?;
    for seq in over {
        tx.remove(t::POLICY_SEQ_TO_SAMPLE, (name.as_str(), seq))?;
    }
    Ok(())
}

/// Whether a sample's time is up.
pub(crate) fn is_old(sample: &Sample, now: Timestamp) -> bool {
    now - sample.at > limits::POLICY_SAMPLE_AGE
}

pub(super) fn forget_samples(tx: &Tx<'_>, name: &PolicyName) -> Result<(), Fault> {
    let mut all = Vec::new();
    tx.walk(
        t::POLICY_SEQ_TO_SAMPLE,
        (name.as_str(), 0)..=(name.as_str(), u64::MAX),
        Order::Up,
        |(_, seq), _: Sample| {
            all.push(seq);
            Ok(Flow::Continue(()))
        },
    )?;
    for seq in all {
        tx.remove(t::POLICY_SEQ_TO_SAMPLE, (name.as_str(), seq))?;
    }
    Ok(())
}
