//! Snapshots, and how the things of the product are found in any view.

use std::{ops::ControlFlow, sync::Arc};

use redb::{Key, ReadOnlyTable, ReadTransaction, TableDefinition, Value};

use super::{
    Fault, Rows, View,
    record::{Chain, Holder, Policy, Run, Session, Stack, User},
    rows::{Flow, Order},
    tables::{self as t, TokenHash},
};
use crate::domain::{PolicyKind, PolicyName, RunId, Slug, StackId, UserId};

/// What was committed at one moment. Keep it for one request, never across an await.
#[derive(Debug)]
pub struct Snapshot {
    transaction: ReadTransaction,
    /// Shows that somebody still reads this database.
    _reader: Arc<()>,
}

impl Snapshot {
    pub(super) const fn new(transaction: ReadTransaction, reader: Arc<()>) -> Self {
        Self { transaction, _reader: reader }
    }
}

impl View for Snapshot {
    type Opened<'t, K: Key + 'static, V: Value + 'static> = ReadOnlyTable<K, V>;

    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, Fault> {
        Ok(self.transaction.open_table(definition)?)
    }
}

/// Finding the things of the product.
pub trait Find: Rows {
    fn run(&self, id: RunId) -> Result<Option<Run>, Fault> {
        match self.number(t::RUN_ID_TO_SEQ, id.number())? {
            Some(seq) => self.get(t::SEQ_TO_RUN, seq),
            None => Ok(None),
        }
    }

    fn stack(&self, id: StackId) -> Result<Option<Stack>, Fault> {
        self.get(t::STACK_ID_TO_STACK, id.number())
    }

    fn stack_by_slug(&self, slug: &Slug) -> Result<Option<Stack>, Fault> {
        match self.number(t::SLUG_TO_STACK_ID, slug.as_str())? {
            Some(id) => self.get(t::STACK_ID_TO_STACK, id),
            None => Ok(None),
        }
    }

    fn user(&self, id: UserId) -> Result<Option<User>, Fault> {
        self.get(t::USER_ID_TO_USER, id.number())
    }

    /// Case does not matter in the names of people.
    fn user_by_name(&self, name: &str) -> Result<Option<User>, Fault> {
        match self.number(t::USER_NAME_TO_ID, name.to_lowercase().as_str())? {
            Some(id) => self.get(t::USER_ID_TO_USER, id),
            None => Ok(None),
        }
    }

    /// What the sessions of somebody are found by, those that are over included.
    fn tokens_of(&self, holder: Holder) -> Result<Vec<TokenHash>, Fault> {
        let mut tokens = Vec::new();
        let id = holder.number();
        self.walk_index(t::USER_SESSION, (id, [0; 32])..=(id, [255; 32]), Order::Up, |(_, token)| {
            tokens.push(token);
            Ok(Flow::Continue(()))
        })?;
        Ok(tokens)
    }

    /// The same with the sessions.
    fn sessions_of(&self, holder: Holder) -> Result<Vec<(TokenHash, Session)>, Fault> {
        let mut sessions = Vec::new();
        for token in self.tokens_of(holder)? {
            sessions.extend(self.get(t::HASH_TO_SESSION, token)?.map(|session| (token, session)));
        }
        Ok(sessions)
    }

    fn chain(&self, run: &Run) -> Result<Option<Chain>, Fault> {
        self.get(t::RUN_TO_CHAIN, run.seq)
    }

    /// The runs of a stack that have not ended, the oldest first.
    fn active_runs(&self, stack: StackId) -> Result<Vec<Run>, Fault> {
        let mut seqs = Vec::new();
        let id = stack.number();
        self.walk_index(t::ACTIVE_STACK_RUN, (id, 0)..=(id, u64::MAX), Order::Up, |(_, seq)| {
            seqs.push(seq);
            Ok(ControlFlow::Continue(()))
        })?;
        self.runs_of(&seqs)
    }

    /// Every run that has not ended, the oldest first.
    fn all_active_runs(&self) -> Result<Vec<Run>, Fault> {
        let mut seqs = Vec::new();
        self.walk_index(t::ACTIVE_STACK_RUN, (0, 0)..=(u128::MAX, u64::MAX), Order::Up, |(_, seq)| {
            seqs.push(seq);
            Ok(Flow::Continue(()))
        })?;
        seqs.sort_unstable();
        self.runs_of(&seqs)
    }

    /// The policies of a kind that are attached to a stack, by hand or by label, in the order of their
    /// names.
    fn attached_policies(&self, stack: &Stack, kind: PolicyKind) -> Result<Vec<Policy>, Fault> {
        let of_kind = self.policies_of_kind(kind)?;
        if of_kind.is_empty() {
            return Ok(of_kind);
        }
        let by_hand = self.policies_by_hand(stack.id)?;
        let attached =
            |policy: &Policy| by_hand.contains(&policy.name) || policy.attaches_itself(&stack.settings.labels);
        Ok(of_kind.into_iter().filter(attached).collect())
    }

    /// The policies of a kind, in the order of their names.
    fn policies_of_kind(&self, kind: PolicyKind) -> Result<Vec<Policy>, Fault> {
        let mut names = Vec::new();
        let kind = kind as u8;
        self.walk_index(t::KIND_POLICY, (kind, "")..=(kind, "\u{10ffff}"), Order::Up, |(_, name)| {
            names.push(name.to_owned());
            Ok(Flow::Continue(()))
        })?;
        let mut policies = Vec::with_capacity(names.len());
        for name in names {
            policies.extend(self.get(t::NAME_TO_POLICY, name.as_str())?);
        }
        Ok(policies)
    }

    /// The names of the policies that somebody attached to a stack.
    fn policies_by_hand(&self, stack: StackId) -> Result<Vec<PolicyName>, Fault> {
        let mut names = Vec::new();
        let id = stack.number();
        self.walk_index(t::STACK_POLICY, (id, "")..=(id, "\u{10ffff}"), Order::Up, |(_, name)| {
            names.extend(PolicyName::new(name));
            Ok(Flow::Continue(()))
        })?;
        Ok(names)
    }

    fn runs_of(&self, seqs: &[u64]) -> Result<Vec<Run>, Fault> {
        let mut runs = Vec::with_capacity(seqs.len());
        for seq in seqs {
            runs.extend(self.get(t::SEQ_TO_RUN, *seq)?);
        }
        Ok(runs)
    }
}

impl<V: Rows> Find for V {}
