//! Stacks: making, changing, deleting.

use ulid::Ulid;

use crate::{
    auth::Permit,
    domain::{
        FieldError, PolicyKind, Refused, Slug, StackId,
        stack::{ExecutorKind, Source, StackSettings, Vendor},
    },
    source::git::{self, Address},
    store::{Error, Find, Rows, Tx, record::Stack, tables as t},
};

use super::{
    Actions, Deed, Setup, approval, attachment, context, image, life, missing, once::Once, resources, ring, setting,
};

/// A stack that somebody asks for.
#[derive(Clone, Debug)]
pub struct NewStack {
    /// Derived from the name when not given.
    pub slug: Option<Slug>,
    pub settings: StackSettings,
}

impl Actions {
    pub async fn create_stack(&self, permit: &Permit, new: NewStack, once: Option<Once>) -> Result<Stack, Error> {
        let unnamed = || Refused::field("slug", "cannot be derived from this name; give one");
        let named = new.slug.or_else(|| Slug::derive(new.settings.name.as_str())).ok_or_else(unnamed);
        let slug = self.attempted(permit.who(), &Deed::new("stack.create", "installation"), named).await?;
        let id = StackId::new(Ulid::generate());
        let deed = Deed::new("stack.create", format_args!("stack:{slug}"));
        self.change(permit, deed, move |tx, moment| {
            check(&new.settings, &moment.setup)?;
            if let Some(once) = &once
                && let Some(created) = once.seen(tx, moment.now)?
            {
                let slug = created.parse().map_err(|_| missing(&created))?;
                let stack = tx.stack_by_slug(&slug)?.ok_or_else(|| missing(&created))?;
                return Ok((stack, Some("repeated".to_owned())));
            }
            if tx.number(t::SLUG_TO_STACK_ID, slug.as_str())?.is_some() {
                return Err(Refused::taken("slug", format!("`{slug}` is taken; choose another")).into());
            }
            check_references(tx, None, &new.settings)?;
            let stack = Stack {
                id,
                slug: slug.clone(),
                settings: new.settings.clone(),
                created_at: moment.now,
                lock: None,
                upload: None,
                runs: 0,
                latest_tracked: None,
                terraform_version: None,
                version: 1,
            };
            tx.put(t::STACK_ID_TO_STACK, id.number(), &stack)?;
            tx.set_number(t::SLUG_TO_STACK_ID, slug.as_str(), id.number())?;
            if let Some(once) = &once {
                once.remember(tx, slug.as_str(), moment.now)?;
            }
            ring(tx, moment);
            Ok((stack, None))
        })
        .await
    }

    /// Replaces the settings. `version` is what the form was filled from; none: whatever is there.
    pub async fn edit_stack(
        &self,
        permit: &Permit,
        id: StackId,
        settings: StackSettings,
        version: Option<u64>,
    ) -> Result<Stack, Error> {
        self.edit_stack_with(permit, id, move |stack| {
            if version.is_some_and(|version| version != stack.version) {
                let why = "somebody changed this stack meanwhile; look at their changes and make yours again";
                return Err(Refused::conflict(why));
            }
            Ok(settings.clone())
        })
        .await
    }

    /// Changes the settings by a function of what they are at that moment.
    pub async fn edit_stack_with(
        &self,
        permit: &Permit,
        id: StackId,
        mut edit: impl FnMut(&Stack) -> Result<StackSettings, Refused> + Send + 'static,
    ) -> Result<Stack, Error> {
        permit.covers(id)?;
        let setup = std::sync::Arc::clone(&self.setup);
        let deed = self.on_stack("stack.edit", id)?;
        self.change(permit, deed, move |tx, moment| {
            let mut stack = tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            let settings = edit(&stack)?;
            check(&settings, &setup)?;
            check_references(tx, Some(id), &settings)?;
            let changed = changed_fields(&stack.settings, &settings);
            let others = stack.settings.vendor != settings.vendor || stack.settings.executor != settings.executor;
            let other_hooks = stack.settings.hooks != settings.hooks;
            stack.settings = settings.clone();
            stack.version += 1;
            tx.put(t::STACK_ID_TO_STACK, id.number(), &stack)?;
            if others {
                approval::surroundings_changed(tx, moment, id, "the stack's settings were changed")?;
            }
            if other_hooks {
                approval::environment_changed(tx, moment, id, "the stack's hooks were changed")?;
            }
            // Other labels may attach other policies.
            approval::policies_changed(tx, moment, PolicyKind::Approval, Some(id))?;
            life::settle(tx, moment, id)?;
            life::schedule(tx, moment)?;
            ring(tx, moment);
            Ok((stack, Some(changed)))
        })
        .await
    }

    /// Deletes a stack. Its runs and audit entries stay; `confirm` must be its slug.
    pub async fn delete_stack(&self, permit: &Permit, id: StackId, confirm: &str) -> Result<(), Error> {
        permit.covers(id)?;
        let deed = self.on_stack("stack.delete", id)?;
        let confirm = confirm.to_owned();
        self.change(permit, deed, move |tx, moment| {
            let stack = tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            if confirm != stack.slug.as_str() {
                return Err(Refused::field("confirm", format!("type the stack's slug, `{}`", stack.slug)).into());
            }
            if stack.settings.protect_from_deletion {
                return Err(Refused::conflict("the stack is protected from deletion; switch that off first").into());
            }
            let active = tx.active_runs(id)?;
            if let Some(run) = active.first() {
                let why = format!("run #{} is {}; end it first ({} active)", run.number, run.state, active.len());
                return Err(Refused::conflict(why).into());
            }
            remove(tx, &stack)?;
            ring(tx, moment);
            Ok(((), None))
        })
        .await
    }

    /// A deed on a stack, named by its slug.
    pub(crate) fn on_stack(&self, verb: &'static str, id: StackId) -> Result<Deed, Error> {
        let stack = self.store.read()?.stack(id)?.ok_or_else(|| missing("the stack"))?;
        Ok(Deed::new(verb, format_args!("stack:{}", stack.slug)))
    }
}

fn remove(tx: &Tx<'_>, stack: &Stack) -> Result<(), Error> {
    let id = stack.id.number();
    for variable in tx.all(t::STACK_NAME_TO_VARIABLE, (id, "")..(id + 1, ""))? {
        tx.remove(t::STACK_NAME_TO_VARIABLE, (id, variable.name.as_str()))?;
    }
    for file in tx.all(t::STACK_PATH_TO_FILE, (id, "")..(id + 1, ""))? {
        tx.remove(t::STACK_PATH_TO_FILE, (id, file.path.as_str()))?;
    }
    for row in setting::all(tx, stack.id)? {
        tx.remove(t::STACK_NAME_TO_SETTING, (id, setting::key_of(row.level, &row.name).as_str()))?;
    }
    attachment::forget(tx, stack.id)?;
    for name in tx.policies_by_hand(stack.id)? {
        tx.mark(t::STACK_POLICY, (id, name.as_str()), false)?;
    }
    context::forget_stack(tx, stack.id)?;
    for row in resources::all(tx, stack.id)? {
        tx.remove(t::STACK_TASK_TO_RESOURCES, (id, row.task.as_str()))?;
    }
    tx.remove(t::STACK_TO_DECLARATION, id)?;
    tx.remove(t::STACK_TO_STATE_LOCK, id)?;
    tx.remove(t::STACK_ID_TO_STACK, id)?;
    tx.remove_number(t::SLUG_TO_STACK_ID, stack.slug.as_str())?;
    Ok(())
}

/// Every rule about settings that needs nothing but the installation's configuration.
fn check(settings: &StackSettings, setup: &Setup) -> Result<(), Refused> {
    let mut errors = settings.check();
    let mut wrong = |field: &str, error: String| errors.push(FieldError { field: field.to_owned(), error });
    if let Some(Source::Git { url, .. }) = &settings.source {
        let checked = Address::parse(url).and_then(|address| match address {
            Address::Local(path) => git::local_repository(&path, &setup.local_sources).map(drop),
            Address::Https(_) | Address::Ssh(_) => Ok(()),
        });
        if let Err(error) = checked {
            wrong("source.url", error.to_string());
        }
    }
    if settings.executor.kind == ExecutorKind::Unconfined && !setup.allow_unconfined {
        wrong("executor.kind", "the operator does not allow `unconfined` (`allow_unconfined`)".to_owned());
    }
    if settings.executor.kind == ExecutorKind::Unconfined && settings.executor.image != image::HOST {
        wrong("executor.image", "an `unconfined` executor has no root but the host's".to_owned());
    }
    if let Vendor::Terraform { binary: Some(binary), .. } | Vendor::OpenTofu { binary: Some(binary), .. } =
        &settings.vendor
        && binary.contains('/')
        && !setup.binaries.contains_key(binary)
    {
        let known = setup.binaries.keys().cloned().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        wrong(
            "vendor.binary",
            format!("a path must be listed by the operator under `binaries`, by name; listed: {known}"),
        );
    }
    if errors.is_empty() { Ok(()) } else { Err(Refused::fields(errors)) }
}

/// Rules about what the settings name.
fn check_references(tx: &Tx<'_>, id: Option<StackId>, settings: &StackSettings) -> Result<(), Error> {
    image::check_known(tx, "executor.image", &settings.executor.image)?;
    let Some(Source::Git { credential: Some(name), .. }) = &settings.source else { return Ok(()) };
    let Some(credential) = tx.get(t::NAME_TO_CREDENTIAL, name.as_str())? else {
        return Err(Refused::field("source.credential", format!("there is no credential `{name}`")).into());
    };
    let bound = id.is_some_and(|id| credential.stacks.contains(&id));
    if id.is_some() && !bound {
        let why = format!("the credential `{name}` is not bound to this stack; an admin can bind it");
        return Err(Refused::field("source.credential", why).into());
    }
    Ok(())
}

/// The names of the fields that differ, for the audit log.
fn changed_fields(before: &StackSettings, after: &StackSettings) -> String {
    let json = |settings: &StackSettings| serde_json::to_value(settings).unwrap_or_default();
    let (before, after) = (json(before), json(after));
    let names = after.as_object().into_iter().flatten();
    let changed: Vec<&str> =
        names.filter(|(name, value)| before.get(name.as_str()) != Some(value)).map(|(name, _)| name.as_str()).collect();
    if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") }
}
