//! Policies: saved, attached, asked.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `evaluate` | asking all policies of a kind that are attached to a stack; samples |
//! | `input` | the documents that they are asked about |
//! | `access` | what is left of somebody's role |
//! | `task` | before a task is created |
//! | `follow` | what is triggered when a run has ended |
//!
//! Policies run before the transaction, on a snapshot. The transaction then looks whether the same
//! versions are still attached ([`Evaluation::still_holds`]); if not, all of it begins anew.

use crate::{
    auth::Permit,
    domain::{Label, PolicyKind, PolicyName, PolicyOutcome, Refused, StackId, limits},
    policy::{Answer, Ask, Decision, Module, Trouble},
    store::{Error, Find, Rows, Tx, record::Policy, tables as t},
};

use super::{Actions, Deed, approval, missing, once::Once, ring};

mod access;
mod evaluate;
pub(crate) mod follow;
pub(crate) mod input;
mod task;

pub(crate) use access::Ceilings;
pub use evaluate::{Approval, Evaluated, Evaluation};
pub use input::{ReviewFacts, Reviews};
pub(crate) use task::changed_meanwhile;

/// What errors call a policy's body.
pub(super) const BODY: &str = "policy.rego";

/// A policy that somebody saves.
#[derive(Clone, Debug)]
pub struct NewPolicy {
    pub name: PolicyName,
    pub kind: PolicyKind,
    pub body: String,
    pub labels: Vec<Label>,
    pub description: String,
}

/// Whether a policy of that name may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// It must not.
    New,
    /// It must, and is of the same kind.
    Change,
}

/// What a policy said when somebody tried it.
#[derive(Clone, Debug)]
pub struct Tried {
    pub kind: PolicyKind,
    pub outcome: Result<Decision, Trouble>,
}

impl Tried {
    /// The one word for it.
    pub fn word(&self) -> &'static str {
        let outcome = self.outcome.as_ref().map_or(PolicyOutcome::Error, |decision| decision.outcome(self.kind));
        outcome.word()
    }
}

impl Actions {
    /// What a policy would say about an input, which is JSON. Nothing follows from it. `body` is
    /// asked in place of the saved one.
    pub async fn try_policy(
        &self,
        permit: &Permit,
        name: &PolicyName,
        body: Option<String>,
        input: String,
    ) -> Result<Tried, Error> {
        let view = self.store.read()?;
        permit.still_holds(&view, self.now())??;
        let found: Option<Policy> = view.get(t::NAME_TO_POLICY, name.as_str())?;
        drop(view);
        let policy = found.ok_or_else(|| missing(format_args!("the policy {name}")))?;
        let body = body.unwrap_or(policy.body);
        if body.len() > limits::POLICY_BYTES {
            return Err(Refused::field("body", format!("at most {} bytes are allowed", limits::POLICY_BYTES)).into());
        }
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&input) {
            return Err(Refused::field("input", format!("is not JSON: {error}")).into());
        }
        let outcome = self.ask_body(policy.kind, &body, &input, true).await;
        Ok(Tried { kind: policy.kind, outcome })
    }

    /// Saves a policy that can be read; one that cannot is refused with the place of the mistake.
    pub async fn save_policy(
        &self,
        permit: &Permit,
        saving: Saving,
        new: NewPolicy,
        once: Option<Once>,
    ) -> Result<Policy, Error> {
        let verb = if saving == Saving::New { "policy.create" } else { "policy.edit" };
        let deed = Deed::new(verb, format_args!("policy:{}", new.name));
        let checked = match check(&new) {
            Ok(()) => self.check_body(&new).await,
            Err(why) => Err(why),
        };
        self.attempted(permit.who(), &deed, checked).await?;
        self.change(permit, deed, move |tx, moment| {
            if let Some(once) = &once
                && let Some(created) = once.seen(tx, moment.now)?
            {
                let row = tx.get(t::NAME_TO_POLICY, created.as_str())?;
                return Ok((row.ok_or_else(|| missing(created))?, Some("repeated".to_owned())));
            }
            let old = tx.get(t::NAME_TO_POLICY, new.name.as_str())?;
            may_save(tx, saving, &new, old.as_ref())?;
            let row = Policy {
                name: new.name.clone(),
                kind: new.kind,
                body: new.body.clone(),
                labels: new.labels.clone(),
                description: new.description.clone(),
                version: tx.next("policy")?,
                created_at: old.as_ref().map_or(moment.now, |old| old.created_at),
                updated_at: moment.now,
                updated_by: moment.actor.clone(),
            };
            tx.put(t::NAME_TO_POLICY, row.name.as_str(), &row)?;
            tx.mark(t::KIND_POLICY, (row.kind as u8, row.name.as_str()), true)?;
            approval::policies_changed(tx, moment, row.kind, None)?;
            if let Some(once) = &once {
                once.remember(tx, row.name.as_str(), moment.now)?;
            }
            ring(tx, moment);
            let detail = format!("{}, version {}", row.kind, row.version);
            Ok((row, Some(detail)))
        })
        .await
    }

    /// Forgets a policy, its attachments and its samples.
    pub async fn delete_policy(&self, permit: &Permit, name: PolicyName) -> Result<(), Error> {
        let deed = Deed::new("policy.delete", format_args!("policy:{name}"));
        self.change(permit, deed, move |tx, moment| {
            let old = tx.get(t::NAME_TO_POLICY, name.as_str())?;
            let kind = old.ok_or_else(|| missing(format_args!("the policy {name}")))?.kind;
            tx.remove(t::NAME_TO_POLICY, name.as_str())?;
            tx.mark(t::KIND_POLICY, (kind as u8, name.as_str()), false)?;
            for stack in tx.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)? {
                tx.mark(t::STACK_POLICY, (stack.id.number(), name.as_str()), false)?;
            }
            evaluate::forget_samples(tx, &name)?;
            approval::policies_changed(tx, moment, kind, None)?;
            ring(tx, moment);
            Ok(((), None))
        })
        .await
    }

    /// Attaches a policy to a stack, or detaches it. One that attaches itself by label stays.
    pub async fn attach_policy(
        &self,
        permit: &Permit,
        stack: StackId,
        name: PolicyName,
        attached: bool,
    ) -> Result<(), Error> {
        permit.covers(stack)?;
        let slug = self.store.read()?.stack(stack)?.ok_or_else(|| missing("the stack"))?.slug;
        let verb = if attached { "policy.attach" } else { "policy.detach" };
        let deed = Deed::new(verb, format_args!("stack:{slug}"));
        self.change(permit, deed, move |tx, moment| {
            let policy = tx.get(t::NAME_TO_POLICY, name.as_str())?;
            let policy = policy.ok_or_else(|| missing(format_args!("the policy {name}")))?;
            let stack = tx.stack(stack)?.ok_or_else(|| missing("the stack"))?;
            let explicit = tx.policies_by_hand(stack.id)?.contains(&name);
            if !attached && !explicit {
                return Err(match policy.attaches_itself(&stack.settings.labels) {
                    true => Refused::conflict(format!(
                        "`{name}` attaches itself by its labels; an admin can change them on the policy's page"
                    ))
                    .into(),
                    false => missing(format_args!("the attachment of {name}")),
                });
            }
            tx.mark(t::STACK_POLICY, (stack.id.number(), name.as_str()), attached)?;
            approval::policies_changed(tx, moment, policy.kind, Some(stack.id))?;
            ring(tx, moment);
            Ok(((), Some(name.to_string())))
        })
        .await
    }

    /// Whether a body is Rego that decides something; the mistake with its place where it is not.
    async fn check_body(&self, new: &NewPolicy) -> Result<(), Refused> {
        let module = Module { name: BODY.to_owned(), body: new.body.clone() };
        match self.evaluator.ask(Ask::Check { kind: new.kind, module }).await {
            Ok(Answer::Sound) => Ok(()),
            Ok(Answer::Trouble(trouble)) | Err(trouble) => Err(Refused::field("body", trouble.to_string())),
            Ok(Answer::Decided(_) | Answer::Tested(_)) => Err(Refused::field("body", "it could not be checked")),
        }
    }
}

fn check(new: &NewPolicy) -> Result<(), Refused> {
    if new.body.len() > limits::POLICY_BYTES {
        let why = format!("has {} bytes; at most {} are allowed", new.body.len(), limits::POLICY_BYTES);
        return Err(Refused::field("body", why));
    }
    if new.labels.len() > limits::POLICY_LABELS {
        return Err(Refused::field("labels", format!("at most {} are allowed", limits::POLICY_LABELS)));
    }
    if new.description.chars().count() > limits::DESCRIPTION_CHARS {
        let why = format!("at most {} characters are allowed", limits::DESCRIPTION_CHARS);
        return Err(Refused::field("description", why));
    }
    Ok(())
}

fn may_save(tx: &Tx<'_>, saving: Saving, new: &NewPolicy, old: Option<&Policy>) -> Result<(), Error> {
    match (saving, old) {
        (Saving::New, Some(_)) => {
            Err(Refused::taken("name", format!("a policy named `{}` exists already", new.name)).into())
        }
        (Saving::New, None) if tx.all(t::NAME_TO_POLICY, ""..="\u{10ffff}")?.len() >= limits::POLICIES => {
            Err(Refused::conflict(format!("there are {} policies; delete one first", limits::POLICIES)).into())
        }
        (Saving::Change, None) => Err(missing(format_args!("the policy {}", new.name))),
        (Saving::Change, Some(old)) if old.kind != new.kind => {
            Err(Refused::field("kind", format!("it stays {}: make another policy for another kind", old.kind)).into())
        }
        (Saving::New, None) | (Saving::Change, Some(_)) => Ok(()),
    }
}
