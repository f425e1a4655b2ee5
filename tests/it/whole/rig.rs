//! A server without HTTP on a throw-away data directory.

use std::{io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use airlock::{
    actions::{Decision, NewRun, NewStack, NewTask},
    app::App,
    auth::{On, Permission, Permit, Who},
    config::{Config, Flags},
    dispatch::Dispatch,
    domain::{Kind, Phase, RunId, State},
    queries::{Run, Stack},
    scheduler,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longer than anything here takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(90);

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
        let flags = Flags { data: Some(dir.path().join("data")), slots: Some(4), ..Flags::default() };
        let mut config = Config::load(&flags).unwrap();
        set(&mut config);
        let app = App::open(config).unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        scheduler::recover(&app.actions).await.unwrap();
        let dispatch =
            Dispatch::new(app.actions.clone(), env!("CARGO_BIN_EXE_airlock"), tasks.clone(), stop.child_token());
        tasks.spawn(dispatch.run());
        Self { app, dir, tasks, stop }
    }

    /// Ends the server's side; runners go on. The data directory stays.
    pub async fn stop(self) -> Arc<tempfile::TempDir> {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.dir
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

    pub async fn upload(&self, stack: &Stack, files: &[(&str, &str)]) {
        let scratch = self.data().join("uploads").join("incoming-test");
        std::fs::write(&scratch, tar_gz(files)).unwrap();
        let permit = self.permit(Permission::UploadSource, stack);
        self.app.actions.upload(&permit, stack.id, scratch).await.unwrap();
    }

    pub async fn trigger(&self, stack: &Stack, kind: Kind) -> Run {
        let new = NewRun { kind, commit: None, message: None };
        let permit = self.permit(Permission::Trigger, stack);
        self.app.actions.trigger(&permit, stack.id, new, None).await.unwrap()
    }

    pub async fn task(&self, stack: &Stack, command: &str) -> Run {
        let new = NewTask { command: command.to_owned(), skip_initialization: true };
        let permit = self.permit(Permission::Perform, stack);
        self.app.actions.perform(&permit, stack.id, new, None).await.unwrap()
    }

    pub async fn decide(&self, run: &Run, permission: Permission, decision: Decision) -> Result<Run, String> {
        let permit = airlock::auth::permit(&Who::system(), permission, On::Stack(run.stack), self.app.actions.now());
        self.app.actions.decide(&permit.unwrap(), run.id, decision).await.map_err(|error| error.to_string())
    }

    pub fn run(&self, id: RunId) -> Run {
        self.app.queries.run(&Who::system(), id).unwrap()
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

pub fn tar_gz(files: &[(&str, &str)]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let mut gz = tar.into_inner().unwrap();
    gz.flush().unwrap();
    gz.finish().unwrap()
}
