//! What a declared task may do, as its run shows it.

use crate::{
    domain::{
        authorization::{Authorization, AuthorizedAction, AuthorizedScope},
        guest::Caps,
        verdict::bytes,
    },
    http::view::{
        guest::{Given, caps},
        words,
    },
    queries::{
        DeclaredTask,
        declaration::{Airlock, ClockGrant, MountSource, RandomGrant, Stdin, WorkspaceGrant},
    },
};

/// Everything that its run was granted, out of the declaration and the bounds that hold.
pub fn may(task: &DeclaredTask) -> Vec<Given> {
    let airlock = &task.airlock;
    let mut may = vec![Given::code("Runs", task.run.command.text()), Given::code("Type", task.kind.to_string())];
    may.extend(airlock.stdin.as_ref().map(stdin));
    if task.kind.is_guest() {
        may.extend(surroundings(airlock));
    }
    may.extend(task.mounts.iter().map(|(path, mount)| {
        let source = match &mount.source {
            MountSource::Instance | MountSource::Tmp => "fresh".to_owned(),
            MountSource::Storage => "kept from run to run".to_owned(),
            MountSource::Service(service) => format!("of the service {service}"),
        };
        Given::code("Mount", format!("{path} ({source})"))
    }));
    may.extend(task.relationships.iter().map(|(name, to)| Given::code("Service", format!("{name} → {}", to.service))));
    may.extend(airlock.network.iter().map(|host| Given::code("Host", host.to_string())));
    may.extend(airlock.headers.iter().map(|bound| {
        Given::code("Header with a secret", format!("{} ({}: {})", bound.host, bound.header, bound.secret))
    }));
    may.extend(task.authorizations.iter().map(|one| Given::new("Token", authorized(one))));
    may.extend(airlock.env.iter().map(|name| Given::code("Variable", name.as_str())));
    may.extend(bounds(task));
    may
}

fn stdin(stdin: &Stdin) -> Given {
    match stdin {
        Stdin::Text(text) => Given::new("Standard input", format!("a text, {}", bytes(text.len() as u64))),
        Stdin::File(path) => Given::code("Standard input", path.as_str()),
    }
}

/// What a guest finds around it; native tasks have everything of their own jail.
fn surroundings(airlock: &Airlock) -> [Given; 3] {
    let workspace = match airlock.workspace {
        WorkspaceGrant::None => "none",
        WorkspaceGrant::Read => "read",
        WorkspaceGrant::Write => "write, to a copy",
    };
    let clock = match airlock.clock {
        ClockGrant::Real => "real",
        ClockGrant::Frozen => "frozen",
    };
    let random = match airlock.random {
        RandomGrant::Real => "real",
        RandomGrant::Seeded => "seeded",
    };
    [Given::new("Workspace", workspace), Given::new("Clock", clock), Given::new("Randomness", random)]
}

fn authorized(one: &Authorization) -> String {
    let action = match one.action {
        AuthorizedAction::Operate => "operates",
        AuthorizedAction::View => "views",
    };
    match &one.scope {
        AuthorizedScope::Environment => format!("{action} the environment"),
        AuthorizedScope::Task(None) => format!("{action} every task"),
        AuthorizedScope::Task(Some(name)) => format!("{action} the task {name}"),
    }
}

/// All of them are set: see `Demand::bounds`.
fn bounds(task: &DeclaredTask) -> Vec<Given> {
    let airlock = &task.airlock;
    let cpu = airlock.cpu_percent.map(|percent| Given::new("CPU", format!("{percent} % of a core")));
    if task.kind.is_guest() {
        return caps(task.caps(Caps::default())).into_iter().chain(cpu).collect();
    }
    let memory = airlock.memory_bytes.map(|most| Given::new("Memory", bytes(most)));
    let output = airlock.output_bytes.map(|most| Given::new("Output", bytes(most)));
    let processes = airlock.processes.map(|most| Given::new("Processes", words::number(most.into())));
    let wall = Given::new("Wall time", format!("{} s", words::number(task.run.timeout_seconds.into())));
    [Some(wall), memory, output, processes, cpu].into_iter().flatten().collect()
}
