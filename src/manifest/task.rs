//! Reads `tasks:`: what runs, from where, and what it may ask for.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{GuestName, ImageName, RelativePath, TaskName, limits, stack::command_problem};

use super::{
    airlock,
    declared::{
        Authorization, AuthorizedAction, AuthorizedScope, DeclaredTask, Run, TaskCommand, TaskHooks, TaskSource,
        TaskType,
    },
    error::quoted,
    links,
    reader::{Keys, Place, Reader, Schema, near, relative},
    variables,
    words::split_command,
};

const TASK: Schema = Schema {
    of: "a task",
    known: &["type", "run", "source", "authorizations", "hooks", "relationships", "mounts", "variables", "airlock"],
    noted: &[],
    refused: &[
        ("web", "a task runs to completion and serves nothing: no route leads to it"),
        ("workers", "a task is one command that runs to completion"),
        ("crons", "a task runs when it is triggered; schedules are set on the stack"),
        ("dependencies", "install what the task needs in `hooks.build`"),
        ("command", "it is `run.command`"),
        ("timeout", "it is `run.timeout`"),
        ("stack", "a task has one `type`; install more in `hooks.build`, or use an image"),
    ],
};

const RUN: Schema = Schema { of: "`run`", known: &["command", "timeout"], noted: &[], refused: &[] };
const SOURCE: Schema = Schema { of: "`source`", known: &["root"], noted: &[], refused: &[] };
const HOOKS: Schema = Schema {
    of: "`hooks`",
    known: &["build"],
    noted: &[
        ("deploy", "has no effect: a task is not deployed, only `build` is run"),
        ("post_deploy", "has no effect: a task is not deployed, only `build` is run"),
    ],
    refused: &[],
};
const AUTHORIZATION: Schema =
    Schema { of: "an authorization", known: &["type", "resource", "action"], noted: &[], refused: &[] };

/// Reads all tasks of a file. `tasks` holds those of the file that was read before, if any.
pub(super) fn tasks(reader: &mut Reader, place: &Place, tasks: &mut BTreeMap<TaskName, DeclaredTask>) {
    let Some(entries) = reader.entries(place, "a map of tasks by name") else { return };
    if reader.at_most(place, tasks.len() + entries.len(), limits::TASKS_PER_SOURCE).is_none() {
        return;
    }
    let named: Vec<(TaskName, &Place)> =
        entries.iter().filter_map(|entry| Some((reader.key_name(entry, "the name of a task")?, entry))).collect();
    let names: BTreeSet<TaskName> = tasks.keys().chain(named.iter().map(|(name, _)| name)).cloned().collect();
    for (name, entry) in named {
        if tasks.contains_key(&name) {
            let what = format!("the task {} was declared before", quoted(name.as_str()));
            reader.wrong_key(entry, what, "another file of this source declares it, too");
        } else if let Some(task) = task(reader, entry, &name, &names) {
            tasks.insert(name, task);
        }
    }
}

fn task(reader: &mut Reader, place: &Place, name: &TaskName, names: &BTreeSet<TaskName>) -> Option<DeclaredTask> {
    let keys = reader.keys(place, &TASK)?;
    let type_place = keys.required(reader, "type", "it says what carries the task out, such as native or wasi:python");
    let kind = type_place.and_then(|place| task_type(reader, place));
    let origin = reader.origin(type_place.map_or(place.key_at, |place| place.node.at));
    let is_guest = kind.as_ref().is_some_and(TaskType::is_guest);
    let run = keys
        .required(reader, "run", "a task runs one command: `run: {command: …}`")
        .and_then(|place| run(reader, place, is_guest));
    let source = optional(&keys, "source", reader, source);
    let hooks = optional(&keys, "hooks", reader, hooks);
    let relationships =
        optional(&keys, "relationships", reader, |reader, place| links::relationships(reader, place, names, is_guest));
    let mounts = optional(&keys, "mounts", reader, links::mounts);
    let variables = optional(&keys, "variables", reader, variables::variables);
    let authorizations =
        optional(&keys, "authorizations", reader, |reader, place| authorizations(reader, place, Some(names)));
    // Which caps can hold depends on a type that was understood.
    let airlock = airlock::airlock(reader, keys.get("airlock"), kind.as_ref());
    Some(DeclaredTask {
        name: name.clone(),
        kind: kind?,
        run: run?,
        source: source.unwrap_or_else(|| TaskSource { root: whole_source() }),
        hooks: hooks.unwrap_or_default(),
        relationships: relationships.unwrap_or_default(),
        mounts: mounts.unwrap_or_default(),
        variables: variables.unwrap_or_default(),
        authorizations: authorizations.unwrap_or_default(),
        airlock,
        origin,
    })
}

/// What an optional key says. A mistake in it was recorded, so that a default does no harm.
fn optional<T>(
    keys: &Keys,
    key: &str,
    reader: &mut Reader,
    read: impl FnOnce(&mut Reader, &Place) -> Option<T>,
) -> Option<T> {
    keys.get(key).and_then(|place| read(reader, place))
}

fn whole_source() -> RelativePath {
    RelativePath::new("").expect("the empty path is the root")
}

fn task_type(reader: &mut Reader, place: &Place) -> Option<TaskType> {
    const RULE: &str = "a type is native, wasi:<guest>, wasi:<path>.wasm, image:<name> or a runtime such as nodejs:22";
    let text = reader.text(place, limits::MANIFEST_KEY_BYTES)?;
    let read = match text.split_once(':') {
        None if text == "native" => Ok(TaskType::Native),
        None => Err(RULE.to_owned()),
        Some(("wasi", guest)) => guest_type(guest),
        Some(("image", name)) => name.parse::<ImageName>().map(TaskType::Image).map_err(|error| error.to_string()),
        Some((name, version)) if near(name, &["native", "wasi", "image"]).is_none() && is_runtime(name, version) => {
            Ok(TaskType::Runtime { name: name.to_owned(), version: version.to_owned() })
        }
        Some(_) => Err(RULE.to_owned()),
    };
    read.map_err(|why| {
        let what = format!("{} is not a type of task", quoted(text));
        let word = text.split(':').next().unwrap_or_default();
        match near(word, &["native", "wasi", "image"]) {
            Some(near) if near != word => reader.wrong_but(place, what, &why, format!("did you mean `{near}`?")),
            Some(_) | None => reader.wrong(place, what, &why),
        }
    })
    .ok()
}

fn guest_type(guest: &str) -> Result<TaskType, String> {
    let ends_with = |end: &str| std::path::Path::new(guest).extension().is_some_and(|found| found == end);
    if ends_with("wat") || ends_with("cwasm") {
        return Err("text modules and precompiled ones are not run: build a .wasm file".to_owned());
    }
    if ends_with("wasm") {
        return relative(guest).map(TaskType::GuestFile);
    }
    if guest.contains('/') {
        return Err("a guest in the source is a file that ends in .wasm".to_owned());
    }
    guest.parse::<GuestName>().map(TaskType::Guest).map_err(|error| format!("the guest's name {error}"))
}

fn is_runtime(name: &str, version: &str) -> bool {
    let short = |text: &str| (1..=limits::IDENTIFIER_CHARS).contains(&text.len());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    short(name) && short(version) && name.chars().all(plain) && version.chars().all(|c| plain(c) || c == '.')
}

fn run(reader: &mut Reader, place: &Place, is_guest: bool) -> Option<Run> {
    let keys = reader.keys(place, &RUN)?;
    let command =
        keys.required(reader, "command", "it is what the task runs").and_then(|place| command(reader, place, is_guest));
    let timeout = match keys.get("timeout") {
        Some(place) => reader.whole(place, 1..=limits::TASK_WALL_MAX.as_secs(), "seconds"),
        None => Some(limits::TASK_WALL.as_secs()),
    };
    Some(Run { command: command?, timeout_seconds: timeout? as u32 })
}

fn command(reader: &mut Reader, place: &Place, is_guest: bool) -> Option<TaskCommand> {
    let text = reader.text(place, limits::COMMAND_BYTES)?.to_owned();
    if is_guest {
        return words(reader, place, text);
    }
    shell_text(reader, place, &text)?;
    Some(TaskCommand::Shell(text))
}

fn words(reader: &mut Reader, place: &Place, text: String) -> Option<TaskCommand> {
    match split_command(&text) {
        Ok(split) => {
            if !split.shell_like.is_empty() {
                let marks = split.shell_like.iter().map(|mark| format!("`{mark}`")).collect::<Vec<_>>().join(" ");
                reader.note(place, format!("no shell runs for a guest: {marks} is passed on as text"));
            }
            Some(TaskCommand::Words { text, words: split.words })
        }
        Err(error) => {
            reader.wrong(place, "the command cannot be split into words", &error.to_string());
            None
        }
    }
}

/// Checks what a shell is to run.
pub(super) fn shell_text(reader: &mut Reader, place: &Place, text: &str) -> Option<()> {
    let problem = if text.trim().is_empty() { Some("must not be blank".to_owned()) } else { command_problem(text) };
    match problem {
        None => Some(()),
        Some(why) => {
            reader.wrong(place, "this is not a command", &why);
            None
        }
    }
}

fn source(reader: &mut Reader, place: &Place) -> Option<TaskSource> {
    let keys = reader.keys(place, &SOURCE)?;
    let root = keys.get("root").map_or_else(|| Some(whole_source()), |place| reader.path(place));
    Some(TaskSource { root: root? })
}

fn hooks(reader: &mut Reader, place: &Place) -> Option<TaskHooks> {
    let keys = reader.keys(place, &HOOKS)?;
    let build = keys.get("build").and_then(|place| {
        let text = reader.text(place, limits::COMMAND_BYTES)?.to_owned();
        shell_text(reader, place, &text)?;
        Some(text)
    });
    Some(TaskHooks { build })
}

/// A list of authorizations. `names` are the tasks that one may name, where that is to be checked.
pub(super) fn authorizations(
    reader: &mut Reader,
    place: &Place,
    names: Option<&BTreeSet<TaskName>>,
) -> Option<Vec<Authorization>> {
    let items = reader.items(place, limits::LINKS_PER_TASK)?;
    Some(items.iter().filter_map(|item| authorization(reader, item, names)).collect())
}

fn authorization(reader: &mut Reader, place: &Place, names: Option<&BTreeSet<TaskName>>) -> Option<Authorization> {
    const WORDS: &[(&str, AuthorizedAction)] =
        &[("operate", AuthorizedAction::Operate), ("view", AuthorizedAction::View)];
    let keys = reader.keys(place, &AUTHORIZATION)?;
    let is_task = keys
        .required(reader, "type", "it is task or env")
        .and_then(|place| reader.choice(place, &[("task", true), ("env", false)]));
    let action = keys.required(reader, "action", "it is operate or view").and_then(|place| reader.choice(place, WORDS));
    let resource = match keys.get("resource") {
        None => None,
        Some(place) if is_task == Some(false) => {
            reader.wrong_key(place, "`resource` has no meaning with `type: env`", "it names a task");
            return None;
        }
        Some(place) => Some(task_of(reader, place, names)?),
    };
    let scope = if is_task? { AuthorizedScope::Task(resource) } else { AuthorizedScope::Environment };
    Some(Authorization { scope, action: action? })
}

fn task_of(reader: &mut Reader, place: &Place, names: Option<&BTreeSet<TaskName>>) -> Option<TaskName> {
    let name: TaskName = reader.name(place, "the name of a task")?;
    let Some(names) = names.filter(|names| !names.contains(&name)) else { return Some(name) };
    let known: Vec<&str> = names.iter().map(TaskName::as_str).collect();
    let what = format!("no task is called {}", quoted(name.as_str()));
    let why = "an authorization names one of the tasks that are declared here";
    match near(name.as_str(), &known) {
        Some(near) => reader.wrong_but(place, what, why, format!("did you mean `{near}`?")),
        None => reader.wrong(place, what, why),
    }
    None
}
