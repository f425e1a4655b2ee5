//! What a stack's environment is made of: which contexts it has, in which order, and which row of a
//! name wins. Whoever starts a run and whoever shows the stack read the same here.

use std::collections::BTreeMap;

use crate::domain::{Slug, StackId, runtime::Origin};

use super::{
    Fault, Rows,
    record::{Context, ContextAttachment, File, Stack, Variable},
    tables as t,
};

/// A context of a stack.
#[derive(Clone, Debug)]
pub struct Attached {
    pub context: Context,
    /// How it came to the stack.
    pub origin: Origin,
}

/// The row that wins, where it comes from, and the rows of the same name that it wins over.
#[derive(Clone, Debug)]
pub struct Layered<R> {
    pub row: R,
    pub origin: Origin,
    /// The highest first.
    pub overrides: Vec<Origin>,
}

/// Every context, by name.
pub fn contexts(view: &impl Rows) -> Result<Vec<Context>, Fault> {
    view.all(t::NAME_TO_CONTEXT, ""..=LAST)
}

/// Behind every name.
const LAST: &str = "\u{10ffff}";

/// The contexts that somebody attached to a stack, by name.
pub fn attachments(view: &impl Rows, stack: StackId) -> Result<Vec<ContextAttachment>, Fault> {
    view.all(t::STACK_CONTEXT_TO_ATTACHMENT, (stack.number(), "")..=(stack.number(), LAST))
}

/// The stacks that a context is attached to by somebody.
pub fn stacks_of(view: &impl Rows, context: &Slug) -> Result<Vec<StackId>, Fault> {
    let mut found = Vec::new();
    view.walk(t::STACK_CONTEXT_TO_ATTACHMENT, (0, "").., super::Order::Up, |(stack, name), _: ContextAttachment| {
        found.extend((name == context.as_str()).then(|| StackId::from_number(stack)));
        Ok(super::Flow::Continue(()))
    })?;
    Ok(found)
}

pub fn variables(view: &impl Rows, context: &Slug) -> Result<Vec<Variable>, Fault> {
    view.all(t::CONTEXT_NAME_TO_VARIABLE, (context.as_str(), "")..=(context.as_str(), LAST))
}

pub fn files(view: &impl Rows, context: &Slug) -> Result<Vec<File>, Fault> {
    view.all(t::CONTEXT_PATH_TO_FILE, (context.as_str(), "")..=(context.as_str(), LAST))
}

/// The contexts of a stack, the highest first: the attached ones by priority and name, then those
/// that attach themselves by label, by name.
pub fn contexts_of(view: &impl Rows, stack: &Stack) -> Result<Vec<Attached>, Fault> {
    let mut attachments = attachments(view, stack.id)?;
    attachments.sort_by(|one, other| (one.priority, &one.context).cmp(&(other.priority, &other.context)));
    let mut all = Vec::new();
    for ContextAttachment { context: name, priority, .. } in attachments {
        if let Some(context) = view.get(t::NAME_TO_CONTEXT, name.as_str())? {
            all.push(Attached { context, origin: Origin::Context { name, priority } });
        }
    }
    let attached: Vec<Slug> = all.iter().map(|one| one.context.name.clone()).collect();
    for context in contexts(view)? {
        if context.attaches_itself(&stack.settings.labels) && !attached.contains(&context.name) {
            let origin = Origin::AutomaticContext { name: context.name.clone() };
            all.push(Attached { context, origin });
        }
    }
    Ok(all)
}

/// The variables of a stack and its contexts, by name.
pub fn variables_of(view: &impl Rows, stack: &Stack, contexts: &[Attached]) -> Result<Vec<Layered<Variable>>, Fault> {
    let id = stack.id.number();
    let mut layers = vec![(Origin::Stack, view.all(t::STACK_NAME_TO_VARIABLE, (id, "")..(id + 1, ""))?)];
    for Attached { context, origin } in contexts {
        layers.push((origin.clone(), variables(view, &context.name)?));
    }
    Ok(laid(layers, |row| row.name.to_string()))
}

/// The mounted files of a stack and its contexts, by path.
pub fn files_of(view: &impl Rows, stack: &Stack, contexts: &[Attached]) -> Result<Vec<Layered<File>>, Fault> {
    let id = stack.id.number();
    let mut layers = vec![(Origin::Stack, view.all(t::STACK_PATH_TO_FILE, (id, "")..(id + 1, ""))?)];
    for Attached { context, origin } in contexts {
        layers.push((origin.clone(), files(view, &context.name)?));
    }
    Ok(laid(layers, |row| row.path.to_string()))
}

/// Each name once, from the first layer that has it.
fn laid<R>(layers: Vec<(Origin, Vec<R>)>, name: impl Fn(&R) -> String) -> Vec<Layered<R>> {
    let mut all: BTreeMap<String, Layered<R>> = BTreeMap::new();
    for (origin, rows) in layers {
        for row in rows {
            match all.get_mut(&name(&row)) {
                Some(higher) => higher.overrides.push(origin.clone()),
                None => {
                    let layered = Layered { origin: origin.clone(), overrides: Vec::new(), row };
                    all.insert(name(&layered.row), layered);
                }
            }
        }
    }
    all.into_values().collect()
}
