//! Contexts: bundles of variables, mounted files and hooks, and which stacks have them.
//!
//! Admins make them; the admins of a stack attach them to it. Whoever may attach a context can have
//! its sensitive values used by that stack's runs, as with the stack's own.

use crate::{
    auth::Permit,
    crypt::Secret,
    domain::{EnvName, FieldError, Label, Refused, RelativePath, Slug, StackId, limits, stack::Hooks},
    store::{
        Error, Fault, Find, Rows, Tx, layers,
        record::{AUTOMATIC, Context, ContextAttachment, File, Variable},
        tables as t,
    },
};

use super::{
    Actions, Deed, Moment, NewVariable, approval,
    environment::{check_file, check_variable, hash_of_file, stored_value},
    missing,
    once::Once,
    vault,
};

/// A context that somebody makes.
#[derive(Debug)]
pub struct NewContext {
    pub name: Slug,
    pub text: ContextText,
    pub variables: Vec<NewVariable>,
    pub files: Vec<NewFile>,
}

/// What of a context is changed as a whole.
#[derive(Clone, Debug, Default)]
pub struct ContextText {
    pub description: String,
    pub labels: Vec<Label>,
    pub hooks: Hooks,
}

/// A file that somebody mounts.
#[derive(Clone, Debug)]
pub struct NewFile {
    pub path: RelativePath,
    pub content: Secret<Vec<u8>>,
    pub sensitive: bool,
}

impl Actions {
    pub async fn create_context(&self, permit: &Permit, new: NewContext, once: Option<Once>) -> Result<Context, Error> {
        let deed = on_context("context.create", &new.name);
        self.change(permit, deed, move |tx, moment| {
            check(&new.text)?;
            check_content(&new)?;
            if let Some(once) = &once
                && let Some(created) = once.seen(tx, moment.now)?
            {
                let row = tx.get(t::NAME_TO_CONTEXT, created.as_str())?.ok_or_else(|| missing(&created))?;
                return Ok((row, Some("repeated".to_owned())));
            }
            if tx.get(t::NAME_TO_CONTEXT, new.name.as_str())?.is_some() {
                return Err(Refused::taken("name", format!("`{}` is taken; choose another", new.name)).into());
            }
            if layers::contexts(tx)?.len() >= limits::CONTEXTS {
                return Err(Refused::conflict(format!("at most {} contexts are allowed", limits::CONTEXTS)).into());
            }
            let row = Context {
                name: new.name.clone(),
                description: new.text.description.clone(),
                labels: new.text.labels.clone(),
                hooks: new.text.hooks.clone(),
                created_at: moment.now,
                updated_at: moment.now,
                updated_by: moment.actor.clone(),
                version: 1,
            };
            tx.put(t::NAME_TO_CONTEXT, row.name.as_str(), &row)?;
            for variable in &new.variables {
                put_variable(tx, moment, &row.name, variable)?;
            }
            for file in &new.files {
                put_file(tx, moment, &row.name, file)?;
            }
            if let Some(once) = &once {
                once.remember(tx, row.name.as_str(), moment.now)?;
            }
            approval::context_changed(tx, moment, &row.name)?;
            Ok((row, None))
        })
        .await
    }

    /// Changes description, labels and hooks by a function of what they are at that moment.
    pub async fn edit_context(
        &self,
        permit: &Permit,
        name: Slug,
        mut edit: impl FnMut(&Context) -> Result<ContextText, Refused> + Send + 'static,
    ) -> Result<Context, Error> {
        let deed = on_context("context.edit", &name);
        self.change(permit, deed, move |tx, moment| {
            let old = context(tx, &name)?;
            let text = edit(&old)?;
            check(&text)?;
            let changed = changed(&old, &text);
            let row = Context {
                description: text.description,
                labels: text.labels,
                hooks: text.hooks,
                ..touched(old, moment)
            };
            // Other labels may attach it to other stacks.
            approval::context_changed(tx, moment, &name)?;
            tx.put(t::NAME_TO_CONTEXT, name.as_str(), &row)?;
            approval::context_changed(tx, moment, &name)?;
            Ok((row, Some(changed)))
        })
        .await
    }

    /// Deletes a context with everything in it. Refused while somebody has it attached.
    pub async fn delete_context(&self, permit: &Permit, name: Slug) -> Result<(), Error> {
        let deed = on_context("context.delete", &name);
        self.change(permit, deed, move |tx, moment| {
            context(tx, &name)?;
            let mut stacks = Vec::new();
            for id in layers::stacks_of(tx, &name)? {
                stacks.extend(tx.stack(id)?.map(|stack| stack.slug.to_string()));
            }
            if !stacks.is_empty() {
                let why = format!("it is attached to {}; remove it there first", stacks.join(", "));
                return Err(Refused::conflict(why).into());
            }
            approval::context_changed(tx, moment, &name)?;
            for row in layers::variables(tx, &name)? {
                tx.remove(t::CONTEXT_NAME_TO_VARIABLE, (name.as_str(), row.name.as_str()))?;
            }
            for row in layers::files(tx, &name)? {
                tx.remove(t::CONTEXT_PATH_TO_FILE, (name.as_str(), row.path.as_str()))?;
            }
            tx.remove(t::NAME_TO_CONTEXT, name.as_str())?;
            Ok(((), None))
        })
        .await
    }

    /// Sets a variable of a context; says whether it is new.
    pub async fn set_context_variable(&self, permit: &Permit, name: Slug, new: NewVariable) -> Result<bool, Error> {
        let deed = on_context("context.set", &name);
        self.change(permit, deed, move |tx, moment| {
            check_variable(&new)?;
            let row = context(tx, &name)?;
            let is_new = put_variable(tx, moment, &name, &new)?;
            tx.put(t::NAME_TO_CONTEXT, name.as_str(), &touched(row, moment))?;
            approval::context_changed(tx, moment, &name)?;
            Ok((is_new, Some(format!("{}{}", new.name, if new.sensitive { " (sensitive)" } else { "" }))))
        })
        .await
    }

    pub async fn delete_context_variable(&self, permit: &Permit, name: Slug, variable: EnvName) -> Result<(), Error> {
        let deed = on_context("context.unset", &name);
        self.change(permit, deed, move |tx, moment| {
            let row = context(tx, &name)?;
            if !tx.remove(t::CONTEXT_NAME_TO_VARIABLE, (name.as_str(), variable.as_str()))? {
                return Err(missing(format_args!("the variable {variable}")));
            }
            tx.put(t::NAME_TO_CONTEXT, name.as_str(), &touched(row, moment))?;
            approval::context_changed(tx, moment, &name)?;
            Ok(((), Some(variable.to_string())))
        })
        .await
    }

    /// Sets a mounted file of a context; says whether it is new.
    pub async fn set_context_file(&self, permit: &Permit, name: Slug, new: NewFile) -> Result<bool, Error> {
        let deed = on_context("context.set_file", &name);
        self.change(permit, deed, move |tx, moment| {
            check_file(&new.path, &new.content, new.sensitive)?;
            let row = context(tx, &name)?;
            let is_new = put_file(tx, moment, &name, &new)?;
            tx.put(t::NAME_TO_CONTEXT, name.as_str(), &touched(row, moment))?;
            approval::context_changed(tx, moment, &name)?;
            Ok((is_new, Some(format!("{}, {} bytes", new.path, new.content.expose().len()))))
        })
        .await
    }

    pub async fn delete_context_file(&self, permit: &Permit, name: Slug, path: RelativePath) -> Result<(), Error> {
        let deed = on_context("context.unset_file", &name);
        self.change(permit, deed, move |tx, moment| {
            let row = context(tx, &name)?;
            if !tx.remove(t::CONTEXT_PATH_TO_FILE, (name.as_str(), path.as_str()))? {
                return Err(missing(format_args!("the file {path}")));
            }
            tx.put(t::NAME_TO_CONTEXT, name.as_str(), &touched(row, moment))?;
            approval::context_changed(tx, moment, &name)?;
            Ok(((), Some(path.to_string())))
        })
        .await
    }

    /// Attaches a context to a stack, or changes its priority; says whether it is new there.
    pub async fn attach_context(
        &self,
        permit: &Permit,
        stack: StackId,
        name: Slug,
        priority: i32,
    ) -> Result<bool, Error> {
        permit.covers(stack)?;
        let deed = self.on_stack("context.attach", stack)?;
        self.change(permit, deed, move |tx, moment| {
            tx.stack(stack)?.ok_or_else(|| missing("the stack"))?;
            context(tx, &name)?;
            let key = (stack.number(), name.as_str());
            let old = tx.get(t::STACK_CONTEXT_TO_ATTACHMENT, key)?;
            if old.is_none() && layers::attachments(tx, stack)?.len() >= limits::CONTEXTS_PER_STACK {
                let why = format!("a stack has at most {} contexts", limits::CONTEXTS_PER_STACK);
                return Err(Refused::conflict(why).into());
            }
            let row = ContextAttachment {
                context: name.clone(),
                priority,
                attached_at: moment.now,
                attached_by: moment.actor.clone(),
            };
            tx.put(t::STACK_CONTEXT_TO_ATTACHMENT, key, &row)?;
            approval::environment_changed(tx, moment, stack, &format!("the context {name} was attached"))?;
            Ok((old.is_none(), Some(format!("{name}, priority {priority}"))))
        })
        .await
    }

    pub async fn detach_context(&self, permit: &Permit, stack: StackId, name: Slug) -> Result<(), Error> {
        permit.covers(stack)?;
        let deed = self.on_stack("context.detach", stack)?;
        self.change(permit, deed, move |tx, moment| {
            if tx.remove(t::STACK_CONTEXT_TO_ATTACHMENT, (stack.number(), name.as_str()))? {
                approval::environment_changed(tx, moment, stack, &format!("the context {name} was detached"))?;
                Ok(((), Some(name.to_string())))
            } else {
                Err(missing(format_args!("the context {name} on this stack")))
            }
        })
        .await
    }
}

fn on_context(verb: &'static str, name: &Slug) -> Deed {
    Deed::new(verb, format_args!("context:{name}"))
}

fn context(tx: &Tx<'_>, name: &Slug) -> Result<Context, Error> {
    tx.get(t::NAME_TO_CONTEXT, name.as_str())?.ok_or_else(|| missing(format_args!("the context {name}")))
}

fn touched(old: Context, moment: &Moment) -> Context {
    Context { updated_at: moment.now, updated_by: moment.actor.clone(), version: old.version + 1, ..old }
}

fn put_variable(tx: &Tx<'_>, moment: &Moment, context: &Slug, new: &NewVariable) -> Result<bool, Error> {
    let key = (context.as_str(), new.name.as_str());
    let is_new = tx.get(t::CONTEXT_NAME_TO_VARIABLE, key)?.is_none();
    if is_new && layers::variables(tx, context)?.len() >= limits::VARIABLES_PER_STACK {
        let why = format!("a context has at most {} variables", limits::VARIABLES_PER_STACK);
        return Err(Refused::conflict(why).into());
    }
    let keys = moment.keys.get();
    let (place, redaction) =
        (vault::context_variable(context, &new.name), vault::context_redaction_key(&keys, context));
    let row = Variable {
        name: new.name.clone(),
        value: stored_value(&keys, &place, &redaction, &new.value, new.sensitive),
        description: new.description.clone(),
        updated_at: moment.now,
        updated_by: moment.actor.clone(),
    };
    tx.put(t::CONTEXT_NAME_TO_VARIABLE, key, &row)?;
    Ok(is_new)
}

fn put_file(tx: &Tx<'_>, moment: &Moment, context: &Slug, new: &NewFile) -> Result<bool, Error> {
    let key = (context.as_str(), new.path.as_str());
    let is_new = tx.get(t::CONTEXT_PATH_TO_FILE, key)?.is_none();
    if is_new && layers::files(tx, context)?.len() >= limits::FILES_PER_STACK {
        return Err(Refused::conflict(format!("a context has at most {} files", limits::FILES_PER_STACK)).into());
    }
    let keys = moment.keys.get();
    let row = File {
        path: new.path.clone(),
        sensitive: new.sensitive,
        size: new.content.expose().len() as u64,
        sealed: vault::context_file(context, &new.path).seal(&keys, new.content.expose()),
        hash: hash_of_file(&vault::context_redaction_key(&keys, context), &new.content, new.sensitive),
        updated_at: moment.now,
        updated_by: moment.actor.clone(),
    };
    tx.put(t::CONTEXT_PATH_TO_FILE, key, &row)?;
    Ok(is_new)
}

/// Takes a stack's attachments away with it.
pub(super) fn forget_stack(tx: &Tx<'_>, stack: StackId) -> Result<(), Fault> {
    for row in layers::attachments(tx, stack)? {
        tx.remove(t::STACK_CONTEXT_TO_ATTACHMENT, (stack.number(), row.context.as_str()))?;
    }
    Ok(())
}

fn check(text: &ContextText) -> Result<(), Refused> {
    let mut errors = text.hooks.check();
    let mut wrong = |field: &str, error: String| errors.push(FieldError { field: field.to_owned(), error });
    if text.description.chars().count() > limits::DESCRIPTION_CHARS {
        wrong("description", format!("at most {} characters are allowed", limits::DESCRIPTION_CHARS));
    }
    if text.labels.len() > limits::LABELS {
        wrong("labels", format!("at most {} are allowed", limits::LABELS));
    }
    if text.labels.iter().any(|label| label.as_str() == AUTOMATIC) {
        wrong("labels", format!("`{AUTOMATIC}` needs the label of the stacks behind it, or `*`"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Refused::fields(errors)) }
}

fn check_content(new: &NewContext) -> Result<(), Refused> {
    let mut errors = Vec::new();
    for (n, variable) in new.variables.iter().enumerate() {
        if let Err(refused) = check_variable(variable) {
            errors.extend(refused.fields.into_iter().map(|found| at("variables", n, found)));
        }
    }
    for (n, file) in new.files.iter().enumerate() {
        if let Err(refused) = check_file(&file.path, &file.content, file.sensitive) {
            let whole = FieldError { field: "content".to_owned(), error: refused.detail.clone() };
            let found = if refused.fields.is_empty() { vec![whole] } else { refused.fields };
            errors.extend(found.into_iter().map(|found| at("files", n, found)));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Refused::fields(errors)) }
}

fn at(list: &str, n: usize, found: FieldError) -> FieldError {
    FieldError { field: format!("{list}[{n}].{}", found.field), ..found }
}

/// What differs, for the audit log.
fn changed(old: &Context, new: &ContextText) -> String {
    let parts = [
        ("description", old.description != new.description),
        ("labels", old.labels != new.labels),
        ("hooks", old.hooks != new.hooks),
    ];
    let names: Vec<&str> = parts.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
