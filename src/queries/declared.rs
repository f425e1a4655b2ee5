//! What sources declare, what runs of declared tasks were asked for, and what they are connected to.

use std::collections::BTreeMap;

use crate::{
    auth::Who,
    domain::{Slug, TaskName, Timestamp, run::SourceVersion},
    manifest::{self, DeclaredTask, Manifest, ManifestError},
    store::{
        Fault, Find as _, Rows,
        record::{Demand, Run, Service, Setting, Stack, TaskResources},
        tables as t,
    },
};

use super::{Queries, Result, not_found, sees};

/// What the present source of a stack declares, as far as it was read.
#[derive(Clone, Debug)]
pub struct Declared {
    pub stack: Stack,
    /// The version that was read, and when; none: no run has fetched the source yet.
    pub read: Option<(SourceVersion, Timestamp)>,
    pub manifest: std::result::Result<Manifest, ManifestError>,
    /// What the operator set in place of what the source asks for.
    pub resources: BTreeMap<TaskName, TaskResources>,
}

impl Declared {
    /// The tasks, by name, as the source declares them; none where the files cannot be understood.
    pub fn tasks(&self) -> impl Iterator<Item = &DeclaredTask> {
        self.manifest.iter().flat_map(|manifest| manifest.tasks.values())
    }

    /// The task with the bounds that its next run has.
    pub fn bounded(&self, task: &DeclaredTask) -> DeclaredTask {
        let mut task = task.clone();
        if let Some(row) = self.resources.get(&task.name) {
            task.set(&row.resources);
        }
        task
    }

    pub fn task(&self, name: &TaskName) -> Option<&DeclaredTask> {
        self.manifest.as_ref().ok()?.tasks.get(name)
    }
}

impl Queries {
    /// What a stack that the actor may see declares.
    pub fn declared(&self, who: &Who, slug: &Slug) -> Result<Declared> {
        let view = self.view()?;
        let stack = view.stack_by_slug(slug)?.filter(|stack| sees(who, stack.id));
        let stack = stack.ok_or_else(|| not_found(format_args!("the stack `{slug}`")))?;
        let id = stack.id.number();
        let rows = view.all(t::STACK_TASK_TO_RESOURCES, (id, "")..(id + 1, ""))?;
        let resources = rows.into_iter().map(|row| (row.task.clone(), row)).collect();
        let Some(row) = view.get(t::STACK_TO_DECLARATION, id)? else {
            return Ok(Declared { stack, read: None, manifest: Ok(Manifest::default()), resources });
        };
        let content = |path: &str| row.files.iter().find(|file| file.path == path).map(|file| file.content.clone());
        let manifest = manifest::load(content).map(Option::unwrap_or_default);
        Ok(Declared { stack, read: Some((row.source, row.read_at)), manifest, resources })
    }

    /// What a run of a declared task was asked for; none of other runs.
    pub fn demand(&self, run: &Run) -> Result<Option<Demand>> {
        Ok(self.view()?.get(t::RUN_TO_DEMAND, run.seq)?)
    }

    /// What a run's task declares, with the bounds that hold for the run; none until its source was read.
    pub(super) fn declared_by(&self, run: &Run) -> Result<Option<DeclaredTask>> {
        let Some(Demand { declared: Some(json), bounds, .. }) = self.demand(run)? else { return Ok(None) };
        let mut task: DeclaredTask = serde_json::from_str(&json)
            .map_err(|error| Fault::Record { table: "RUN_TO_DEMAND", why: error.to_string() })?;
        if let Some(bounds) = &bounds {
            task.set(bounds);
        }
        Ok(Some(task))
    }

    /// Variables that only declared tasks of a stack get.
    pub fn settings(&self, stack: &Stack) -> Result<Vec<Setting>> {
        let id = stack.id.number();
        Ok(self.view()?.all(t::STACK_NAME_TO_SETTING, (id, "")..(id + 1, ""))?)
    }

    /// Every service, by name. For admins.
    pub fn services(&self) -> Result<Vec<Service>> {
        Ok(self.view()?.all(t::NAME_TO_SERVICE, ""..="\u{10ffff}")?)
    }
}
