//! Contexts, and what stacks get from them: every variable and file with where it comes from.

use crate::{
    auth::Who,
    domain::{
        EnvName, Slug, Timestamp,
        actor::ActorName,
        runtime::{FileConfig, Hook, HookPoint, Known, Layers, Origin},
        stack::Vendor,
    },
    manifest,
    store::{
        Fault, Find as _, Rows, Snapshot,
        layers::{self, Attached, Layered},
        record::{Context, File, Stack, Variable, VariableValue},
        tables as t,
    },
};

use super::{Queries, Result, not_found, sees};

/// A context with what is in it.
#[derive(Clone, Debug)]
pub struct ContextDetail {
    pub context: Context,
    pub variables: Vec<Variable>,
    pub files: Vec<File>,
    /// The stacks that have it: attached by somebody, or by label.
    pub stacks: Vec<(Stack, Origin)>,
}

/// A variable that a stack's runs get.
#[derive(Clone, Debug)]
pub struct Effective {
    pub name: EnvName,
    pub value: VariableValue,
    pub description: String,
    /// None: it comes out of the configuration file.
    pub updated: Option<(Timestamp, ActorName)>,
    pub origin: Origin,
    /// The highest first.
    pub overrides: Vec<Origin>,
}

/// What a stack's next run gets, as far as it is known before the source is fetched.
#[derive(Clone, Debug)]
pub struct Environment {
    pub contexts: Vec<Attached>,
    pub variables: Vec<Effective>,
    pub files: Vec<Layered<File>>,
    /// In the order in which they run; only points that have any.
    pub hooks: Vec<(HookPoint, Vec<Hook>)>,
}

impl Queries {
    /// Every context, by name. For admins.
    pub fn contexts(&self) -> Result<Vec<ContextDetail>> {
        let view = self.view()?;
        let stacks: Vec<Stack> = view.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)?;
        layers::contexts(&view)?.into_iter().map(|context| Ok(detail(&view, context, &stacks)?)).collect()
    }

    /// One context. For admins.
    pub fn context(&self, name: &Slug) -> Result<ContextDetail> {
        let view = self.view()?;
        let context = view.get(t::NAME_TO_CONTEXT, name.as_str())?;
        let context = context.ok_or_else(|| not_found(format_args!("the context `{name}`")))?;
        let stacks: Vec<Stack> = view.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)?;
        Ok(detail(&view, context, &stacks)?)
    }

    /// The names of all contexts, for whoever may attach them.
    pub fn context_names(&self) -> Result<Vec<Slug>> {
        Ok(layers::contexts(&self.view()?)?.into_iter().map(|context| context.name).collect())
    }

    /// The contexts of a stack, the highest first.
    pub fn contexts_of(&self, who: &Who, slug: &Slug) -> Result<Vec<Attached>> {
        let view = self.view()?;
        let stack = view.stack_by_slug(slug)?.filter(|stack| sees(who, stack.id));
        let stack = stack.ok_or_else(|| not_found(format_args!("the stack `{slug}`")))?;
        Ok(layers::contexts_of(&view, &stack)?)
    }

    /// Everything that a stack's runs get, with where it comes from. What the configuration file says
    /// is what it said when it was last read.
    pub fn environment(&self, who: &Who, slug: &Slug) -> Result<Environment> {
        let view = self.view()?;
        let stack = view.stack_by_slug(slug)?.filter(|stack| sees(who, stack.id));
        let stack = stack.ok_or_else(|| not_found(format_args!("the stack `{slug}`")))?;
        let contexts = layers::contexts_of(&view, &stack)?;
        let rows = layers::variables_of(&view, &stack, &contexts)?;
        let layers = layers_of(&view, &stack, &contexts, &rows)?;
        let hooks = HookPoint::ALL.into_iter().map(|point| (point, layers.hooks_at(point)));
        Ok(Environment {
            variables: effective(&layers, &rows),
            files: layers::files_of(&view, &stack, &contexts)?,
            hooks: hooks.filter(|(_, hooks)| !hooks.is_empty()).collect(),
            contexts,
        })
    }
}

fn detail(view: &Snapshot, context: Context, stacks: &[Stack]) -> std::result::Result<ContextDetail, Fault> {
    let mut with = Vec::new();
    for stack in stacks {
        let attached = view.get(t::STACK_CONTEXT_TO_ATTACHMENT, (stack.id.number(), context.name.as_str()))?;
        let origin = match attached {
            Some(row) => Origin::Context { name: row.context, priority: row.priority },
            None if context.attaches_itself(&stack.settings.labels) => {
                Origin::AutomaticContext { name: context.name.clone() }
            }
            None => continue,
        };
        with.push((stack.clone(), origin));
    }
    Ok(ContextDetail {
        variables: layers::variables(view, &context.name)?,
        files: layers::files(view, &context.name)?,
        stacks: with,
        context,
    })
}

fn layers_of(
    view: &Snapshot,
    stack: &Stack,
    contexts: &[Attached],
    rows: &[Layered<Variable>],
) -> std::result::Result<Layers, Fault> {
    let known = |layered: &Layered<Variable>| Known {
        origin: layered.origin.clone(),
        overrides: layered.overrides.clone(),
        hash: None,
    };
    let of_context = |attached: &Attached| crate::domain::runtime::ContextHooks {
        origin: attached.origin.clone(),
        hooks: attached.context.hooks.clone(),
    };
    let hookless = matches!(stack.settings.vendor, Vendor::Wasi { .. });
    Ok(Layers {
        file: Some(file_config(view, stack)?),
        hooks: stack.settings.hooks.clone(),
        contexts: if hookless { Vec::new() } else { contexts.iter().map(of_context).collect() },
        variables: rows.iter().map(|layered| (layered.row.name.clone(), known(layered))).collect(),
        ..Layers::default()
    })
}

/// What the file said when it was last read; a broken one says nothing.
fn file_config(view: &Snapshot, stack: &Stack) -> std::result::Result<FileConfig, Fault> {
    let Some(row) = view.get(t::STACK_TO_DECLARATION, stack.id.number())? else { return Ok(FileConfig::default()) };
    let content = |path: &str| row.files.iter().find(|file| file.path == path).map(|file| file.content.clone());
    let mut manifest = manifest::load(content).ok().flatten().unwrap_or_default();
    let entry = manifest.stacks.remove(&stack.slug).unwrap_or_default();
    Ok(FileConfig { entry, defaults: manifest.stack_defaults })
}

fn effective(layers: &Layers, rows: &[Layered<Variable>]) -> Vec<Effective> {
    let find = |name: &EnvName| rows.iter().find(|layered| layered.row.name == *name).map(|layered| &layered.row);
    let each = layers.environment().into_iter().filter_map(|(name, placed)| {
        let (value, description, updated) = match (placed.value, find(&name)) {
            (Some(text), _) => (VariableValue::Plain(text.to_owned()), String::new(), None),
            (None, Some(row)) => {
                (row.value.clone(), row.description.clone(), Some((row.updated_at, row.updated_by.clone())))
            }
            (None, None) => return None,
        };
        Some(Effective { name, value, description, updated, origin: placed.origin, overrides: placed.overrides })
    });
    each.collect()
}
