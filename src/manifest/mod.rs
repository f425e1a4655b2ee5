//! `.airlock/config.yaml` and its relatives: declared tasks and runtime configuration.
//!
//! Owns the format of these files: reading, checking, and saying what is wrong. Pure: text in,
//! typed values out; files come through a closure. Must not know which guests, images, services or
//! binaries exist — that is checked where they are known ([`Manifest::check_services`]) — nor
//! which value wins when several places set one.
//!
//! Invariants: no input makes it panic, and none costs more than the bounds of
//! [`crate::domain::limits`] allow (`MANIFEST_…`); every mistake has a position inside its file;
//! all mistakes are reported that can be found in one reading; what has no effect is never accepted
//! in silence.
//!
//! # The files
//!
//! | file, in the source's root | read |
//! | --- | --- |
//! | `.airlock/config.yaml` or `.airlock/config.yml` | when it exists; both is a mistake |
//! | `.spacelift/config.yml`, `.upsun/config.yaml` | otherwise, each that exists; what both declare is a mistake |
//!
//! UTF-8, one YAML 1.2 document, at most 512 KiB, 20 000 keys and values, 32 levels. Anchors,
//! aliases and merge keys (`<<: *shared`) work; what an alias stands for counts each time. Keys are
//! text and stand once. Tags other than `!!str`, directives, and tabs as indentation are refused.
//! Where text is expected, it is what was written: `3.10`, `no`, `0777` need no quotes. Where a
//! number is expected, it is decimal digits without quotes; where a truth value is, `true` or
//! `false`. A list or map with nothing in it may be left empty.
//!
//! # At the top
//!
//! | key | holds |
//! | --- | --- |
//! | `version` | `1` or `2`, noted: the order of precedence here does not depend on it |
//! | `stack_defaults` | a runtime configuration below the settings of every stack of this source |
//! | `stacks` | slug → a runtime configuration above the settings of that stack |
//! | `tasks` | name → declared task; names are `a-z0-9-_`, at most 63, at most 200 tasks |
//! | `applications`, `services`, `routes` | Upsun's; accepted with a note, none is required |
//! | `module_version`, `test_defaults`, `tests` | Spacelift's, for modules; accepted with a note |
//!
//! # A runtime configuration
//!
//! Also what a trigger may send, by itself. What is absent is not set; an empty list is.
//!
//! | key | holds |
//! | --- | --- |
//! | `before_init`, `after_init`, `before_plan`, `after_plan`, `before_apply`, `after_apply`, `before_perform`, `after_perform`, `before_destroy`, `after_destroy`, `after_run` | lists of at most 50 shell commands of at most 32 KiB |
//! | `environment` | name → text, at most 500 |
//! | `project_root` | a path below the source's root |
//! | `runner_image` | the name of an image |
//! | `terraform_version` | one of the operator's listed binaries |
//! | `opentofu_version`, `terraform_workflow_tool`, `git_sparse_checkout_paths`, `terragrunt` | Spacelift's; accepted with a note |
//!
//! # A task
//!
//! ```yaml
//! tasks:
//!   report:
//!     type: wasi:python
//!     run: {command: "report.py --month 'last one'", timeout: 600}
//!     source: {root: /reports}
//!     airlock:
//!       fuel: 20000000000
//!       memory: 512MiB
//!       network: [api.example.org]
//!       headers: {api.example.org: {Authorization: {secret: API_TOKEN}}}
//! ```
//!
//! | key | holds |
//! | --- | --- |
//! | `type` (required) | `wasi:<guest>`, `wasi:<path in the source>.wasm`, `native`, `image:<name>`, or a runtime such as `nodejs:22` that the operator maps to an image |
//! | `run.command` (required) | for `sh -c`; for guests split into words ([`split_command`]) |
//! | `run.timeout` | 1 to 86 400 seconds, default 3 600 |
//! | `source.root` | a path below the source's root, default `/` |
//! | `hooks.build` | a shell script; `deploy` and `post_deploy` are noted |
//! | `relationships` | `name:` · `name: "service:endpoint"` · `name: {service, endpoint}`; never to a task |
//! | `mounts` | path → `{source: instance\|tmp\|storage\|service, source_path, service}`; `local` and `temporary` are read as `instance` and `tmp`; none inside another |
//! | `variables` | prefix → name → value; under `env`, text; elsewhere any value, numbers and truth values as such where nothing is lost; at most 500 |
//! | `authorizations` | list of `{type: task\|env, resource?, action: operate\|view}`; `resource` is a task of this source |
//! | `airlock` | below |
//!
//! `web`, `workers`, `crons`, `dependencies`, `stack` are mistakes that say why.
//!
//! # `airlock:` of a task
//!
//! Sizes are whole numbers with B, KB, MB, GB, TB or KiB, MiB, GiB, TiB ([`parse_size`]). What only
//! a guest can be held to is a mistake in a task of another type.
//!
//! | key | holds | guests only |
//! | --- | --- | --- |
//! | `fuel` | 1 to 10¹⁵ units | ● |
//! | `memory` | 1 MiB to 64 GiB for a guest, 16 MiB to 1 TiB otherwise | |
//! | `output` | 1 KiB to 16 GiB | |
//! | `files` | `{count: 0…1 000 000, bytes: 0…8GiB}` | ● |
//! | `network` | list of `host`, `host:port`, `*.domain`; lower case; addresses in their usual form | |
//! | `headers` | host of `network` → header → `{secret: NAME}` | ● |
//! | `workspace` | `none`, `read` (default), `write`; always `write` otherwise | ● |
//! | `env` | names of sensitive variables that the guest gets | ● |
//! | `stdin` | text, `{text}` or `{file: path in the source}` | |
//! | `clock`, `random` | `real` or `frozen`, `real` or `seeded`; frozen and seeded by default | ● |
//! | `artifacts` | whether `/output` is kept; default `true` | |
//! | `processes` | 8 to 65 536; noted for guests, which have one | |
//! | `cpu` | cores from 0.01 to 512, such as `0.5` | |
//! | `run_task` | `{hmac_secret: NAME}`; native ones get a fresh `/output` for `outcomes.json` | |

mod airlock;
pub mod declared;
mod error;
mod hosts;
mod links;
mod reader;
mod runtime;

mod task;
mod variables;
mod words;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{ServiceName, Slug, TaskName, limits};

use error::quoted;
use reader::{Place, Reader, Schema, near};

pub use crate::domain::{
    runtime::{HookPoint, RuntimeConfig},
    size::{SizeError, parse_size},
};
pub use declared::DeclaredTask;
pub use error::{ManifestError, Mistake, Note, Position};
pub use hosts::HostError;

pub use words::{SplitCommand, SplitError, split_command};

/// What the files of one source say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// What was accepted and has no effect, or not the expected one.
    pub notes: Vec<Note>,
    /// Below every stack's own settings.
    pub stack_defaults: RuntimeConfig,
    /// Above the stack's settings.
    pub stacks: BTreeMap<Slug, RuntimeConfig>,
    pub tasks: BTreeMap<TaskName, DeclaredTask>,
    /// The names under `services:` and `applications:`. Airlock starts none of them: they only
    /// explain a relationship to something that the operator did not register.
    pub declared_services: BTreeSet<String>,
}

/// Where the configuration stands in a source; [`FALLBACKS`] are read when neither exists.
pub const FILES: [&str; 2] = [".airlock/config.yaml", ".airlock/config.yml"];
pub const FALLBACKS: [&str; 2] = [".spacelift/config.yml", ".upsun/config.yaml"];

const TOP: Schema = Schema {
    of: "the configuration file",
    known: &["version", "stack_defaults", "stacks", "tasks", "applications", "services", "routes"],
    noted: &[
        ("module_version", "has no effect: there are no modules here"),
        ("test_defaults", "has no effect: there are no modules to test here"),
        ("tests", "has no effect: there are no modules to test here"),
    ],
    refused: MISPLACED,
};

/// What is often written one level too high.
const MISPLACED: &[(&str, &str)] = &[
    ("before_init", BELOW_STACKS),
    ("after_init", BELOW_STACKS),
    ("before_plan", BELOW_STACKS),
    ("after_plan", BELOW_STACKS),
    ("before_apply", BELOW_STACKS),
    ("after_apply", BELOW_STACKS),
    ("before_perform", BELOW_STACKS),
    ("after_perform", BELOW_STACKS),
    ("before_destroy", BELOW_STACKS),
    ("after_destroy", BELOW_STACKS),
    ("after_run", BELOW_STACKS),
    ("environment", BELOW_STACKS),
    ("project_root", BELOW_STACKS),
    ("runner_image", BELOW_STACKS),
    ("terraform_version", BELOW_STACKS),
];
const BELOW_STACKS: &str = "it belongs below `stack_defaults` or `stacks.<slug>`";

/// Finds and reads the configuration of a source; None when it has none.
///
/// `read` answers with a file's bytes by its path below the source's root; it may cut them off
/// after [`limits::MANIFEST_BYTES`] + 1.
pub fn load(mut read: impl FnMut(&str) -> Option<Vec<u8>>) -> Result<Option<Manifest>, ManifestError> {
    let mut found = present(&FILES, &mut read);
    if let [(first, _), (second, _)] = found.as_slice() {
        return Err(both(first, second));
    }
    if found.is_empty() {
        found = present(&FALLBACKS, &mut read);
    }
    let mut manifest = Manifest::default();
    let (mut mistakes, mut more) = (Vec::new(), 0);
    for (file, bytes) in &found {
        if let Err(error) = add(&mut manifest, file, bytes) {
            mistakes.extend(error.mistakes);
            more += error.more;
        }
    }
    match (found.is_empty(), mistakes.is_empty()) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(manifest)),
        (false, false) => Err(ManifestError::new(mistakes, more)),
    }
}

fn present(files: &[&'static str; 2], read: &mut impl FnMut(&str) -> Option<Vec<u8>>) -> Vec<(&'static str, Vec<u8>)> {
    files.iter().filter_map(|file| Some((*file, read(file)?))).collect()
}

fn both(first: &str, second: &str) -> ManifestError {
    let mistake = Mistake {
        file: second.to_owned(),
        at: Position::default(),
        path: String::new(),
        what: format!("{first} exists, too"),
        why: "a source has one configuration file".to_owned(),
        hint: Some("remove one of the two".to_owned()),
    };
    ManifestError::new(vec![mistake], 0)
}

/// Reads one file. `file` is how messages name it.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let mut manifest = Manifest::default();
    add(&mut manifest, file, bytes)?;
    Ok(manifest)
}

/// Reads a runtime configuration that was sent by itself. `file` is how messages name it.
pub fn parse_runtime_config(file: &str, bytes: &[u8]) -> Result<(RuntimeConfig, Vec<Note>), ManifestError> {
    let mut config = RuntimeConfig::default();
    let notes = document(file, bytes, |reader, root| {
        config = runtime::runtime(reader, root).unwrap_or_default();
    })?;
    Ok((config, notes))
}

fn add(manifest: &mut Manifest, file: &str, bytes: &[u8]) -> Result<(), ManifestError> {
    let notes = document(file, bytes, |reader, root| top(reader, root, manifest))?;
    manifest.notes.extend(notes);
    Ok(())
}

/// Decodes, builds the tree, and lets `read` go through it, unless it is empty.
fn document(file: &str, bytes: &[u8], read: impl FnOnce(&mut Reader, &Place)) -> Result<Vec<Note>, ManifestError> {
    let text = yaml::decode(bytes);
    let lines = match text {
        Ok(text) => yaml::Lines::of(text),
        Err(_) => yaml::Lines::of(&String::from_utf8_lossy(&bytes[..bytes.len().min(limits::MANIFEST_BYTES)])),
    };
    let mut reader = Reader::new(file, lines);
    match text {
        Ok(text) => {
            let (root, flaws) = yaml::document(text);
            for flaw in flaws {
                reader.flaw(flaw);
            }
            if let Some(root) = root {
                read(&mut reader, &Reader::root(root));
            }
        }
        Err(flaw) => reader.flaw(flaw),
    }
    match reader.finish() {
        (_, Some(error)) => Err(error),
        (notes, None) => Ok(notes),
    }
}

// ── The top of the file ─────────────────────────────────────────────────────────────────────
fn top(reader: &mut Reader, root: &Place, manifest: &mut Manifest) {
    let Some(keys) = reader.keys(root, &TOP) else { return };
    if let Some(place) = keys.get("version") {
        version(reader, place);
    }
    if let Some(place) = keys.get("stack_defaults") {
        stack_defaults(reader, place, manifest);
    }
    if let Some(place) = keys.get("stacks") {
        stacks(reader, place, manifest);
    }
    for (key, text) in [
        ("applications", "has no effect: Airlock runs no applications, only tasks"),
        ("services", "has no effect: the operator registers services"),
        ("routes", "has no effect: nothing in Airlock can be routed to"),
    ] {
        if let Some(place) = keys.get(key) {
            reader.note(place, text);
        }
    }
    if let Some(place) = keys.get("services") {
        let services = reader.entries(place, "a map of services by name").unwrap_or_default();
        manifest.declared_services.extend(services.iter().map(|service| service.key.to_string()));
    }
    if let Some(place) = keys.get("applications") {
        applications(reader, place, manifest);
    }
    if let Some(place) = keys.get("tasks") {
        task::tasks(reader, place, &mut manifest.tasks);
    }
}

fn version(reader: &mut Reader, place: &Place) {
    if reader.choice(place, &[("1", ()), ("2", ())]).is_some() {
        reader.note(place, "has no effect: a stack's entry in the file wins over its settings, stack_defaults do not");
    }
}

fn stack_defaults(reader: &mut Reader, place: &Place, manifest: &mut Manifest) {
    if manifest.stack_defaults != RuntimeConfig::default() {
        reader.wrong_key(place, "`stack_defaults` were given before", "another file of this source has them, too");
    } else if let Some(config) = runtime::runtime(reader, place) {
        manifest.stack_defaults = config;
    }
}

fn stacks(reader: &mut Reader, place: &Place, manifest: &mut Manifest) {
    for entry in reader.entries(place, "a map of stacks by slug").unwrap_or_default() {
        let Some(slug) = reader.key_name::<Slug>(&entry, "the slug of a stack") else { continue };
        if manifest.stacks.contains_key(&slug) {
            let what = format!("the stack {} was configured before", quoted(slug.as_str()));
            reader.wrong_key(&entry, what, "another file of this source does it, too");
        } else if let Some(config) = runtime::runtime(reader, &entry) {
            manifest.stacks.insert(slug, config);
        }
    }
}

/// Only what an application shares with tasks is looked at: its authorizations.
fn applications(reader: &mut Reader, place: &Place, manifest: &mut Manifest) {
    for entry in reader.entries(place, "a map of applications by name").unwrap_or_default() {
        manifest.declared_services.insert(entry.key.to_string());
        let Some(properties) = reader.entries(&entry, "a map of an application's properties") else { continue };
        if let Some(place) = properties.iter().find(|property| &*property.key == "authorizations")
            && task::authorizations(reader, place, None).is_some()
        {
            reader.note(place, "has no effect: programs outside Airlock use an API key");
        }
    }
}

// ── What only the installation knows ────────────────────────────────────────────────────────
impl Manifest {
    /// Whether every service that a task names was registered by the operator.
    pub fn check_services(&self, registered: &BTreeSet<ServiceName>) -> Result<(), ManifestError> {
        let relationships = self.tasks.values().flat_map(|task| {
            task.relationships.iter().map(move |(name, relationship)| {
                (format!("tasks.{}.relationships.{name}", task.name), &relationship.service, &relationship.origin)
            })
        });
        let mounts = self.tasks.values().flat_map(|task| {
            task.mounts.iter().filter_map(move |(path, mount)| match &mount.source {
                declared::MountSource::Service(service) => {
                    Some((format!("tasks.{}.mounts.{path}.service", task.name), service, &mount.origin))
                }
                declared::MountSource::Instance | declared::MountSource::Tmp | declared::MountSource::Storage => None,
            })
        });
        let mistakes: Vec<Mistake> = relationships
            .chain(mounts)
            .filter(|(_, service, _)| !registered.contains(*service))
            .map(|(path, service, origin)| self.unknown_service(path, service, origin, registered))
            .collect();
        if mistakes.is_empty() { Ok(()) } else { Err(ManifestError::new(mistakes, 0)) }
    }

    fn unknown_service(
        &self,
        path: String,
        service: &ServiceName,
        origin: &declared::Origin,
        registered: &BTreeSet<ServiceName>,
    ) -> Mistake {
        let known: Vec<&str> = registered.iter().map(ServiceName::as_str).collect();
        let why = if self.declared_services.contains(service.as_str()) {
            "Airlock does not start what this file declares: the operator registers services"
        } else {
            "the operator registers services, by name"
        };
        let hint = match near(service.as_str(), &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "none is registered".to_owned(),
            None => format!("registered are {}", known.iter().take(20).copied().collect::<Vec<_>>().join(", ")),
        };
        Mistake {
            file: origin.file.to_string(),
            at: origin.at,
            path,
            what: format!("the service {} is unknown", quoted(service.as_str())),
            why: why.to_owned(),
            hint: Some(hint),
        }
    }
}

/// Reads any bytes as a file and as a runtime configuration, and checks the promises about
/// positions: the entry for fuzzers.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = yaml::Lines::of(&text);
    let inside = |at: Position| assert!(lines.nearest(at) == at, "{at:?} is not in the file");
    for result in [
        parse("file", bytes).map(|manifest| manifest.notes),
        parse_runtime_config("file", bytes).map(|(_, notes)| notes),
    ] {
        match result {
            Ok(notes) => notes.iter().for_each(|note| inside(note.at)),
            Err(error) => {
                assert!((1..=limits::MANIFEST_MISTAKES).contains(&error.mistakes.len()));
                error.mistakes.iter().for_each(|mistake| inside(mistake.at));
            }
        }
    }
}
