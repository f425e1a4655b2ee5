//! The administration: users, API keys, contexts, credentials, services, guests, images, run tasks,
//! policies, webhooks.

pub mod contexts;
pub mod credentials;
pub mod guests;
pub mod images;
pub mod keys;
pub mod policies;
pub mod run_tasks;
pub mod services;
pub mod users;
pub mod webhooks;

use std::collections::BTreeMap;

use crate::{
    domain::{Refused, Role, StackId},
    http::{
        Problem, Web,
        view::{admin::RoleGrid, frame::Crumb, words},
    },
    queries::{RoleOnStack, StackFilter, StackRow},
};

use super::{sent::Sent, visitor::Visitor};

/// The way to a part of the administration.
fn crumbs(part: &str) -> Vec<Crumb> {
    vec![Crumb::link("Admin", "/admin/users"), Crumb::here(part)]
}

/// The way to something in a part of it.
fn crumbs_below(part: &str, path: &str, name: &str) -> Vec<Crumb> {
    vec![Crumb::link("Admin", "/admin/users"), Crumb::link(part, path), Crumb::here(name)]
}

/// Every stack, by name.
fn stacks(web: &Web, visitor: &Visitor) -> Result<Vec<StackRow>, Problem> {
    Ok(web.queries.stacks(&visitor.who, &StackFilter::default())?)
}

/// A menu for each stack.
fn grid(stacks: &[StackRow], roles: &[RoleOnStack]) -> RoleGrid {
    let role = |stack: StackId| roles.iter().filter(|it| it.stack == stack).map(|it| it.role).max();
    let row = |row: &StackRow| (row.stack.slug.to_string(), row.stack.settings.name.to_string(), role(row.stack.id));
    RoleGrid { rows: stacks.iter().map(row).collect() }
}

/// The roles that a form gives: `role.<slug>`. A stack that is gone by now is refused by name.
fn roles(stacks: &[StackRow], sent: &Sent) -> Result<Vec<RoleOnStack>, Refused> {
    let mut roles = Vec::new();
    for (name, value) in sent.pairs() {
        let Some(slug) = name.strip_prefix("role.").filter(|_| !value.is_empty()) else { continue };
        let stack = stacks.iter().find(|row| row.stack.slug.as_str() == slug);
        let stack = stack.ok_or_else(|| Refused::field(name, format!("there is no stack `{slug}`")))?;
        let role = Role::ALL.into_iter().find(|role| role.word() == value);
        let role = role.ok_or_else(|| Refused::field(name, format!("`{value}` is not a role")))?;
        roles.push(RoleOnStack { stack: stack.stack.id, role });
    }
    Ok(roles)
}

/// `reader on 3 stacks, writer on Shop`.
fn words_of(stacks: &[StackRow], roles: &[RoleOnStack]) -> String {
    let mut by_role: BTreeMap<Role, Vec<&str>> = BTreeMap::new();
    for it in roles {
        if let Some(row) = stacks.iter().find(|row| row.stack.id == it.stack) {
            by_role.entry(it.role).or_default().push(row.stack.settings.name.as_str());
        }
    }
    let words: Vec<String> = by_role
        .into_iter()
        .rev()
        .map(|(role, names)| match names.as_slice() {
            [one] => format!("{role} on {one}"),
            [one, other] => format!("{role} on {one} and {other}"),
            more => format!("{role} on {}", words::count(more.len() as u64, "stack")),
        })
        .collect();
    if words.is_empty() { "no role on a stack".to_owned() } else { words.join(", ") }
}
