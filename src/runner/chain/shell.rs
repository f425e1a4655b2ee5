//! A phase that runs commands: one `sh` in a jail, attended until all of it is dead.

use std::{net::TcpListener, os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    crypt::Secret,
    domain::{
        Phase, State, Verdict, limits,
        stack::{Limits, NetworkMode},
    },
    protocol::{Bind, Command, Environment, Relay, Root, Shell, StateAccess, Variable, inside},
    vendor::{self, Carried, Outcome, Places, StateEndpoint, Surroundings},
};

use super::{Chain, desk::Desk, prepare::name_in_run, settings};
use crate::runner::{
    attend::{Attendance, Attended, Pipes, attend},
    fault::Fault,
    growing::{Bound, Growing},
    native::{self, Mechanism, PhaseJail, StopSignal},
    size::Extent,
    state::{States, http},
    watch::{Terms, Why},
    way_out::{self, Door, WayOut},
    workload,
};

/// Port of the managed state in a jail that has a network of its own.
const STATE_PORT: u16 = 8_201;
/// Pause between two measurements of what a phase fills, at least; of what a guest does, whose caps are
/// small.
pub(super) const SIZE_EVERY: Duration = Duration::from_secs(5);
pub(super) const WRITTEN_EVERY: Duration = Duration::from_millis(250);
/// Where the shell is.
const SHELL: &str = "/bin/sh";

/// A program for the jail, beside what all have in common.
pub(super) struct Program {
    pub what: native::Program,
    pub limits: Limits,
    /// None: it is empty.
    pub stdin: Option<OwnedFd>,
    /// Beside the report, which comes first.
    pub inherited: Vec<OwnedFd>,
    pub environment: Environment,
    pub network: NetworkMode,
    /// The host's for a program of our own, which the chain's image may lack. None: the chain's.
    pub root: Option<Root>,
    pub binds: Vec<Bind>,
    /// What the kept ones of them may grow by meanwhile; none: the stack's limit of a workspace holds alone.
    pub growth: Option<Extent>,
    /// What the runner serves on the jail's own loopback.
    pub serves: Vec<Service>,
    pub signal: StopSignal,
    pub wall: Duration,
    pub silence: Option<Duration>,
}

/// Something that the runner answers inside a jail.
pub(super) enum Service {
    State,
    WayOut(WayOut),
    /// A guest's way out, with the runner's end of its line.
    Gateway(WayOut, OwnedFd),
    /// A service behind a port of the jail.
    Relay(Relay),
    /// Tokens and the compatible API.
    Workload,
}

impl Service {
    /// On the jail's loopback.
    const fn port(&self) -> Option<u16> {
        match self {
            Self::State => Some(STATE_PORT),
            Self::WayOut(_) => Some(way_out::PORT),
            Self::Relay(relay) => Some(relay.port),
            Self::Workload => Some(workload::PORT),
            Self::Gateway(..) => None,
        }
    }

    const fn way_out(&self) -> Option<&WayOut> {
        match self {
            Self::WayOut(way_out) | Self::Gateway(way_out, _) => Some(way_out),
            Self::State | Self::Relay(_) | Self::Workload => None,
        }
    }
}

/// What a phase is told beside the run's facts.
struct Told {
    final_state: Option<State>,
    /// Address of the managed state.
    state: Option<String>,
    /// Where its network is a list.
    way_out: Option<WayOut>,
    /// Whether there are settings for Terraform itself.
    cli_config: bool,
    stdin: Option<OwnedFd>,
    /// Where it may leave outcomes.
    output: Option<Bind>,
}

impl Chain {
    /// Runs a phase's hooks and command.
    pub(super) fn shell(&mut self, shell: &Shell, ends_as: Option<State>, desk: &mut Desk) -> Result<Verdict, Fault> {
        if shell.skip || self.skips(shell.phase) {
            return Ok(settings::skipped(desk));
        }
        self.make_demanded()?;
        let cli_config = self.write_cli_config(shell)?;
        if shell.phase == Phase::Planning {
            self.forget_old_plans()?;
        }
        if shell.phase == Phase::Initializing {
            self.empty_full_caches(&shell.binds, desk)?;
        }
        let stdin = self.open_stdin(&shell.stdin)?.map(|(_, file)| file.into());
        let way_out = self.open_way_out()?;
        let state = self.open_state(shell, desk.number)?;
        let output = self.open_output(shell)?;
        let keeps_outcomes = output.is_some();
        let program = self.program(shell, Told { final_state: ends_as, state, way_out, cli_config, stdin, output });
        let attended = self.run_program(program, desk);
        desk.produced.states = self.close_state(shell);
        let attended = attended?;
        if keeps_outcomes {
            self.keep_outcomes(desk)?;
        }
        let Outcome { verdict, command, complaint } = judge(shell, &attended);
        if let Some(complaint) = complaint {
            // A refusal is noted with the verdict.
            if !matches!(verdict, Verdict::Refused { .. }) {
                desk.log.note(&complaint);
            }
            desk.produced.error_line = Some(complaint);
        }
        match self.read_carried() {
            Ok(warnings) => desk.produced.warnings.extend(warnings),
            Err(too_much) if verdict.is_success() => return Err(too_much),
            Err(too_much) => desk.produced.warnings.push(too_much.to_string()),
        }
        match (&shell.command, command) {
            (Command::Plan { .. }, Some(code)) if verdict.is_success() => self.read_planned(code, desk),
            _ => Ok(verdict),
        }
    }

    /// Makes the directories that something is mounted on.
    pub(super) fn make_demanded(&self) -> Result<(), Fault> {
        for path in self.spec.demand.iter().flat_map(|demand| &demand.directories) {
            self.tree()?.directories(path.as_str())?;
        }
        Ok(())
    }

    /// Runs one program in a jail of its own.
    pub(super) fn run_program(&self, program: Program, desk: &mut Desk) -> Result<Attended, Fault> {
        let (pipes, ends) = Pipes::make()?;
        let workspace_bytes = self.jail.limits.workspace_bytes;
        let whole =
            Bound { most: Extent::of_bytes(workspace_bytes), why: Why::Workspace { limit_bytes: workspace_bytes } };
        let workspace = Growing::new(vec![self.tree()?.root()?], Extent::default(), vec![whole], SIZE_EVERY);
        let kept = self.kept(&program.binds, program.growth)?;
        let mut jail = self
            .tools
            .jailer
            .run(PhaseJail {
                program: program.what,
                environment: program.environment,
                cwd: PathBuf::from(&self.places.workspace),
                // Without a jail there is no other network; the stack's page says so in red.
                network: if self.confined() { program.network } else { NetworkMode::Host },
                root: program.root,
                binds: program.binds,
                limits: program.limits,
                stdin: program.stdin,
                listen: program.serves.iter().filter_map(Service::port).collect(),
                stdout: ends.stdout,
                stderr: ends.stderr,
                inherited: std::iter::once(ends.report).chain(program.inherited).collect(),
            })
            .map_err(Fault::of)?;
        jail.take_notes().iter().for_each(|note| crate::runner::start::complain(note));
        self.serve(&program.serves, jail.take_listeners())?;
        let way_out = program.serves.iter().find_map(Service::way_out);
        let attendance = Attendance {
            log: &mut desk.log,
            asked: &self.tools.asked,
            stops_before: self.stops_before,
            signal: program.signal,
            terms: Terms {
                wall: program.wall,
                silence: program.silence,
                grace: Duration::from_secs(self.spec.stop_grace_seconds),
            },
            polls_memory: self.tools.jailer.limited_by() == Mechanism::Poll,
            workspace,
            kept,
            way_out,
        };
        let attended = attend(jail, pipes, attendance);
        if let Some(way_out) = way_out {
            self.tools.talk.close_proxy();
            way_out.report(&mut desk.produced);
        }
        let attended = attended?;
        desk.produced.peak_memory_bytes = attended.usage.peak_memory_bytes;
        desk.produced.cpu_ms = attended.usage.cpu_ms;
        desk.produced.limited_by = Some(attended.usage.limited_by.to_string());
        Ok(attended)
    }

    fn serve(&self, services: &[Service], listeners: Vec<TcpListener>) -> Result<(), Fault> {
        let mut listeners = listeners.into_iter();
        let proxy = services.iter().find_map(Service::way_out).map(WayOut::proxy);
        for service in services {
            let (talk, listener) = (&self.tools.talk, service.port().and_then(|_| listeners.next()));
            match (service, listener) {
                (Service::State, Some(listener)) => talk.serve_state(listener),
                (Service::WayOut(way_out), Some(listener)) => {
                    talk.serve_proxy(Door::Loopback(listener), way_out.proxy());
                }
                (Service::Gateway(way_out, end), None) => {
                    let end = end.try_clone().map_err(Fault::io("serve the guest's way out"))?;
                    talk.serve_proxy(Door::Line(end), way_out.proxy());
                }
                (Service::Relay(relay), Some(listener)) => {
                    if let Some(proxy) = &proxy {
                        talk.serve_relay(listener, Arc::clone(proxy), relay.to.clone());
                    }
                }
                (Service::Workload, Some(listener)) => {
                    if let Some(door) = self.workload_door() {
                        talk.serve_workload(listener, door);
                    }
                }
                (Service::State | Service::WayOut(_) | Service::Relay(_) | Service::Workload, None)
                | (Service::Gateway(..), Some(_)) => {
                    return Err(Fault::Missing("listener that the jail was asked for"));
                }
            }
        }
        Ok(())
    }

    /// Where the task gets its tokens, if the server has one for it.
    pub(super) fn workload_door(&self) -> Option<workload::Door> {
        let workload = self.spec.demand.as_ref()?.workload.as_ref()?;
        let secret = self.spec.secrets.workload.as_ref()?;
        Some(workload::Door::new(workload.socket.clone(), secret.clone()))
    }

    fn program(&self, shell: &Shell, told: Told) -> Program {
        let Told { final_state, state, way_out, cli_config, stdin, output } = told;
        let facts = self.facts();
        let places = self.places(shell);
        let script = vendor::script(shell, &facts, &places);
        let password = self.tools.states.as_deref().map(States::password);
        let state = state.as_deref().zip(password).map(|(address, password)| StateEndpoint {
            address,
            user: http::USER,
            password: password.expose(),
            lock: shell.state == StateAccess::Write,
        });
        let state_inside = (state.is_some() && self.has_own_network()).then_some(Service::State);
        let mut environment = vendor::environment(&Surroundings {
            facts: &facts,
            phase: shell.phase,
            places: &places,
            variables: self.variables_of(shell),
            carried: &self.carried,
            state,
            cli_config,
            final_state,
        });
        if way_out.is_some() {
            // No other proxy can be reached, so these win over the stack's own.
            environment.extend(way_out::environment());
        }
        let demand = self.spec.demand.clone().filter(|_| self.has_own_network()).unwrap_or_default();
        let inside = demand.relays.into_iter().map(Service::Relay).chain(demand.workload.map(|_| Service::Workload));
        let silence = self.jail.limits.silence_seconds;
        Program {
            what: native::Program::Exec(argv(script.argv())),
            limits: self.jail.limits.clone(),
            stdin,
            inherited: Vec::new(),
            environment,
            network: facts.network.clone(),
            root: self.chosen_root(),
            binds: shell.binds.iter().filter(|_| self.confined()).cloned().chain(output).collect(),
            growth: None,
            serves: state_inside.into_iter().chain(way_out.map(Service::WayOut)).chain(inside).collect(),
            signal: stop_signal(&facts.vendor),
            wall: Duration::from_secs(shell.wall_seconds),
            silence: (silence > 0).then(|| Duration::from_secs(silence)),
        }
    }

    /// Lets the phase at the managed state; gives its address.
    fn open_state(&mut self, shell: &Shell, number: u32) -> Result<Option<String>, Fault> {
        let Some(states) = self.tools.states.clone().filter(|_| shell.state != StateAccess::None) else {
            return Ok(None);
        };
        let port = if self.has_own_network() {
            STATE_PORT
        } else {
            let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Fault::io("listen for the managed state"))?;
            let port = listener.local_addr().map_err(Fault::io("listen for the managed state"))?.port();
            self.tools.talk.serve_state(listener);
            port
        };
        states.open(number, shell.state);
        Ok(Some(format!("http://127.0.0.1:{port}{}", http::PATH)))
    }

    /// Ends the phase's access; says how many versions it wrote.
    fn close_state(&self, shell: &Shell) -> u32 {
        let Some(states) = self.tools.states.as_ref().filter(|_| shell.state != StateAccess::None) else { return 0 };
        let written = states.close();
        self.tools.talk.close_state();
        written
    }

    /// The phase's way to the listed hosts.
    fn open_way_out(&self) -> Result<Option<WayOut>, Fault> {
        match &self.spec.run.network {
            NetworkMode::Allow(listed) if self.confined() => {
                let (asked, clock) = (Arc::clone(&self.tools.asked), Arc::clone(&self.tools.clock));
                WayOut::open(listed, self.vouched(), asked, clock).map(Some)
            }
            NetworkMode::Allow(_) | NetworkMode::Host | NetworkMode::None => Ok(None),
        }
    }

    /// Destinations that the operator registered.
    pub(super) fn vouched(&self) -> &[String] {
        self.spec.demand.as_ref().map_or(&[], |demand| &demand.vouched)
    }

    /// A build hook has variables of its own.
    fn variables_of(&self, shell: &Shell) -> &[Variable] {
        let secrets = &self.spec.secrets;
        if shell.phase == Phase::Preparing { &secrets.build_variables } else { &secrets.variables }
    }

    fn has_own_network(&self) -> bool {
        self.confined() && self.spec.run.network != NetworkMode::Host
    }

    /// Where things lie for this phase. Without a jail, a grant is the host's own path.
    fn places(&self, shell: &Shell) -> Places {
        let mut places = self.places.clone();
        for bind in shell.binds.iter().filter(|_| !self.confined()) {
            let host = bind.host.display().to_string();
            if bind.inside.as_os_str() == inside::PROVIDER_MIRROR {
                places.provider_mirror = host;
            } else if bind.inside.as_os_str() == inside::PLUGIN_CACHE {
                places.plugin_cache = host;
            }
        }
        places
    }

    /// Terraform's own settings: where providers come from. True when there are any.
    fn write_cli_config(&self, shell: &Shell) -> Result<bool, Fault> {
        if !self.spec.run.vendor.has_state() {
            return Ok(false);
        }
        let has = |inside: &str| shell.binds.iter().any(|bind| bind.inside.as_os_str() == inside);
        let text = vendor::cli_config(&self.places(shell), has(inside::PROVIDER_MIRROR), has(inside::PLUGIN_CACHE));
        if let Some(text) = &text {
            self.tree()?.write_run_file(name_in_run(&self.places.cli_config()), text.as_bytes())?;
        }
        Ok(text.is_some())
    }

    /// Takes up what phases have left in `$AIRLOCK_ENV`; gives what is to be said about it. A new
    /// value of a sensitive variable is as secret as the old one.
    pub(super) fn read_carried(&mut self) -> Result<Vec<String>, Fault> {
        let name = name_in_run(inside::ENV_FILE);
        let content = self.tree()?.read_run_file(name, limits::CARRIED_BYTES as u64)?.unwrap_or_default();
        let Carried { variables, warnings } = vendor::carried(&content).map_err(Fault::of)?;
        self.carried = variables;
        let secret = |name: &_| self.spec.secrets.variables.iter().any(|old| old.sensitive && old.name == *name);
        let words: Vec<Secret<String>> =
            self.carried.iter().filter(|(name, _)| secret(name)).map(|(_, value)| Secret::new(value.clone())).collect();
        self.tools.masks.add(&words);
        Ok(warnings)
    }
}

/// The verdict: what made the phase end, else what it reported, else how it ended.
fn judge(shell: &Shell, attended: &Attended) -> Outcome {
    match attended.why {
        Some(why) => Outcome { verdict: Why::verdict(why), command: None, complaint: None },
        None => vendor::interpret(shell, &attended.report, attended.ended.clone()),
    }
}

pub(super) fn argv(words: Vec<&str>) -> Vec<String> {
    let mut argv: Vec<String> = words.into_iter().map(str::to_owned).collect();
    if let Some(program) = argv.first_mut() {
        SHELL.clone_into(program);
    }
    argv
}

fn stop_signal(of: &crate::domain::stack::Vendor) -> StopSignal {
    if vendor::stop_signal(of) == rustix::process::Signal::INT { StopSignal::Interrupt } else { StopSignal::Terminate }
}
