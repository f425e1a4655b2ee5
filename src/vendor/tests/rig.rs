//! A directory in which phases run without a jail.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command as Process, Stdio},
};

use tempfile::TempDir;
use ulid::Ulid;

use crate::{
    domain::{
        Kind, Phase, RelativePath, RunId, Slug, StackId, Verdict,
        stack::{NetworkMode, Vendor},
    },
    protocol::{Command, RunFacts, Shell, StandardInput, StateAccess, Variable},
    vendor::{Outcome, Places, StateEndpoint, Surroundings, environment, interpret, script},
};

pub struct Rig {
    pub dir: TempDir,
    pub places: Places,
    pub facts: RunFacts,
    pub variables: Vec<Variable>,
    /// Where the managed state is served, and its password.
    pub state: Option<(String, String)>,
    /// The program that takes the script.
    pub shell: &'static str,
}

pub struct Ran {
    pub outcome: Outcome,
    /// Standard output and error, in order.
    pub log: String,
}

pub fn facts(vendor: Vendor) -> RunFacts {
    RunFacts {
        id: RunId::new(Ulid(7)),
        number: 3,
        kind: Kind::Tracked,
        stack: StackId::new(Ulid(8)),
        slug: Slug::new("shop").unwrap(),
        url: "http://127.0.0.1:7070/runs/3".to_owned(),
        triggered_by: "ada".to_owned(),
        branch: Some("main".to_owned()),
        commit: None,
        project_root: RelativePath::new("").unwrap(),
        network: NetworkMode::Host,
        vendor,
        targets: Vec::new(),
        mask_well_known: false,
    }
}

pub fn custom(init: Option<&str>, plan: Option<&str>, apply: Option<&str>) -> Vendor {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Vendor::Custom { init: own(init), plan: own(plan), apply: own(apply), destroy: None }
}

pub fn shell(phase: Phase, command: Command) -> Shell {
    Shell {
        phase,
        before: Vec::new(),
        command,
        after: Vec::new(),
        stdin: StandardInput::Empty,
        wall_seconds: 60,
        binds: Vec::new(),
        state: StateAccess::None,
        skip: false,
    }
}

impl Rig {
    pub fn new(vendor: Vendor) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let below = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let places = Places {
            workspace: below("workspace"),
            run: below("run"),
            provider_mirror: below("mirror"),
            plugin_cache: below("cache"),
        };
        Self { places, dir, facts: facts(vendor), variables: Vec::new(), state: None, shell: "sh" }
    }

    pub fn path(&self, below_workspace: &str) -> std::path::PathBuf {
        Path::new(&self.places.workspace).join(below_workspace)
    }

    pub fn write(&self, below_workspace: &str, text: &str) {
        fs::write(self.path(below_workspace), text).unwrap();
    }

    /// Runs one phase as a runner would.
    pub fn run(&self, shell: &Shell) -> Ran {
        self.run_of(&self.facts, shell)
    }

    /// The same for a run that is not the usual one.
    pub fn run_of(&self, facts: &RunFacts, shell: &Shell) -> Ran {
        let script = script(shell, facts, &self.places);
        let report = self.dir.path().join("report");
        fs::write(&report, "").unwrap();
        let mut environment = environment(&Surroundings {
            facts,
            phase: shell.phase,
            places: &self.places,
            variables: &self.variables,
            carried: &BTreeMap::new(),
            state: self.state.as_ref().map(|(address, password)| StateEndpoint {
                address,
                user: "run",
                password,
                lock: true,
            }),
            cli_config: false,
            final_state: None,
        });
        environment.insert("HOME".to_owned(), self.dir.path().to_str().unwrap().to_owned());
        // Whoever starts the tests in the background has them ignore what a jail's init does not.
        let output = Process::new("/usr/bin/env")
            .args(["--default-signal=INT,TERM", "/bin/sh", "-c", r#"exec 2>&1 3>"$1"; shift; exec "$@""#, "_"])
            .arg(&report)
            .arg(self.shell)
            .args(&script.argv()[1..])
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .process_group(0)
            .output()
            .unwrap();
        let ended = match output.status.code() {
            Some(code) => Verdict::Exited { code },
            None => Verdict::Signalled { signal: 0 },
        };
        Ran {
            outcome: interpret(shell, &fs::read(report).unwrap(), ended),
            log: String::from_utf8(output.stdout).unwrap(),
        }
    }
}
