//! What policies said about a run.

use crate::{
    http::{
        pages::{show::Rev, visitor::Visitor},
        view::{
            policy::{ReceiptRow, outcome_badge},
            run::Receipts,
        },
    },
    queries::Run,
};

/// The number of the part: policies are asked more than once.
pub fn rev(run: &Run) -> u64 {
    let said = run.policies.iter().map(|one| (one.name.as_str(), one.decision.word(), one.messages.len()));
    Rev::default().with(said.collect::<Vec<_>>()).number()
}

pub fn view(visitor: &Visitor, run: &Run) -> Receipts {
    let row = |one: &crate::domain::PolicyReceipt| ReceiptRow {
        name: one.name.to_string(),
        kind: one.kind.word(),
        badge: outcome_badge(one.decision),
        messages: one.messages.clone(),
        href: visitor.who.admin.then(|| format!("/admin/policies/{}", one.name)),
    };
    Receipts { rev: rev(run), rows: run.policies.iter().map(row).collect() }
}
