//! The finished spec of a chain that is to be started: the only place where secrets of the store are
//! unwrapped for a run.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    crypt::{self, Key, Keyring, Sealed, Secret},
    domain::{
        EnvName, Phase, PolicyKind, RelativePath, RunId, StackId, Stage, Stages, limits,
        run::{Kind, SourceVersion},
        runtime::Origin,
        stack::{ExecutorKind, Limits, Vendor},
    },
    machine::{Chain as ChainKind, Shape},
    protocol::{
        AtEnd, Bind, ChainSecrets, ChainSpec, Command, Demand, JailSpec, ManagedState, MountedFile, Open, PatchFile,
        Prepare, Root, RunFacts, Seal, SealKeys, Shell, StandardInput, StateAccess, Step, VERSION, Variable, inside,
    },
    store::{
        Error, Fault, Find, Order, Rows, Snapshot,
        layers::{self, Attached, Layered},
        record::{Chain, GuestTask, Run, Stack, StateVersion, VariableValue},
        tables as t,
    },
};

use super::{Actions, approval, declaration, gate, guest::code, life, missing, vault};

mod apart;
mod declared;
mod fetch;
mod guest;
mod runtime;
mod slug;

pub(super) use apart::{Apart, no_secrets};
pub(super) use fetch::{credential, local_repository, looking_up, looking_up_of};
pub(super) use guest::compiling;

/// A chain to be started.
#[derive(Debug)]
pub struct ToStart {
    pub run: RunId,
    pub chain: u32,
    pub dir: PathBuf,
    /// The directory of the chain before, whose workspace this one goes on with.
    pub goes_on_from: Option<PathBuf>,
    pub jail: JailSpec,
    pub spec: ChainSpec,
}

/// Where a chain of a run keeps its files while the run lives.
pub fn chain_dir(data: &Path, run: RunId, chain: u32) -> PathBuf {
    data.join("runs").join(run.to_string()).join(chain.to_string())
}

/// Everything about a chain that is read before its spec is made.
struct Reading<'a> {
    actions: &'a Actions,
    keys: Arc<Keyring>,
    view: Snapshot,
    run: Run,
    stack: Stack,
    chain: Chain,
    kind: ChainKind,
    /// Of the stack, the highest first.
    contexts: Vec<Attached>,
}

/// What a chain consists of, beside what all have in common.
struct Content {
    facts: RunFacts,
    steps: Vec<Step>,
    limits: Limits,
    state: StateAccess,
    ending: Option<Shell>,
    demand: Option<Demand>,
    given: Given,
    /// Of its jails.
    root: Root,
}

/// What phases are given that may be secret.
#[derive(Default)]
struct Given {
    variables: Vec<Variable>,
    build_variables: Vec<Variable>,
    files: Vec<MountedFile>,
    workload: Option<Secret<String>>,
    /// What must not be printed, beside what phases added.
    masks: Vec<Secret<String>>,
    /// What a guest is to judge.
    plan: Option<Secret<Vec<u8>>>,
}

impl Actions {
    /// The spec of a run's present chain; none when it has no chain any more.
    pub fn to_start(&self, run: RunId) -> Result<Option<ToStart>, Error> {
        let view = self.store.read()?;
        let Some(run) = view.run(run)? else { return Ok(None) };
        let Some(chain) = view.chain(&run)? else { return Ok(None) };
        let stack = view.stack(run.stack)?.ok_or_else(|| missing("the stack of the run"))?;
        let kind = life::chain_of(&chain.kind)?;
        let contexts = layers::contexts_of(&view, &stack)?;
        Reading { actions: self, keys: self.keys.get(), view, run, stack, chain, kind, contexts }.finish().map(Some)
    }
}

impl Reading<'_> {
    fn finish(self) -> Result<ToStart, Error> {
        let setup = &self.actions.setup;
        let dir = chain_dir(&setup.data, self.run.id, self.chain.number);
        let goes_on = match self.kind {
            ChainKind::End => self.run.sealed.is_none(),
            kind => matches!(kind, ChainKind::GoOn | ChainKind::Seal),
        };
        let shape = self.kind.shape(self.run.kind, self.run.skip_initialization, self.may_keep()?);
        let Content { facts, steps, limits, state, ending, demand, given, root } = self.content(&shape)?;
        let slug_key = steps.iter().any(|step| matches!(step, Step::Build(_))).then(|| slug::key(&self.keys));
        let guest_key = steps.iter().any(|step| matches!(step, Step::Guest(_))).then(|| code::key(&self.keys));
        let spec = ChainSpec {
            version: VERSION,
            run: facts,
            chain: self.chain.number,
            first_phase: self.chain.first_phase,
            steps,
            at_end: shape.at_end,
            ending,
            ends_as: self.run.ending.as_ref().map(|ending| ending.state),
            decided_later: self.is_decided_later()?,
            stop_grace_seconds: setup.stop_grace.as_secs(),
            demand,
            runtime: self.runtime()?,
            secrets: ChainSecrets { guest_key, slug_key, ..self.secrets(shape.at_end, state, given)? },
        };
        let jail = JailSpec {
            version: VERSION,
            kind: self.executor_kind(),
            user: self.run.uid,
            limits,
            root,
            dir: dir.clone(),
            hostname: self.stack.slug.to_string(),
            cgroup: setup.cgroup.clone(),
        };
        Ok(ToStart {
            run: self.run.id,
            chain: self.chain.number,
            goes_on_from: goes_on.then(|| chain_dir(&setup.data, self.run.id, self.chain.number - 1)),
            dir,
            jail,
            spec,
        })
    }

    /// Whether nothing stands between a plan and its application.
    fn may_keep(&self) -> Result<bool, Fault> {
        let attached = gate::attached(&self.view, self.stack.id)?;
        let checked = attached.has(Stage::PostPlan) || attached.has(Stage::PreApply);
        let asked = !approval::attached(&self.view, self.stack.id)?.is_empty();
        Ok(self.stack.settings.autodeploy && !checked && !asked)
    }

    /// Whether somebody is asked about the plan that this chain makes.
    fn is_decided_later(&self) -> Result<bool, Fault> {
        let asked = || Ok(!self.view.attached_policies(&self.stack, PolicyKind::Plan)?.is_empty());
        match self.kind.plans() {
            true if gate::attached(&self.view, self.stack.id)?.has(Stage::PostPlan) => Ok(true),
            true => asked(),
            false => Ok(false),
        }
    }

    /// Declared tasks are untrusted: they run in a jail, whatever the stack's own phases run in.
    const fn executor_kind(&self) -> ExecutorKind {
        match self.run.kind {
            Kind::OnDemand => ExecutorKind::Jail,
            _ => self.stack.settings.executor.kind,
        }
    }

    /// What this chain consists of.
    fn content(&self, shape: &Shape) -> Result<Content, Error> {
        if self.run.kind == Kind::OnDemand {
            return self.content_on_demand(shape);
        }
        let vendor = self.vendor();
        let state = self.state_access(vendor.has_state());
        Ok(Content {
            facts: self.facts(vendor),
            steps: self.steps(shape)?,
            limits: self.stack.settings.executor.limits.clone(),
            state,
            ending: self.ending()?,
            demand: None,
            given: Given { variables: self.variables()?, files: self.files()?, ..Given::default() },
            root: self.root()?,
        })
    }

    fn content_on_demand(&self, shape: &Shape) -> Result<Content, Error> {
        let limits = self.stack.settings.executor.limits.clone();
        let guest = self.guest_task()?;
        if self.kind != ChainKind::GoOn || guest.is_some() {
            let facts = self.facts(self.stack.settings.vendor.clone());
            let (state, steps) = (StateAccess::None, self.steps(shape)?);
            let given = guest.map(|task| self.given_to_guest(&task)).transpose()?.unwrap_or_default();
            // Nothing of this chain runs a command of the task's.
            let root = Root::Host;
            return Ok(Content { facts, steps, limits, state, ending: None, demand: None, given, root });
        }
        let told = self.told()?;
        let secrets = self.view.get(t::RUN_TO_SECRETS, self.run.seq)?.unwrap_or_default();
        let workload =
            secrets.workload.as_ref().map(|sealed| vault::workload(self.run.id).open_text(&self.keys, sealed));
        let (run, build) = (self.variables_of(&told)?, self.build_variables_of(&told)?);
        let masks = self.masks_of_call(&told)?;
        Ok(Content {
            facts: self.facts_of(&told)?,
            steps: self.steps_of(&told, &run, &build)?,
            limits: self.limits_of(&told),
            state: StateAccess::None,
            ending: None,
            demand: Some(self.demand_of(&told)?),
            given: Given {
                variables: run.variables,
                build_variables: build.variables,
                files: Vec::new(),
                workload: workload.transpose()?,
                masks: masks.into_iter().chain(run.masks).chain(build.masks).collect(),
                plan: self.plan_of_call(&told)?,
            },
            root: self.root_of(&told)?,
        })
    }

    /// A guest gets those of the stack's variables that it names, and finds the mounted files.
    fn given_to_guest(&self, task: &GuestTask) -> Result<Given, Error> {
        let mut files = self.files()?;
        files.extend(Self::script(task));
        Ok(Given { variables: self.variables()?, files, ..Given::default() })
    }

    fn steps(&self, shape: &Shape) -> Result<Vec<Step>, Error> {
        if self.kind == ChainKind::End && self.run.sealed.is_none() {
            return Ok(Vec::new());
        }
        shape.phases.iter().map(|phase| self.step(*phase)).collect()
    }

    fn facts(&self, vendor: Vendor) -> RunFacts {
        let branch = match &self.run.source {
            SourceVersion::Git { branch, .. } => Some(branch.to_string()),
            SourceVersion::Upload { .. } => None,
        };
        RunFacts {
            id: self.run.id,
            number: self.run.number,
            kind: self.run.kind,
            stack: self.stack.id,
            slug: self.stack.slug.clone(),
            url: format!("{}/runs/{}", self.actions.setup.public_url, self.run.id),
            triggered_by: self.run.triggered_by.name.clone(),
            branch,
            commit: self.run.source.commit().cloned(),
            project_root: self.project_root(),
            network: self.stack.settings.executor.network.clone(),
            vendor,
            targets: self.run.targets.clone(),
            mask_well_known: self.stack.settings.mask_well_known,
        }
    }

    fn project_root(&self) -> RelativePath {
        match &self.stack.settings.source {
            Some(source) => source.project_root().clone(),
            None => RelativePath::new("").expect("the empty path is the root"),
        }
    }

    /// The vendor with its binary as the jail sees it.
    fn vendor(&self) -> Vendor {
        let mut vendor = self.stack.settings.vendor.clone();
        if let Some(listed) = self.listed_binary()
            && let Vendor::Terraform { binary, .. } | Vendor::OpenTofu { binary, .. } = &mut vendor
        {
            *binary = Some(listed.1.display().to_string());
        }
        vendor
    }

    /// The operator-listed binary that the stack names: where it is, and where the jail sees it.
    fn listed_binary(&self) -> Option<(PathBuf, PathBuf)> {
        let (Vendor::Terraform { binary, .. } | Vendor::OpenTofu { binary, .. }) = &self.stack.settings.vendor else {
            return None;
        };
        let name = binary.as_deref()?;
        let path = self.actions.setup.binaries.get(name)?;
        Some((path.clone(), Path::new(inside::BINARIES).join(name)))
    }

    fn step(&self, phase: Phase) -> Result<Step, Error> {
        if let Some(step) = self.vendor_guest(phase)? {
            return Ok(step);
        }
        Ok(match phase {
            Phase::Preparing => {
                let shows = declaration::files().map(|path| RelativePath::new(path).expect("it is relative")).collect();
                let (source, patch, archive) =
                    (fetch::fetch(self.actions, &self.run, &self.stack)?, self.patch(), self.is_shown_to_others()?);
                Step::Prepare(Prepare { source, patch, disk_floor_bytes: limits::DISK_FLOOR_BYTES, shows, archive })
            }
            Phase::PreparingApply => Step::Open(Open { plan_digest: self.run.plan_digest.clone() }),
            Phase::Sealing => Step::Seal(Seal { plan_digest: self.run.plan_digest.clone() }),
            Phase::Initializing => Step::Shell(self.shell(phase, Command::Init)?),
            Phase::Planning => {
                let destroy = self.run.kind == Kind::Destroy;
                Step::Shell(self.shell(phase, Command::Plan { destroy })?)
            }
            Phase::Applying => Step::Shell(self.shell(phase, Command::Apply)?),
            Phase::Destroying => Step::Shell(self.shell(phase, Command::Destroy)?),
            Phase::Performing => {
                if let Some(task) = self.guest_task()? {
                    return self.perform_guest(&task);
                }
                let command = self.run.command.clone().unwrap_or_default();
                Step::Shell(self.shell(phase, Command::Perform { command })?)
            }
            Phase::Ending => Step::Shell(self.shell(phase, Command::Nothing)?),
        })
    }

    fn shell(&self, phase: Phase, command: Command) -> Result<Shell, Error> {
        let settings = &self.stack.settings;
        let (before, after) = settings.hooks.around(phase);
        let changes = matches!(phase, Phase::Applying | Phase::Destroying);
        Ok(Shell {
            phase,
            before: before.to_vec(),
            command,
            after: after.to_vec(),
            stdin: StandardInput::Empty,
            wall_seconds: settings.executor.limits.wall_seconds,
            binds: self.binds(),
            state: self.state_access(settings.vendor.has_state()),
            skip: changes && self.skips_applying()?,
        })
    }

    /// Whether there are any hooks, the runner knows once it has read the source.
    fn ending(&self) -> Result<Option<Shell>, Error> {
        if matches!(self.stack.settings.vendor, Vendor::Wasi { .. }) {
            return Ok(None);
        }
        let shell = self.shell(Phase::Ending, Command::Nothing)?;
        Ok(Some(Shell { wall_seconds: limits::ENDING_WALL.as_secs(), ..shell }))
    }

    fn binds(&self) -> Vec<Bind> {
        let setup = &self.actions.setup;
        let mut binds = Vec::new();
        if self.stack.settings.vendor.has_state() {
            if let Some(mirror) = &setup.provider_mirror {
                binds.push(Bind::read_only(mirror.clone(), inside::PROVIDER_MIRROR.into()));
            }
            binds.extend(self.plugin_cache());
        }
        binds.extend(self.listed_binary().map(|(host, inside)| Bind::read_only(host, inside)));
        binds
    }

    /// Providers that this stack downloaded before. Each stack has its own, and only runs that change
    /// the stack write there: a preview of somebody's branch cannot leave anything for a deployment.
    fn plugin_cache(&self) -> Option<Bind> {
        let setup = &self.actions.setup;
        if setup.provider_mirror.is_some() || !self.run.kind.is_blocking() {
            return None;
        }
        let host = setup.plugin_cache.join(self.stack.id.to_string());
        let made = match self.executor_kind() {
            ExecutorKind::Jail => make_private(&host),
            ExecutorKind::Unconfined => make_shared(&host),
        };
        match made {
            Ok(()) => Some(Bind::cache(host, inside::PLUGIN_CACHE.into())),
            Err(error) => {
                tracing::warn!(%error, "providers are not cached for a run");
                None
            }
        }
    }

    fn state_access(&self, has_state: bool) -> StateAccess {
        match (has_state, self.run.kind) {
            (false, _) => StateAccess::None,
            // The lock was given back with the decision.
            (true, _) if self.kind == ChainKind::End => StateAccess::Read,
            (true, Kind::Proposed | Kind::Drift) => StateAccess::Read,
            (true, Kind::Tracked | Kind::Task | Kind::Destroy | Kind::OnDemand) => StateAccess::Write,
        }
    }

    /// Whether run tasks may want to look into a source that is fetched.
    fn is_shown_to_others(&self) -> Result<bool, Fault> {
        let git = matches!(self.run.source, SourceVersion::Git { .. });
        Ok(git && self.run.kind.plans() && gate::attached(&self.view, self.stack.id)? != Stages::NONE)
    }

    /// The changes that a proposal is about.
    fn patch(&self) -> Option<PatchFile> {
        let patched = self.run.patched.as_ref()?;
        let path = self.actions.patch_path(patched.run, patched.phase);
        Some(PatchFile { path, digest: patched.digest.clone(), run: patched.run_number })
    }

    fn secrets(&self, at_end: AtEnd, state: StateAccess, given: Given) -> Result<ChainSecrets, Error> {
        let keys = &*self.keys;
        let run_secrets = self.view.get(t::RUN_TO_SECRETS, self.run.seq)?.unwrap_or_default();
        let chain_key = vault::chain_key(self.run.id, self.chain.number).open(keys, &self.chain.key)?;
        let open = (self.kind.opens() && self.run.sealed.is_some())
            .then(|| self.seal_keys(run_secrets.seal_key.as_ref()))
            .transpose()?;
        let renewed = self.kind.opens() && self.kind.plans();
        let own = if renewed { &run_secrets.next_seal_key } else { &run_secrets.seal_key };
        let seals = (at_end != AtEnd::Remove && self.kind != ChainKind::Prepare) || self.is_decided_later()?;
        let seal = seals.then(|| self.seal_keys(own.as_ref())).transpose()?;
        let mut masks: Vec<Secret<String>> = match &run_secrets.masks {
            Some(sealed) => {
                let json = vault::masks(self.run.id).open(keys, sealed)?;
                serde_json::from_slice(json.expose()).map_err(super::sealed_fault)?
            }
            None => Vec::new(),
        };
        masks.extend(given.masks);
        Ok(ChainSecrets {
            chain_key,
            redaction_key: self.redaction_key(run_secrets.redaction_key.as_ref())?.to_secret(),
            open,
            seal,
            variables: given.variables,
            files: given.files,
            workload: given.workload,
            plan: given.plan,
            masks,
            git: fetch::git_credential(&self.view, keys, &self.stack)?,
            state: (state != StateAccess::None).then(|| self.managed_state()).transpose()?,
            guest_key: None,
            slug_key: None,
            build_variables: given.build_variables,
        })
    }

    /// The key that the run's plan was redacted with: a rotation since then must not make it another
    /// plan.
    fn redaction_key(&self, wrapped: Option<&Sealed>) -> Result<Key, Error> {
        match wrapped {
            Some(wrapped) => vault::run_redaction(self.run.id).open_key(&self.keys, wrapped),
            None => Ok(vault::redaction_key(&self.keys, self.stack.id)),
        }
    }

    fn seal_keys(&self, wrapped: Option<&Sealed>) -> Result<SealKeys, Error> {
        let wrapped = wrapped.ok_or_else(|| missing("the key of the sealed workspace"))?;
        Ok(SealKeys {
            data_key: vault::seal_key(self.run.id).open(&self.keys, wrapped)?,
            sealed: self.actions.sealed_path(self.run.id),
            erase: self.actions.erase_path(self.run.id),
        })
    }

    /// Those of the stack and its contexts.
    fn variables(&self) -> Result<Vec<Variable>, Error> {
        let rows = layers::variables_of(&self.view, &self.stack, &self.contexts)?;
        rows.into_iter()
            .map(|Layered { row, origin, .. }| {
                let (value, sensitive) = match row.value {
                    VariableValue::Plain(value) => (Secret::new(value), false),
                    VariableValue::Sensitive { sealed, .. } => (self.open_variable(&origin, &row.name, &sealed)?, true),
                };
                Ok(Variable { name: row.name, value, sensitive })
            })
            .collect()
    }

    fn open_variable(&self, of: &Origin, name: &EnvName, sealed: &Sealed) -> Result<Secret<String>, Error> {
        let place = match of.context() {
            Some(context) => vault::context_variable(context, name),
            None => vault::variable(self.stack.id, name),
        };
        place.open_text(&self.keys, sealed)
    }

    fn files(&self) -> Result<Vec<MountedFile>, Error> {
        let rows = layers::files_of(&self.view, &self.stack, &self.contexts)?;
        rows.into_iter()
            .map(|Layered { row, origin, .. }| {
                let place = match origin.context() {
                    Some(context) => vault::context_file(context, &row.path),
                    None => vault::file(self.stack.id, &row.path),
                };
                let content = place.open(&self.keys, &row.sealed)?;
                Ok(MountedFile { path: row.path, content, sensitive: row.sensitive })
            })
            .collect()
    }

    fn managed_state(&self) -> Result<ManagedState, Error> {
        let newest = newest_state(&self.view, self.stack.id)?;
        let current = match newest {
            Some(version) => self.actions.read_state(&self.keys, self.stack.id, &version)?,
            None => Secret::default(),
        };
        Ok(ManagedState { current, password: crypt::random_token() })
    }
}

/// A directory that no run can change but through what its jail shows of it, as that jail's own.
fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// A directory that every uid of this stack's runs may write to, as far as they come without a jail.
fn make_shared(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777))
}

/// The newest version of a stack's managed state.
pub(crate) fn newest_state(view: &impl Rows, stack: StackId) -> Result<Option<StateVersion>, Fault> {
    let id = stack.number();
    let mut newest = None;
    view.walk(t::STACK_SERIAL_TO_STATE, (id, 0)..=(id, u64::MAX), Order::Down, |_, version| {
        newest = Some(version);
        Ok(std::ops::ControlFlow::Break(()))
    })?;
    Ok(newest)
}

impl Actions {
    pub(crate) fn sealed_path(&self, run: RunId) -> PathBuf {
        self.setup.data.join("sealed").join(format!("{run}.sealed"))
    }

    pub(crate) fn erase_path(&self, run: RunId) -> PathBuf {
        self.setup.data.join("sealed").join(format!("{run}.key"))
    }

    pub(crate) fn upload_path(&self, digest: &crate::domain::Digest) -> PathBuf {
        self.setup.data.join("uploads").join(digest.digits())
    }

    pub(crate) fn state_path(&self, stack: StackId, file: &str) -> PathBuf {
        self.setup.data.join("states").join(stack.to_string()).join(file)
    }

    /// The bytes of one version of a managed state.
    pub(crate) fn read_state(
        &self,
        keys: &Keyring,
        stack: StackId,
        version: &StateVersion,
    ) -> Result<Secret<Vec<u8>>, Error> {
        let path = self.state_path(stack, &version.file);
        let key = vault::state_key(stack, &version.file).open_key(keys, &version.key)?;
        crypt::read_file_under(&path, &key, version.file.as_bytes(), limits::STATE_BYTES).map_err(super::sealed_fault)
    }
}
