//! `airlock guest run FILE`: the flags as a chain with one guest.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{
    show,
    trial::{Asked, Trial},
};
use crate::{
    cli::{
        Outcome,
        args::{Clock, GuestCaps, GuestGrants, GuestRun, Random},
        failure::{Done, Failure},
        host, offline, output,
    },
    config::{Config, Flags},
    crypt::{Secret, digest},
    domain::{
        EnvName, Phase, limits,
        network::{AllowList, Portless},
        verdict::bytes,
    },
    guest::Form,
    protocol::{
        Caps, Grants, GuestClock, GuestCode, GuestPhase, GuestRandom, HeaderGrant, StandardInput, Variable,
        WorkspaceGrant,
    },
};

pub fn run(args: &GuestRun) -> Done {
    let code = super::code(&args.file)?;
    Form::of(&code)
        .map_err(|why| Failure::refused(format_args!("{} cannot be a guest: {why}", args.file.display())))?;
    let config = Config::load(&Flags::default()).map_err(Failure::usage)?;
    let operator = AllowList::parse(&config.outbound_allow, Portless::Any)
        .map_err(|error| Failure::usage(format_args!("outbound_allow: {error}")))?;
    let mut trial = Trial::make(&config)?;
    let report = host::look(&config, trial.dir());
    if !report.default_isolation_works {
        return Err(Failure::refused("this host cannot make jails, and guests run nowhere else")
            .next("`airlock check` says what is missing"));
    }
    trial.use_cgroup(report.cgroup);
    let path = trial.put("guest.wasm", &code)?;
    if let Some(workspace) = &args.grants.workspace {
        trial.copy_workspace(workspace)?;
    }
    let name = args.file.file_stem().map_or_else(|| "guest".to_owned(), |name| name.to_string_lossy().into_owned());
    let phase = GuestPhase {
        phase: Phase::Performing,
        name,
        code: GuestCode::Registered { path, digest: digest(&code) },
        args: args.args.clone(),
        plain_env: args.env.clone(),
        env: args.env_secrets.clone(),
        stdin: args.stdin.as_deref().map_or(Ok(StandardInput::Empty), stdin)?,
        caps: caps(&args.caps),
        grants: grants(&args.grants, &operator),
        cache: None,
        artifacts: true,
        skip: false,
    };
    let asked = Asked { phase, variables: secrets(args)? };
    let ended = offline::block_on(trial.run(asked, !args.shown.json))?;
    if let Some(dir) = &args.save {
        ended.save(dir)?;
    }
    if args.shown.json {
        output::json(&show::as_json(&ended))?;
    } else {
        output::note(&show::as_text(&ended, args.save.as_deref()));
    }
    Ok(if ended.verdict.is_success() { Outcome::Done } else { Outcome::Failed })
}

fn caps(args: &GuestCaps) -> Caps {
    let usual = Caps::usual(args.interpreter);
    Caps {
        fuel: args.fuel.unwrap_or(usual.fuel),
        memory_bytes: args.memory,
        wall_seconds: args.time,
        output_bytes: args.output,
        files_bytes: args.files_size,
        files: args.files,
    }
}

fn grants(args: &GuestGrants, operator: &AllowList) -> Grants {
    let header = |header: &crate::cli::args::Header| {
        HeaderGrant::new(header.host.clone(), header.name.clone(), header.secret.clone(), operator)
    };
    Grants {
        workspace: match (&args.workspace, args.write) {
            (None, _) => WorkspaceGrant::None,
            (Some(_), false) => WorkspaceGrant::Read,
            (Some(_), true) => WorkspaceGrant::Write,
        },
        mounts: Vec::new(),
        fresh: Vec::new(),
        network: args.network.clone(),
        headers: args.headers.iter().map(header).collect(),
        clock: match args.clock {
            Clock::Frozen => GuestClock::Frozen,
            Clock::Real => GuestClock::Real,
        },
        random: match args.random {
            Random::Seeded => GuestRandom::Seeded,
            Random::Real => GuestRandom::Real,
        },
    }
}

/// All that is named as a secret anywhere, out of this command's environment: never out of its
/// arguments, which every process of the host can read.
fn secrets(args: &GuestRun) -> Result<Vec<Variable>, Failure> {
    let bound = args.grants.headers.iter().map(|header| &header.secret);
    let mut names: Vec<&EnvName> = args.secrets.iter().chain(&args.env_secrets).chain(bound).collect();
    names.sort();
    names.dedup();
    let variable = |name: &EnvName| {
        let value = env::var(name.as_str()).map_err(|_| {
            Failure::usage(format_args!("the secret {name} is not in this command's environment"))
                .next(format_args!("set it, then try again: `export {name}`"))
        })?;
        Ok(Variable { name: name.clone(), value: Secret::new(value), sensitive: true })
    };
    names.into_iter().map(variable).collect()
}

fn stdin(path: &Path) -> Result<StandardInput, Failure> {
    let fault = |error: io::Error| Failure::file("read", path, &error);
    let from: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(fault)?) };
    let mut text = String::new();
    from.take(limits::GUEST_INPUT_BYTES as u64 + 1).read_to_string(&mut text).map_err(fault)?;
    if text.len() > limits::GUEST_INPUT_BYTES {
        let most = bytes(limits::GUEST_INPUT_BYTES as u64);
        return Err(Failure::usage(format_args!("{}: at most {most} of text can be its input", path.display()))
            .next("put a larger file into the workspace"));
    }
    Ok(StandardInput::Text { text })
}
