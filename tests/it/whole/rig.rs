//! A server without HTTP on a throw-away data directory.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use airlock::{
    actions::{
        Decision, NewDemand, NewKey, NewPolicy, NewRun, NewService, NewSetting, NewStack, NewTask, NewVariable, Saving,
    },
    app::App,
    auth::{On, Permission, Permit, Who},
    config::{Config, Flags},
    crypt::Secret,
    dispatch::Dispatch,
    domain::{EnvName, Kind, Phase, PolicyKind, RelativePath, Role, RunId, State, UserName},
    http, outbound,
    queries::{RoleOnStack, Run, SettingLevel, Stack},
    scheduler,
    store::{Backend, Rows as _, Store, tables},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longer than anything here takes: a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Where a source declares its tasks.
pub const CONFIG: &str = ".airlock/config.yaml";

pub struct Rig {
    pub app: App,
    pub dir: Arc<tempfile::TempDir>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Rig {
    /// A fresh installation with its dispatch running.
    pub async fn new() -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), |_| {}).await
    }

    /// An installation on a data directory that may have been used before.
    pub async fn on(dir: Arc<tempfile::TempDir>, set: impl FnOnce(&mut Config)) -> Self {
        let app = App::open(config(dir.path(), set)).unwrap().evaluated_by(env!("CARGO_BIN_EXE_airlock"));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        scheduler::recover(&app.actions).await.unwrap();
        let dispatch =
            Dispatch::new(app.actions.clone(), env!("CARGO_BIN_EXE_airlock"), tasks.clone(), stop.child_token());
        tasks.spawn(dispatch.run());
        Self { app, dir, tasks, stop }
    }

    /// As [`Rig::on`], with everything that a server does: it listens, and calls run tasks on this
    /// machine.
    pub async fn serving(dir: Arc<tempfile::TempDir>, set: impl FnOnce(&mut Config)) -> Self {
        let config = config(dir.path(), |config| {
            config.listen = ([127, 0, 0, 1], 0).into();
            config.outbound_allow = vec!["127.0.0.1".to_owned()];
            set(config);
        });
        let app = App::open(config).unwrap().evaluated_by(env!("CARGO_BIN_EXE_airlock"));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        scheduler::recover(&app.actions).await.unwrap();
        let listener = http::listen(&app.config).await.unwrap();
        let (app, outside) = app.listening_at(listener.address().unwrap()).with_outside().unwrap();
        let dispatch =
            Dispatch::new(app.actions.clone(), env!("CARGO_BIN_EXE_airlock"), tasks.clone(), stop.child_token());
        tasks.spawn(dispatch.run());
        let calling = outbound::run_tasks::run(app.actions.clone(), outside, tasks.clone(), stop.child_token());
        tasks.spawn(calling);
        let web = http::Web::new(app.actions.clone(), app.queries.clone(), Arc::clone(&app.config), stop.child_token());
        let serving = http::serve(listener, web, stop.child_token());
        tasks.spawn(async move { serving.await.unwrap() });
        Self { app, dir, tasks, stop }
    }

    /// Makes a policy that every stack has.
    pub async fn policy(&self, name: &str, kind: PolicyKind, body: &str) {
        let new = NewPolicy {
            name: name.parse().unwrap(),
            kind,
            body: body.to_owned(),
            labels: vec!["autoattach:*".parse().unwrap()],
            description: String::new(),
        };
        let permit = Permit::of_system(Permission::ManagePolicies, On::Installation);
        self.app.actions.save_policy(&permit, Saving::New, new, None).await.unwrap();
    }

    /// Ends a server and serves the same data at the same address again.
    pub async fn served_again(self) -> Self {
        let url = self.app.actions.setup().public_url.clone();
        let listen = url.trim_start_matches("http://").parse().unwrap();
        Self::serving(self.stop().await, |config| config.listen = listen).await
    }

    /// Ends the server's side; runners go on. The data directory stays.
    pub async fn stop(self) -> Arc<tempfile::TempDir> {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.dir
    }

    /// Ends the server's side as it is, and serves the same data again.
    pub async fn restart(self) -> Self {
        Self::on(self.stop().await, |_| {}).await
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn permit(&self, permission: Permission, stack: &Stack) -> Permit {
        airlock::auth::permit(&Who::system(), permission, On::Stack(stack.id), self.app.actions.now()).unwrap()
    }

    /// A stack with an uploaded source of these files.
    pub async fn stack(&self, settings: serde_json::Value, files: &[(&str, &str)]) -> Stack {
        let mut settings = settings;
        settings["source"] = serde_json::json!({"kind": "upload"});
        let settings = serde_json::from_value(settings).unwrap();
        let permit =
            airlock::auth::permit(&Who::system(), Permission::CreateStack, On::Installation, self.app.actions.now());
        let stack =
            self.app.actions.create_stack(&permit.unwrap(), NewStack { slug: None, settings }, None).await.unwrap();
        self.upload(&stack, files).await;
        stack
    }

    pub async fn upload<T: AsRef<[u8]>>(&self, stack: &Stack, files: &[(&str, T)]) {
        self.upload_archive(stack, &tar_gz(files)).await;
    }

    pub async fn upload_archive(&self, stack: &Stack, archive: &[u8]) {
        let scratch = self.data().join("uploads").join("incoming-test");
        std::fs::write(&scratch, archive).unwrap();
        let permit = self.permit(Permission::UploadSource, stack);
        self.app.actions.upload(&permit, stack.id, scratch).await.unwrap();
    }

    pub async fn trigger(&self, stack: &Stack, kind: Kind) -> Run {
        let new = NewRun { kind, commit: None, message: None, runtime_config: None };
        let permit = self.permit(Permission::Trigger, stack);
        self.app.actions.trigger(&permit, stack.id, new, None).await.unwrap()
    }

    /// Somebody with a role on a stack, who acts by a key.
    pub async fn person(&self, name: &str, stack: &Stack, role: Role) -> Who {
        let key = self.key(name, stack, role).await;
        self.app.queries.authenticate(key.expose(), None).unwrap().unwrap()
    }

    /// A key with a role on a stack.
    pub async fn key(&self, name: &str, stack: &Stack, role: Role) -> Secret<String> {
        let permit =
            airlock::auth::permit(&Who::system(), Permission::ManageKeys, On::Installation, self.app.actions.now());
        let new = NewKey {
            name: UserName::new(name).unwrap(),
            admin: false,
            roles: vec![RoleOnStack { stack: stack.id, role }],
            expires_at: None,
        };
        self.app.actions.create_key(&permit.unwrap(), new, None).await.unwrap().secret
    }

    pub fn permit_of(&self, who: &Who, permission: Permission, stack: &Stack) -> Permit {
        airlock::auth::permit(who, permission, On::Stack(stack.id), self.app.actions.now()).unwrap()
    }

    pub async fn set(&self, stack: &Stack, name: &str, value: &str, sensitive: bool) {
        let name = EnvName::new(name).unwrap();
        let new = NewVariable { name, value: Secret::new(value.to_owned()), sensitive, description: String::new() };
        self.app.actions.set_variable(&self.permit(Permission::EditEnvironment, stack), stack.id, new).await.unwrap();
    }

    /// A variable that only declared tasks get.
    pub async fn project_setting(&self, stack: &Stack, name: &str, value: &str, set: impl FnOnce(&mut NewSetting)) {
        let mut new = NewSetting {
            level: SettingLevel::Project,
            name: name.to_owned(),
            value: Some(Secret::new(value.to_owned())),
            is_sensitive: false,
            is_json: false,
            is_enabled: true,
            visible_build: true,
            visible_runtime: true,
        };
        set(&mut new);
        self.app.actions.set_setting(&self.permit(Permission::EditEnvironment, stack), stack.id, new).await.unwrap();
    }

    pub async fn mount(&self, stack: &Stack, path: &str, content: &str, sensitive: bool) {
        let (path, content) = (RelativePath::new(path).unwrap(), Secret::new(content.as_bytes().to_vec()));
        let permit = self.permit(Permission::EditEnvironment, stack);
        self.app.actions.set_file(&permit, stack.id, path, content, sensitive).await.unwrap();
    }

    pub async fn confirm(&self, run: &Run) {
        let decision = Decision::Confirm { plan_digest: run.plan_digest.clone(), note: None };
        self.decide(run, Permission::Confirm, decision).await.unwrap();
    }

    pub async fn discard(&self, run: &Run) {
        self.decide(run, Permission::Discard, Decision::Discard { note: None }).await.unwrap();
    }

    /// A tracked run, planned and waiting.
    pub async fn unconfirmed(&self, stack: &Stack) -> Run {
        let run = self.trigger(stack, Kind::Tracked).await;
        self.until_state(&run, State::Unconfirmed).await
    }

    /// A tracked run, planned, confirmed and applied.
    pub async fn applied(&self, stack: &Stack) -> Run {
        let run = self.unconfirmed(stack).await;
        self.confirm(&run).await;
        self.until_state(&run, State::Finished).await
    }

    pub async fn task(&self, stack: &Stack, command: &str) -> Run {
        let new = NewTask { command: command.to_owned(), skip_initialization: true };
        let permit = self.permit(Permission::Perform, stack);
        self.app.actions.perform(&permit, stack.id, new, None).await.unwrap()
    }

    /// A run of a declared task, with variables by whole name.
    pub async fn declared(&self, stack: &Stack, task: &str, variables: &[(&str, &str)]) -> Run {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let new = NewDemand { task: task.parse().unwrap(), variables, stdin: None, call: None };
        let permit = self.permit(Permission::RunDeclared, stack);
        self.app.actions.run_declared(&permit, stack.id, new, None).await.unwrap()
    }

    pub async fn service(&self, name: &str, scheme: &str, port: u16, password: &str) {
        self.service_at((name, scheme), ("127.0.0.1", port), password).await;
    }

    pub async fn service_at(&self, (name, scheme): (&str, &str), (host, port): (&str, u16), password: &str) {
        let now = self.app.actions.now();
        let permit = airlock::auth::permit(&Who::system(), Permission::ManageServices, On::Installation, now).unwrap();
        let new = NewService {
            name: name.parse().unwrap(),
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port,
            path: "main".to_owned(),
            username: "ada".to_owned(),
            password: Some(Secret::new(password.to_owned())),
        };
        self.app.actions.put_service(&permit, new).await.unwrap();
    }

    pub async fn decide(&self, run: &Run, permission: Permission, decision: Decision) -> Result<Run, String> {
        let permit = airlock::auth::permit(&Who::system(), permission, On::Stack(run.stack), self.app.actions.now());
        self.app.actions.decide(&permit.unwrap(), run.id, decision).await.map_err(|error| error.to_string())
    }

    pub fn run(&self, id: RunId) -> Run {
        self.app.queries.run(&Who::system(), id).unwrap()
    }

    /// Waits until everything that runs left to be done is done.
    pub async fn until_tidy(&self) {
        let mut bell = self.app.actions.bells().hear();
        let tidy = tokio::time::timeout(PATIENCE, async {
            while !self.app.actions.chores().unwrap().is_empty() || !self.app.actions.live_chains().unwrap().is_empty()
            {
                bell.changed().await.unwrap();
            }
        });
        tidy.await.expect("chores are done sooner or later");
    }

    /// Waits until the run is in a state that fits.
    pub async fn until(&self, run: &Run, fits: impl Fn(&Run) -> bool) -> Run {
        let mut bell = self.app.actions.bells().hear_run(run.id);
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                bell.mark_unchanged();
                let now = self.run(run.id);
                if fits(&now) {
                    return now;
                }
                bell.changed().await.unwrap();
            }
        });
        match waited.await {
            Ok(run) => run,
            Err(_) => panic!("still {:?}: {:#?}", self.run(run.id).state, self.run(run.id)),
        }
    }

    pub async fn until_state(&self, run: &Run, state: State) -> Run {
        let now = self.until(run, |run| run.state == state || run.state.is_terminal()).await;
        assert_eq!(now.state, state, "{now:#?}\n{}", self.all_logs(run));
        now
    }

    pub fn log(&self, run: &Run, phase: Phase) -> String {
        let log = self.app.queries.log(&Who::system(), run.id, phase).unwrap();
        let Some(reader) = log.and_then(|log| log.open().unwrap()) else { return String::new() };
        let length = reader.len().unwrap();
        let mut text = Vec::new();
        while (text.len() as u64) < length {
            text.extend(reader.range(text.len() as u64, 1 << 20).unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    pub fn all_logs(&self, run: &Run) -> String {
        let phases = self.run(run.id).phases;
        phases.iter().map(|phase| format!("== {}\n{}", phase.phase, self.log(run, phase.phase))).collect()
    }
}

pub fn tar_gz<T: AsRef<[u8]>>(files: &[(&str, T)]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (*path, bytes.as_ref())).collect();
    let empty: &[(&str, &[u8])] = &[("empty", b"")];
    for (path, text) in if files.is_empty() { empty } else { &files } {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, *text).unwrap();
    }
    let mut gz = tar.into_inner().unwrap();
    gz.flush().unwrap();
    gz.finish().unwrap()
}

/// The configuration of an installation below a directory.
pub fn config(dir: &Path, set: impl FnOnce(&mut Config)) -> Config {
    let flags = Flags { data: Some(dir.join("data")), slots: Some(4), ..Flags::default() };
    let mut config = Config::load(&flags).unwrap();
    set(&mut config);
    config
}

pub fn as_root(why: &str) {
    assert!(rustix::process::geteuid().is_root(), "this test needs root ({why}): run it as root");
}

/// Nothing of ended runs is held any more: no chain, slot, user, lock, secret; no workspace, no seal.
/// `waiting` runs are unconfirmed.
pub fn assert_nothing_held(data: &Path, waiting: u64) {
    let store = Store::open(Backend::File(data.join("airlock.redb"))).unwrap();
    let view = store.read().unwrap();
    assert_eq!(view.count(tables::SLOT_RUN).unwrap(), 0, "slots");
    assert_eq!(view.count(tables::QUEUE_RUN).unwrap(), 0, "places in the queue");
    assert_eq!(view.count(tables::ACTIVE_STACK_RUN).unwrap(), waiting, "active runs");
    assert_eq!(view.all(tables::RUN_TO_CHAIN, 0..=u64::MAX).unwrap(), [], "chains");
    assert_eq!(view.all(tables::STACK_TO_STATE_LOCK, 0..=u128::MAX).unwrap(), [], "locks of states");
    assert_eq!(view.all(tables::RUN_TO_SECRETS, 0..=u64::MAX).unwrap().len() as u64, waiting, "secrets");
    if rustix::process::geteuid().is_root() {
        assert_eq!(view.count(tables::UID_TO_RUN).unwrap(), waiting, "users");
    }
    assert_eq!(files_below(&data.join("sealed")).len() as u64, 2 * waiting, "sealed files");
    let open = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "tree");
    assert_eq!(files_below(&data.join("runs")).into_iter().find(open), None, "open workspaces");
}

/// Every file below a directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The files below a directory in which a text stands in clear.
pub fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let holds =
        |path: &PathBuf| fs::read(path).is_ok_and(|bytes| memchr::memmem::find(&bytes, text.as_bytes()).is_some());
    files_below(dir).into_iter().filter(holds).collect()
}
