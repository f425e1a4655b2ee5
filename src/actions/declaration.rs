//! What sources declare: kept as the files' bytes, read anew each time, so that a newer release reads
//! an older source by its own rules.
//!
//! An upload's files are taken out of the archive when it is received. Those of a git source come
//! with every preparing phase, whatever the run is: until the first one nothing is known, and a task
//! that is asked for by name is looked for when its run has fetched the source.

use std::collections::BTreeSet;

use crate::{
    domain::{
        Refused, RefusedKind, ServiceName, StackId, TaskName, guest::Caps, resources::Resources, run::SourceVersion,
        stack::Source,
    },
    manifest::{self, DeclaredTask, Manifest, ManifestError, declared::TaskType},
    protocol::ShownFile,
    store::{
        Error, Fault, Find as _, Rows, Tx,
        record::{Declaration, DeclarationFile, Demand, Run, Stack},
        tables as t,
    },
};

use super::{Moment, guest::code};

/// The files that a source may be configured by.
pub(crate) fn files() -> impl Iterator<Item = &'static str> {
    manifest::FILES.into_iter().chain(manifest::FALLBACKS)
}

/// Reads what was kept; none when the source has no configuration.
pub fn read(files: &[DeclarationFile]) -> Result<Option<Manifest>, ManifestError> {
    manifest::load(|path| files.iter().find(|file| file.path == path).map(|file| file.content.clone()))
}

/// Whether this is the source that the stack's next runs get.
fn is_present(stack: &Stack, source: &SourceVersion) -> bool {
    match (source, &stack.settings.source) {
        (SourceVersion::Upload { digest }, Some(Source::Upload { .. })) => stack.upload.as_ref() == Some(digest),
        (SourceVersion::Git { branch, .. }, Some(Source::Git { branch: own, .. })) => branch == own,
        _ => false,
    }
}

/// Keeps the files of an upload.
pub(super) fn keep_upload(
    tx: &Tx<'_>,
    moment: &Moment,
    stack: &Stack,
    source: SourceVersion,
    files: &[(String, Vec<u8>)],
) -> Result<(), Fault> {
    let files =
        files.iter().map(|(path, content)| DeclarationFile { path: path.clone(), content: content.clone() }).collect();
    let row = Declaration { source, read_at: moment.now, run: None, files };
    tx.put(t::STACK_TO_DECLARATION, stack.id.number(), &row)
}

/// Keeps what a run has fetched, if it is what the stack's next runs get; and finds the task in it
/// that the run is about.
pub(super) fn take(tx: &Tx<'_>, moment: &Moment, run: &Run, shown: &[ShownFile]) -> Result<(), Error> {
    let files: Vec<DeclarationFile> = shown
        .iter()
        .map(|file| DeclarationFile { path: file.path.to_string(), content: file.content.clone() })
        .collect();
    if let Some(stack) = tx.stack(run.stack)?
        && is_present(&stack, &run.source)
    {
        let known = tx.get(t::STACK_TO_DECLARATION, run.stack.number())?;
        let is_news = known.is_none_or(|known| known.run.is_none_or(|by| by < run.seq));
        if is_news && run.retry_of.is_none() {
            let row = Declaration {
                source: run.source.clone(),
                read_at: moment.now,
                run: Some(run.seq),
                files: files.clone(),
            };
            tx.put(t::STACK_TO_DECLARATION, run.stack.number(), &row)?;
        }
    }
    if let Some(demand) = tx.get(t::RUN_TO_DEMAND, run.seq)? {
        let demand = resolved(tx, demand, &files)?;
        tx.put(t::RUN_TO_DEMAND, run.seq, &bounded(tx, run.stack, demand)?)?;
    }
    Ok(())
}

fn resolved(tx: &Tx<'_>, demand: Demand, files: &[DeclarationFile]) -> Result<Demand, Error> {
    let services = tx.all(t::NAME_TO_SERVICE, ""..="\u{10ffff}")?.into_iter().map(|service| service.name).collect();
    Ok(match find(files, &demand.task, &services) {
        Ok(task) => {
            let json = serde_json::to_string(&task).map_err(super::sealed_fault)?;
            Demand { declared: Some(json), authorizations: task.authorizations, fault: None, ..demand }
        }
        Err(why) => Demand { fault: Some(why), ..demand },
    })
}

/// With the bounds that the run has, whatever is changed later: the operator's, else the declaration's,
/// else the usual ones.
fn bounded(tx: &Tx<'_>, stack: StackId, demand: Demand) -> Result<Demand, Error> {
    let (Some(json), Some(stack)) = (&demand.declared, tx.stack(stack)?) else { return Ok(demand) };
    let mut task: DeclaredTask = serde_json::from_str(json).map_err(super::sealed_fault)?;
    if let Some(row) = tx.get(t::STACK_TASK_TO_RESOURCES, (stack.id.number(), task.name.as_str()))? {
        task.set(&row.resources);
    }
    let own = stack.settings.executor.limits;
    let guest = |interpreter| {
        Resources::of_guest(task.caps(Caps::usual(interpreter)), task.airlock.cpu_percent.or(own.cpu_percent))
    };
    let bounds = match &task.kind {
        TaskType::Guest(name) => guest(code::find(tx, name)?.is_some_and(|found| found.interpreter)),
        TaskType::GuestFile(_) => guest(false),
        TaskType::Native | TaskType::Image(_) | TaskType::Runtime { .. } => Resources::of_native(&task.limits(own)),
    };
    Ok(Demand { bounds: Some(bounds), ..demand })
}

/// One task of a source, with everything that it needs from outside there.
fn find(files: &[DeclarationFile], name: &TaskName, services: &BTreeSet<ServiceName>) -> Result<DeclaredTask, String> {
    let manifest = read(files).map_err(|error| error.to_string())?;
    let manifest = manifest.ok_or_else(|| {
        format!("the source declares no tasks: it has none of {}", self::files().collect::<Vec<_>>().join(", "))
    })?;
    let Some(task) = manifest.tasks.get(name) else { return Err(not_declared(&manifest, name)) };
    let only = Manifest { tasks: [(name.clone(), task.clone())].into(), ..manifest.clone() };
    only.check_services(services).map_err(|error| error.to_string())?;
    Ok(task.clone())
}

fn not_declared(manifest: &Manifest, name: &TaskName) -> String {
    let names: Vec<&str> = manifest.tasks.keys().take(20).map(TaskName::as_str).collect();
    match names.as_slice() {
        [] => format!("the source declares no task `{name}`, nor any other"),
        names => format!("the source declares no task `{name}`; it declares {}", names.join(", ")),
    }
}

/// Refuses a task that is known not to be there. Of a source that was not read yet nothing is known;
/// a branch may have moved on.
pub(super) fn check_known(tx: &Tx<'_>, stack: &Stack, source: &SourceVersion, task: &TaskName) -> Result<(), Error> {
    let Some(known) = tx.get(t::STACK_TO_DECLARATION, stack.id.number())? else { return Ok(()) };
    if !matches!(source, SourceVersion::Upload { .. }) || known.source != *source {
        return Ok(());
    }
    match read(&known.files) {
        Err(error) => Err(Refused::conflict(error.to_string()).into()),
        Ok(Some(manifest)) if manifest.tasks.contains_key(task) => Ok(()),
        Ok(manifest) => {
            let why = not_declared(&manifest.unwrap_or_default(), task);
            Err(Refused::new(RefusedKind::NotFound, why).into())
        }
    }
}
