//! The second chain of a declared task: its build hook and its command, with what it is connected to.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use crate::{
    crypt::Secret,
    domain::{
        EnvName, Phase, Refused, RelativePath, ServiceName, limits,
        network::Host,
        stack::{Limits, NetworkMode, Vendor},
    },
    manifest::{
        DeclaredTask,
        declared::{MountSource, Stdin, TaskType},
    },
    protocol::{
        Bind, Build, Command, Demand, Relay, Root, RunFacts, Shell, StandardInput, StateAccess, Step, Workload, inside,
    },
    store::{
        Error, Rows,
        record::{Service, Setting, VariableValue},
        tables as t,
    },
};

use super::Reading;
use crate::actions::{
    call,
    declared::{self, Input},
    entropy, image, service, setting, vault,
};

mod guest;
mod variables;

pub(super) use variables::{Connected, Laid};

/// Ports of the jail's loopback that are taken.
const TAKEN: [u16; 3] = [8_200, 8_201, 8_202];
/// Where ports for services begin that cannot have their own.
const FIRST_PORT: u16 = 20_001;

/// Everything about a declared task that its second chain is made of.
pub(super) struct Told {
    /// What the source says, without what the operator set.
    pub declared: String,
    pub task: DeclaredTask,
    pub input: Input,
    /// The relationships, by their name in the task.
    pub connected: BTreeMap<String, Connected>,
}

impl Reading<'_> {
    /// What the source says about the run's task.
    pub(super) fn told(&self) -> Result<Told, Error> {
        let demand = declared::demand_of(&self.view, &self.run)?;
        let json = demand.declared.as_deref().unwrap_or_default();
        let mut task: DeclaredTask = serde_json::from_str(json).map_err(crate::actions::sealed_fault)?;
        if let Some(bounds) = &demand.bounds {
            task.set(bounds);
        }
        let input = declared::input_of(&self.keys, self.run.id, &demand)?;
        let connected = self.connected(&task)?;
        Ok(Told { declared: json.to_owned(), task, input, connected })
    }

    /// What the task's jail has as its root: what its type names, else what the stack's other phases
    /// have.
    pub(super) fn root_of(&self, told: &Told) -> Result<Root, Error> {
        image::root_of(&self.view, &self.actions.setup.data, &self.image_of(told)?)
    }

    fn image_of(&self, told: &Told) -> Result<String, Error> {
        match &told.task.kind {
            TaskType::Native => Ok(self.stack.settings.executor.image.clone()),
            // A guest sees nothing of it; its build hook is a stranger to every image.
            TaskType::Guest(_) | TaskType::GuestFile(_) => Ok(image::HOST.to_owned()),
            TaskType::Image(name) => Ok(name.to_string()),
            TaskType::Runtime { name, version } => {
                let runtime = format!("{name}:{version}");
                let images = &self.actions.setup.runtime_images;
                let mapped = images.get(&runtime).or_else(|| images.get(name));
                mapped.cloned().ok_or_else(|| {
                    Refused::conflict(format!(
                        "no image stands for `{runtime}`; the operator says which one does in `runtime_images`"
                    ))
                    .into()
                })
            }
        }
    }

    /// The services behind the relationships, each with where the task finds it.
    fn connected(&self, task: &DeclaredTask) -> Result<BTreeMap<String, Connected>, Error> {
        let mut ports: BTreeSet<u16> = TAKEN.into();
        let mut connected = BTreeMap::new();
        for (name, relationship) in &task.relationships {
            let service = self.service(&relationship.service)?;
            let password = match &service.password {
                Some(sealed) => Some(vault::service(&service.name).open_text(&self.keys, sealed)?),
                None => None,
            };
            // A guest has a way out of its own, and no loopback that anybody listens on.
            let relays = !task.kind.is_guest() && relayed(&service);
            let relay = relays.then(|| free_port(&mut ports, service.port));
            let endpoint = relationship.endpoint.clone().unwrap_or_else(|| service.scheme.clone());
            connected.insert(name.clone(), Connected { service, password, relay, endpoint });
        }
        Ok(connected)
    }

    fn service(&self, name: &ServiceName) -> Result<Service, Error> {
        let found = self.view.get(t::NAME_TO_SERVICE, name.as_str())?;
        found.ok_or_else(|| Refused::conflict(format!("the service `{name}` is not registered any more")).into())
    }

    /// The facts of a run that has nothing of the stack's vendor.
    pub(super) fn facts_of(&self, told: &Told) -> Result<RunFacts, Error> {
        Ok(RunFacts {
            project_root: told.task.source.root.clone(),
            network: NetworkMode::Allow(told.hosts()?),
            ..self.facts(no_vendor())
        })
    }

    /// The token of a call that the run answers: it is in its standard input, and nobody's to print.
    pub(super) fn masks_of_call(&self, told: &Told) -> Result<Vec<Secret<String>>, Error> {
        let Some(seq) = told.input.call else { return Ok(Vec::new()) };
        Ok(call::token_of(&self.view, &self.keys, seq)?.into_iter().collect())
    }

    /// The plan of a call that the run answers.
    pub(super) fn plan_of_call(&self, told: &Told) -> Result<Option<Secret<Vec<u8>>>, Error> {
        match told.input.call.filter(|_| told.task.kind.is_guest()) {
            Some(seq) => call::plan_of(&self.view, &self.keys, seq),
            None => Ok(None),
        }
    }

    /// The stack's limits, with what the task says itself.
    pub(super) fn limits_of(&self, told: &Told) -> Limits {
        let own = self.stack.settings.executor.limits.clone();
        if told.task.kind.is_guest() {
            // A guest has caps; the rest holds for its build hook.
            return Limits { cpu_percent: told.task.airlock.cpu_percent.or(own.cpu_percent), ..own };
        }
        told.task.limits(own)
    }

    /// What it does, with the variables of its command and those of its build hook.
    pub(super) fn steps_of(&self, told: &Told, run: &Laid, build: &Laid) -> Result<Vec<Step>, Error> {
        let binds = self.mounts(&told.task)?;
        let shell = |phase, command: &str, wall_seconds, binds: &[Bind]| Shell {
            phase,
            before: Vec::new(),
            command: Command::Perform { command: command.to_owned() },
            after: Vec::new(),
            stdin: StandardInput::Empty,
            wall_seconds,
            binds: binds.to_vec(),
            state: StateAccess::None,
            skip: false,
        };
        // Its result is for many runs, so that nothing of a mount can be a part of it.
        let hook = told.task.hooks.build.as_deref().map(|hook| {
            let shell = shell(Phase::Preparing, hook, limits::PHASE_WALL.as_secs(), &[]);
            Step::Build(Build { shell, slug: self.slug_of(told, &build.variables) })
        });
        let perform = match self.guest_of(told, run, &binds)? {
            Some(guest) => Step::Guest(guest),
            None => {
                let wall_seconds = u64::from(told.task.run.timeout_seconds);
                let shell = shell(Phase::Performing, told.task.run.command.text(), wall_seconds, &binds);
                Step::Shell(Shell { stdin: told.stdin(), ..shell })
            }
        };
        Ok(hook.into_iter().chain([perform]).collect())
    }

    /// What persists from run to run, where the task sees it. Only the directories that no run can
    /// change are made here: what is below them is the runs', and is found and made in their jails.
    fn mounts(&self, task: &DeclaredTask) -> Result<Vec<Bind>, Error> {
        let mut binds = Vec::new();
        let below = self.actions.stored_for_tasks().join(self.stack.id.to_string());
        for (path, mount) in &task.mounts {
            let owner = match &mount.source {
                MountSource::Instance | MountSource::Tmp => continue,
                MountSource::Storage => format!("task-{}", task.name),
                MountSource::Service(service) => format!("service-{service}"),
            };
            let host = below.join(owner);
            super::make_private(&host).map_err(|error| {
                Refused::new(crate::domain::RefusedKind::Unavailable, format!("the mount `{path}`: {error}"))
            })?;
            binds.push(Bind::kept(host, mount.source_path.clone(), inside_of(task, path)));
        }
        Ok(binds)
    }

    pub(super) fn demand_of(&self, told: &Told) -> Result<Demand, Error> {
        let mut demand = Demand {
            directories: told.task.mounts.keys().map(|path| joined(&told.task.source.root, path)).collect(),
            workload: Some(Workload { socket: self.actions.setup.data.join(crate::actions::WORKLOAD_SOCKET) }),
            output: told.task.airlock.run_task.is_some() && told.task.airlock.artifacts,
            ..Demand::default()
        };
        for connected in told.connected.values() {
            let to = service::destination(&connected.service)?.to_string();
            demand.relays.extend(connected.relay.map(|port| Relay { port, to: to.clone() }));
            demand.vouched.push(to);
        }
        Ok(demand)
    }

    /// All variables of the task, by precedence.
    pub(super) fn variables_of(&self, told: &Told) -> Result<Laid, Error> {
        self.layered(told, &told.input.variables, |row| row.visible_runtime)
    }

    /// The variables of the task's build hook, which knows nothing of any trigger.
    pub(super) fn build_variables_of(&self, told: &Told) -> Result<Laid, Error> {
        match &told.task.hooks.build {
            Some(_) => self.layered(told, &[], |row| row.visible_build),
            None => Ok(Laid::default()),
        }
    }

    fn layered(
        &self,
        told: &Told,
        asked: &[(String, serde_json::Value)],
        visible: fn(&Setting) -> bool,
    ) -> Result<Laid, Error> {
        let settings = setting::all(&self.view, self.stack.id)?;
        let mut open = Vec::new();
        for row in settings.into_iter().filter(|row| row.is_enabled && visible(row)) {
            let (value, sensitive) = match &row.value {
                VariableValue::Plain(value) => (Secret::new(value.clone()), false),
                VariableValue::Sensitive { .. }
                    if !told.lets_in(row.name.strip_prefix("env:").unwrap_or(&row.name)) =>
                {
                    continue;
                }
                VariableValue::Sensitive { sealed, .. } => {
                    let key = setting::key_of(row.level, &row.name);
                    (vault::setting(self.stack.id, &key).open_text(&self.keys, sealed)?, true)
                }
            };
            open.push(variables::Open { row, value, sensitive });
        }
        let mut own = self.variables()?;
        own.retain(|variable| !variable.sensitive || told.lets_in(variable.name.as_str()));
        Ok(variables::all(&variables::Sources {
            told,
            asked,
            run: &self.run,
            stack: &self.stack,
            entropy: entropy::of(&self.view, &self.keys, self.stack.id)?,
            settings: &open,
            own: &own,
        })?)
    }
}

impl Told {
    /// Where the task's connections may go.
    fn hosts(&self) -> Result<Vec<String>, Error> {
        let mut hosts = Vec::new();
        for connected in self.connected.values() {
            hosts.push(service::destination(&connected.service)?.to_string());
        }
        hosts.extend(self.task.airlock.network.iter().map(ToString::to_string));
        hosts.sort_unstable();
        hosts.dedup();
        Ok(hosts)
    }

    /// Standard input: the trigger's, else the declared one.
    fn stdin(&self) -> StandardInput {
        match self.input.stdin.clone().map(Stdin::Text).or_else(|| self.task.airlock.stdin.clone()) {
            None => StandardInput::Empty,
            Some(Stdin::Text(text)) => StandardInput::Text { text },
            Some(Stdin::File(path)) => StandardInput::File { path: joined(&self.task.source.root, &path) },
        }
    }
}

/// Programs speak to a service as if it were on the jail's loopback. Those that speak HTTP know
/// proxies, and need the service's own name for TLS; but no program asks a proxy for loopback.
fn relayed(service: &Service) -> bool {
    let loopback = match Host::parse(&service.host) {
        Ok(Host::Address(address)) => address.is_loopback(),
        Ok(Host::Name(name)) => name == "localhost",
        Err(_) => false,
    };
    loopback || !matches!(service.scheme.as_str(), "http" | "https")
}

/// The service's own port, if a program of no privileges may listen there and nobody else does.
fn free_port(taken: &mut BTreeSet<u16>, wanted: u16) -> u16 {
    let free = |port: &u16| *port >= 1_024 && !taken.contains(port);
    let others = (FIRST_PORT..u16::MAX).find(|port| !taken.contains(port));
    let port = Some(wanted).filter(free).or(others).expect("a task has fewer relationships than there are ports");
    taken.insert(port);
    port
}

/// Nothing of the stack's vendor reaches its declared tasks.
const fn no_vendor() -> Vendor {
    Vendor::Custom { init: None, plan: None, apply: None, destroy: None }
}

fn joined(root: &RelativePath, path: &RelativePath) -> RelativePath {
    match root.as_str() {
        "" => path.clone(),
        root => RelativePath::new(format!("{root}/{path}")).expect("two relative paths are one"),
    }
}

fn inside_of(task: &DeclaredTask, path: &RelativePath) -> PathBuf {
    PathBuf::from(inside::WORKSPACE).join(joined(&task.source.root, path).as_str())
}

/// The name of a declared task's variable: in upper case, but where lower case keeps it out of most phases.
fn upper(name: &EnvName) -> EnvName {
    if ["ro_", "wo_"].iter().any(|prefix| name.as_str().starts_with(prefix)) {
        return name.clone();
    }
    EnvName::new(name.as_str().to_ascii_uppercase()).expect("the case of letters makes no difference")
}

/// A name that shells take for a variable.
fn env_name(text: &str) -> Result<EnvName, Refused> {
    EnvName::new(text).map_err(|error| Refused::invalid(format!("the variable `{text}` {error}")))
}
