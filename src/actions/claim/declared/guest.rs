//! A declared task that is a guest: its `airlock:` block in the runner's words.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Told, inside_of, joined};
use crate::{
    actions::{
        claim::Reading,
        guest::code::{self, wanted},
    },
    domain::{
        EnvName, Phase, RelativePath,
        guest::{Caps, GuestClock, GuestRandom, WorkspaceGrant},
    },
    manifest::declared::{
        Airlock, ClockGrant, MountSource, RandomGrant, Stdin, TaskCommand, TaskType, WorkspaceGrant as Declared,
    },
    protocol::{Bind, Grants, GuestCode, GuestInput, GuestPhase, HeaderGrant, Variable},
    store::Error,
};

impl Reading<'_> {
    /// The phase of a task whose type is `wasi:…`; none for the others.
    pub(super) fn guest_of(&self, told: &Told, binds: &[Bind]) -> Result<Option<GuestPhase>, Error> {
        let data = &self.actions.setup.data;
        let (name, code, interpreter) = match &told.task.kind {
            TaskType::Guest(name) => {
                let found = wanted(&self.view, name, "type")?;
                (name.to_string(), code::code(data, &found)?, found.interpreter)
            }
            TaskType::GuestFile(path) => {
                let path = joined(&told.task.source.root, path);
                let name = path.as_str().rsplit('/').next().unwrap_or_default().trim_end_matches(".wasm").to_owned();
                (name, GuestCode::Source { path }, false)
            }
            TaskType::Native | TaskType::Image(_) | TaskType::Runtime { .. } => return Ok(None),
        };
        let usual = if interpreter { Caps::for_interpreters() } else { Caps::default() };
        Ok(Some(GuestPhase {
            phase: Phase::Performing,
            name,
            code,
            args: arguments(&told.task.run.command),
            plain_env: self.guest_facts(Phase::Performing),
            env: names(told, &self.variables_of(told)?),
            stdin: told.guest_input(),
            caps: caps(&told.task.airlock, u64::from(told.task.run.timeout_seconds), usual),
            grants: told.grants(binds)?,
            cache: Some(code::cache(data)),
            artifacts: told.task.airlock.artifacts,
            skip: false,
        }))
    }
}

impl Told {
    /// What the guest may reach.
    fn grants(&self, binds: &[Bind]) -> Result<Grants, Error> {
        let airlock = &self.task.airlock;
        Ok(Grants {
            workspace: match airlock.workspace {
                Declared::None => WorkspaceGrant::None,
                Declared::Read => WorkspaceGrant::Read,
                Declared::Write => WorkspaceGrant::Write,
            },
            mounts: binds.to_vec(),
            fresh: self.fresh(),
            network: self.hosts()?,
            clock: match airlock.clock {
                ClockGrant::Real => GuestClock::Real,
                ClockGrant::Frozen => GuestClock::Frozen,
            },
            random: match airlock.random {
                RandomGrant::Real => GuestRandom::Real,
                RandomGrant::Seeded => GuestRandom::Seeded,
            },
            headers: airlock
                .headers
                .iter()
                .map(|bound| HeaderGrant {
                    host: bound.host.to_string(),
                    header: bound.header.clone(),
                    secret: bound.secret.clone(),
                    plain: false,
                })
                .collect(),
        })
    }

    /// Its mounts that nothing is kept of. To a native task they are directories of its workspace, which is as
    /// fresh as they are.
    fn fresh(&self) -> Vec<PathBuf> {
        let fresh = self.task.mounts.iter().filter(|(_, mount)| match mount.source {
            MountSource::Instance | MountSource::Tmp => true,
            MountSource::Storage | MountSource::Service(_) => false,
        });
        fresh.map(|(path, _)| inside_of(&self.task, path)).collect()
    }

    fn guest_input(&self) -> GuestInput {
        match self.input.stdin.clone().map(Stdin::Text).or_else(|| self.task.airlock.stdin.clone()) {
            None => GuestInput::Empty,
            Some(Stdin::Text(text)) => GuestInput::Text { text },
            Some(Stdin::File(path)) => GuestInput::File { path: self.in_workspace(&path) },
        }
    }

    fn in_workspace(&self, path: &RelativePath) -> RelativePath {
        joined(&self.task.source.root, path)
    }

    /// The stack's variables that reach a guest's chain at all: those it gets, and those that are bound
    /// to its requests.
    pub(super) fn lets_in(&self, name: &str) -> bool {
        let airlock = &self.task.airlock;
        !self.task.kind.is_guest()
            || airlock.env.iter().any(|wanted| wanted.as_str() == name)
            || airlock.headers.iter().any(|bound| bound.secret.as_str() == name)
    }
}

/// Which of its chain's variables a guest gets: what the platform says, what the trigger and the
/// declaration say, and what it asks for by name.
fn names(told: &Told, variables: &[Variable]) -> Vec<EnvName> {
    let trigger = told.input.variables.iter().filter_map(|(name, _)| name.strip_prefix("env:"));
    let declared = told.task.variables.env.keys().map(EnvName::as_str);
    let said: BTreeSet<String> = trigger.chain(declared).map(str::to_ascii_uppercase).collect();
    let gets = |variable: &&Variable| {
        let name = variable.name.as_str();
        name.starts_with("PLATFORM_")
            || name.starts_with("AIRLOCK_")
            || told.task.airlock.env.contains(&variable.name)
            || (!variable.sensitive && said.contains(name))
    };
    variables.iter().filter(gets).map(|variable| variable.name.clone()).collect()
}

fn arguments(command: &TaskCommand) -> Vec<String> {
    match command {
        TaskCommand::Words { words, .. } => words.clone(),
        TaskCommand::Shell(text) => vec![text.clone()],
    }
}

fn caps(airlock: &Airlock, wall_seconds: u64, usual: Caps) -> Caps {
    Caps {
        fuel: airlock.fuel.unwrap_or(usual.fuel),
        memory_bytes: airlock.memory_bytes.unwrap_or(usual.memory_bytes),
        wall_seconds,
        output_bytes: airlock.output_bytes.unwrap_or(usual.output_bytes),
        files_bytes: airlock.files.bytes.unwrap_or(usual.files_bytes),
        files: airlock.files.count.unwrap_or(usual.files),
    }
}
