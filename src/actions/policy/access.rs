//! Access policies: what is left of somebody's role on a stack.
//!
//! They only take away. Among the policies of a stack the strictest counts. One that has a rule `read` or
//! `write` leaves what these grant; one that has neither leaves what it does not deny; one that cannot be
//! evaluated leaves nothing. Admins of the installation are not asked about, or a policy could shut
//! everybody out. An answer is believed for a minute, as long as the same versions are asked about the same
//! input: only the time in it may be another one.

use std::{collections::HashMap, sync::PoisonError};

use serde_json::Value;

use crate::{
    auth::{Ceiling, Who},
    crypt::digest,
    domain::{ActorKind, Digest, PolicyKind, Role, StackId, Timestamp, limits},
    policy::Access,
    store::{
        Error, Find,
        record::{Policy, Stack},
    },
};

use super::{Evaluation, input};
use crate::actions::Actions;

/// What was said lately.
pub(crate) type Ceilings = HashMap<Asked, (Timestamp, Option<Role>)>;

/// Which policies of a stack were asked, and about what: the whole input, but for its time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    stack: StackId,
    actor: ActorKind,
    versions: Vec<u64>,
    input: Digest,
}

impl Actions {
    /// The same actor with what access policies leave of their roles.
    pub async fn narrowed(&self, who: Who) -> Result<Who, Error> {
        // What was said before must not hide what is to be asked about.
        let who = who.below(Vec::new());
        if who.admin || who.workload().is_some() {
            return Ok(who);
        }
        let view = self.store.read()?;
        let mut about = Vec::new();
        if view.policies_of_kind(PolicyKind::Access)?.is_empty() {
            return Ok(who);
        }
        for id in who.visible().unwrap_or_default() {
            let Some(stack) = view.stack(id)? else { continue };
            let policies = view.attached_policies(&stack, PolicyKind::Access)?;
            if !policies.is_empty() {
                about.push((stack, policies));
            }
        }
        drop(view);
        let mut ceilings = Vec::new();
        for (stack, policies) in about {
            let most = self.most_on(&who, &stack, &policies).await?;
            ceilings.push(Ceiling { stack: stack.id, most });
        }
        Ok(who.below(ceilings))
    }

    async fn most_on(&self, who: &Who, stack: &Stack, policies: &[Policy]) -> Result<Option<Role>, Error> {
        let now = self.now();
        let input = input::access(&self.store.read()?, who, stack, now)?;
        let asked = Asked {
            stack: stack.id,
            actor: who.actor.kind(),
            versions: policies.iter().map(|policy| policy.version).collect(),
            input: digest(timeless(input.clone()).to_string().as_bytes()),
        };
        if let Some((at, most)) = self.ceilings().get(&asked)
            && now - *at < limits::ACCESS_BELIEVED
        {
            return Ok(*most);
        }
        let evaluation = self.evaluate_policies(PolicyKind::Access, stack, None, || Ok(input)).await?;
        let most = strictest(&evaluation);
        let mut ceilings = self.ceilings();
        if ceilings.len() >= limits::ACCESS_REMEMBERED {
            ceilings.clear();
        }
        ceilings.insert(asked, (now, most));
        Ok(most)
    }

    fn ceilings(&self) -> std::sync::MutexGuard<'_, Ceilings> {
        self.access.ceilings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn timeless(mut input: Value) -> Value {
    input["request"]["timestamp_ns"].take();
    input
}

fn strictest(evaluation: &Evaluation) -> Option<Role> {
    let each =
        evaluation.policies.iter().map(|one| one.outcome.as_ref().ok().and_then(|decision| left(decision.access)));
    each.min().unwrap_or(Some(Role::Admin))
}

/// What one policy leaves.
const fn left(access: Access) -> Option<Role> {
    match access {
        Access { deny: true, .. } => None,
        Access { write: true, deny_write: false, .. } | Access { keeps: true, deny_write: false, .. } => {
            Some(Role::Admin)
        }
        Access { read: true, .. } | Access { write: true, .. } | Access { keeps: true, .. } => Some(Role::Reader),
        Access { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_leaves_what_it_grants_and_does_not_deny() {
        let none = Access::default();
        assert_eq!(left(none), None);
        assert_eq!(left(Access { read: true, ..none }), Some(Role::Reader));
        assert_eq!(left(Access { write: true, ..none }), Some(Role::Admin));
        assert_eq!(left(Access { write: true, deny_write: true, ..none }), Some(Role::Reader));
        assert_eq!(left(Access { write: true, read: true, deny: true, ..none }), None);
    }

    #[test]
    fn a_policy_that_grants_nothing_leaves_what_it_does_not_deny() {
        let silent = Access { keeps: true, ..Access::default() };
        assert_eq!(left(silent), Some(Role::Admin));
        assert_eq!(left(Access { deny_write: true, ..silent }), Some(Role::Reader));
        assert_eq!(left(Access { deny: true, ..silent }), None);
    }
}
