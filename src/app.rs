//! The composition root: the only place that knows everything. Builds, spawns, drains in order.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    actions::{Actions, Outside, Setup},
    config::{Config, Tls},
    crypt::{Keyring, Keys, MasterKey, MasterKeyError, Secret, load_keyring},
    dispatch::Dispatch,
    domain::{
        Clock, Timestamp, UserName,
        network::{AllowList, Portless},
    },
    http,
    live::Bells,
    outbound,
    queries::Queries,
    scheduler,
    store::{Backend, Store},
};

/// Why a server could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] crate::store::Fault),
    #[error(transparent)]
    Key(#[from] MasterKeyError),
    #[error(transparent)]
    Action(#[from] crate::store::Error),
    #[error(transparent)]
    Hash(#[from] crate::auth::password::HashFailed),
    #[error(
        "the data directory {path} is on a network file system ({kind}), where locks and fsync cannot be trusted; use a local one"
    )]
    NetworkFileSystem { path: PathBuf, kind: &'static str },
    #[error("{0}")]
    Serve(#[from] http::ServeError),
    #[error(transparent)]
    Outbound(#[from] outbound::NoWayOut),
    #[error("the first admin was not made: {0}")]
    AdminPassword(String),
}

/// The time of day.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Everything that works on a data directory, with nothing listening yet.
#[derive(Clone, Debug)]
pub struct App {
    pub actions: Actions,
    pub queries: Queries,
    pub config: Arc<Config>,
    pub data: PathBuf,
}

/// Directories below the data directory.
const DIRS: &[&str] = &["runs", "uploads", "sealed", "logs", "states", "cache", "backups", "guests", "artifacts"];

impl App {
    /// Opens a data directory, and makes it when there is none. Runs get no cgroup.
    pub fn open(config: Config) -> Result<Self, AppError> {
        Self::open_with(config, Arc::new(SystemClock), None)
    }

    /// As [`App::open`], by another clock.
    pub fn open_at(config: Config, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        Self::open_with(config, clock, None)
    }

    /// As [`App::open`], with the cgroup that the host offers to runs.
    pub fn open_on(config: Config, cgroup: Option<PathBuf>) -> Result<Self, AppError> {
        Self::open_with(config, Arc::new(SystemClock), cgroup)
    }

    fn open_with(config: Config, clock: Arc<dyn Clock>, cgroup: Option<PathBuf>) -> Result<Self, AppError> {
        let data = make_data(&config.data)?;
        // The store first: it knows whether another server is at work here.
        let store = Store::open(Backend::File(data.join("airlock.redb")))?;
        let (keyring, master_key) = keyring(&config, &data)?;
        let keys = Keys::new(keyring);
        let live = Arc::new(Bells::default());
        let setup = Setup { master_key, cgroup, ..setup_of(&config, &data)? };
        let slots = config.slots;
        let actions = Actions::new(store.clone(), keys.clone(), Arc::clone(&clock), live, setup)?;
        let queries = Queries::new(store, clock, keys, data.clone(), slots);
        Ok(Self { actions, queries, config: Arc::new(config), data })
    }

    /// The same with the way to run tasks, and that way.
    pub fn with_outside(self) -> Result<(Self, Arc<dyn Outside>), AppError> {
        let client = outbound::client(&self.config.outbound_allow)?;
        let outside: Arc<dyn Outside> = Arc::new(outbound::run_tasks::Network::new(client));
        Ok((Self { actions: self.actions.with_outside(Arc::clone(&outside)), ..self }, outside))
    }

    /// The same inside another program: `program` is this one, and evaluates policies.
    pub fn evaluated_by(self, program: &str) -> Self {
        Self { actions: self.actions.evaluated_by(program.into()), ..self }
    }

    /// The same, once it is known where the server listens: port 0 takes a free one.
    pub fn listening_at(self, address: SocketAddr) -> Self {
        let url = public_url(&self.config, address);
        Self { actions: self.actions.reached_at(url), ..self }
    }
}

fn setup_of(config: &Config, data: &Path) -> Result<Setup, AppError> {
    let root = rustix::process::geteuid().is_root();
    Ok(Setup {
        declared_task_cap: config.declared_task_cap.max(1),
        runtime_images: config.runtime_images.clone(),
        data: data.to_owned(),
        public_url: public_url(config, config.listen),
        slots: config.slots,
        stop_grace: config.stop_grace,
        local_sources: config.local_sources.clone(),
        outbound_allow: AllowList::parse(&config.outbound_allow, Portless::Any).map_err(outbound::NoWayOut::from)?,
        provider_mirror: config.provider_mirror.clone(),
        plugin_cache: data.join("cache").join("plugins"),
        master_key: None,
        uids: root.then_some((config.uid_range.first, config.uid_range.last)),
        binaries: config.binaries.clone(),
        cgroup: None,
        state_versions: config.state_versions,
        log_retention_days: config.log_retention_days,
        artifact_retention_days: config.artifact_retention_days,
        upload_versions: config.upload_versions,
        allow_unconfined: config.allow_unconfined,
        run_task_retries: config.run_task_retries,
        run_task_retry: config.run_task_retry,
        run_task_progress: config.run_task_progress,
        run_task_total: config.run_task_total,
    })
}

/// What links name: as configured, else where the server listens.
fn public_url(config: &Config, listen: SocketAddr) -> String {
    let scheme = if config.tls == Tls::Off { "http" } else { "https" };
    config.public_url.clone().unwrap_or_else(|| format!("{scheme}://{listen}"))
}

/// Makes a data directory that only its owner can enter, with what belongs into it.
pub fn make_data(path: &Path) -> Result<PathBuf, AppError> {
    let failed = |what| move |source| AppError::Io { what, path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("cannot make the data directory"))?;
    let data = path.canonicalize().map_err(failed("cannot find the data directory"))?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).map_err(failed("cannot close to others"))?;
    refuse_network(&data)?;
    for dir in DIRS {
        let below = data.join(dir);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&below).map_err(|source| AppError::Io {
            what: "cannot make",
            path: below.clone(),
            source,
        })?;
    }
    Ok(data)
}

/// Magic numbers of `statfs(2)`.
const NETWORK_FILE_SYSTEMS: &[(i64, &str)] =
    &[(0x6969, "nfs"), (0xFF53_4D42, "cifs"), (0xFE53_4D42, "smb2"), (0x517B, "smb"), (0x0102_1997, "9p")];

fn refuse_network(data: &Path) -> Result<(), AppError> {
    let stat = rustix::fs::statfs(data).map_err(|error| AppError::Io {
        what: "cannot look at",
        path: data.to_owned(),
        source: error.into(),
    })?;
    let found = NETWORK_FILE_SYSTEMS.iter().find(|(magic, _)| *magic == stat.f_type);
    match found {
        Some((_, kind)) => Err(AppError::NetworkFileSystem { path: data.to_owned(), kind }),
        None => Ok(()),
    }
}

/// The master key: given, or kept in the data directory and made at the first start. With it the
/// file that a rotation may replace.
fn keyring(config: &Config, data: &Path) -> Result<(Keyring, Option<PathBuf>), AppError> {
    if let Some(path) = &config.master_key_file {
        return Ok((load_keyring(path)?, Some(path.clone())));
    }
    if let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        let path = Path::new(&dir).join("master.key");
        if path.exists() {
            return Ok((Keyring::new(MasterKey::load_credential(&path)?), None));
        }
    }
    let path = data.join("master.key");
    let keyring = match load_keyring(&path) {
        Err(MasterKeyError::Missing { .. }) => Keyring::new(MasterKey::create(&path)?),
        other => other?,
    };
    Ok((keyring, Some(path)))
}

/// Whether the master key that the configuration names, if any, can be used.
pub fn check_master_key(config: &Config) -> Result<(), AppError> {
    match &config.master_key_file {
        Some(path) => Ok(load_keyring(path).map(drop)?),
        None => Ok(()),
    }
}

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends the draining. Runners go on.
pub async fn serve(app: App, ready: impl FnOnce(&App)) -> Result<(), AppError> {
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let mut signals = Signals::new(&app.data)?;
    first_admin(&app).await?;
    scheduler::recover(&app.actions).await?;
    let listener = http::listen(&app.config).await?;
    let (app, outside) = app.listening_at(listener.address().map_err(http::ServeError::Ended)?).with_outside()?;
    let leave = CancellationToken::new();
    let dispatch = Dispatch::new(app.actions.clone(), "/proc/self/exe", tasks.clone(), stop.child_token());
    let dispatch = dispatch.until(leave.clone());
    tasks.spawn(dispatch.clone().run());
    tasks.spawn(outbound::run_tasks::run(app.actions.clone(), outside, tasks.clone(), stop.child_token()));
    tasks.spawn(scheduler::run(app.actions.clone(), stop.child_token()));
    let client = outbound::client(&app.config.outbound_allow)?;
    tasks.spawn(outbound::webhooks::deliver(app.actions.clone(), client, stop.child_token()));
    let client = outbound::client_for_calls(&app.config.outbound_allow)?;
    tasks.spawn(outbound::answers::answer(app.actions.clone(), app.queries.clone(), client, stop.child_token()));
    let web = http::Web::new(app.actions.clone(), app.queries.clone(), Arc::clone(&app.config), stop.child_token());
    let door = http::compat::open_door(&app.data).map_err(|source| AppError::Io {
        what: "cannot open the socket for running tasks in",
        path: app.data.clone(),
        source,
    })?;
    tasks.spawn(serve_tasks(door, web.clone(), stop.child_token()));
    tell_set_up(&app).await?;
    ready(&app);
    let mut serving = std::pin::pin!(http::serve(listener, web, stop.child_token()));
    let served = tokio::select! {
        served = &mut serving => Some(served),
        () = signals.next() => None,
    };
    let (living, patience) = (dispatch.living(), app.config.drain);
    tracing::info!(phases = living, "draining: requests end, runs go on");
    stop.cancel();
    tasks.close();
    let served = async {
        let served = match served {
            Some(served) => Ok(served),
            None => tokio::time::timeout(LINGER, &mut serving).await,
        };
        served.unwrap_or_else(|_| {
            tracing::warn!("some connections did not end in time");
            Ok(())
        })
    };
    // Chains that end by then are taken over; the others are, at the next start.
    let drained = async { tokio::join!(served, tokio::time::timeout(patience, tasks.wait())) };
    let served = tokio::select! {
        (served, _) = drained => served,
        () = signals.next() => {
            tracing::warn!("asked twice to end: some work is left to the next start");
            Ok(())
        }
    };
    leave.cancel();
    if tokio::time::timeout(LAST_WORDS, tasks.wait()).await.is_err() {
        tracing::warn!("some work did not end in time");
    }
    Ok(served?)
}

async fn serve_tasks(door: http::compat::Doorway, web: http::Web, stop: CancellationToken) {
    if let Err(error) = http::compat::serve_door(door, web, stop).await {
        tracing::error!(%error, "running tasks are not served any more");
    }
}

/// How long open connections may take to end.
const LINGER: Duration = Duration::from_secs(5);
/// How long what is left may take to notice that nobody waits any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What asks a server to end.
struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn new(data: &Path) -> Result<Self, AppError> {
        let failed = |source| AppError::Io { what: "cannot listen to signals for", path: data.to_owned(), source };
        Ok(Self {
            term: signal(SignalKind::terminate()).map_err(failed)?,
            int: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// Makes the admin that a password file asks for, when nobody can sign in yet.
async fn first_admin(app: &App) -> Result<(), AppError> {
    let Some(path) = &app.config.admin_password_file else { return Ok(()) };
    if !app.actions.needs_set_up()? {
        return Ok(());
    }
    let text = fs::read_to_string(path).map_err(|source| AppError::Io {
        what: "cannot read the admin password file",
        path: path.clone(),
        source,
    })?;
    let password = Secret::new(text.trim_end_matches(['\n', '\r']).to_owned());
    let name = UserName::new("admin").map_err(|error| AppError::AdminPassword(error.to_string()))?;
    app.actions.bootstrap_admin(name, password).await.map_err(|error| AppError::AdminPassword(error.to_string()))?;
    Ok(())
}

/// With no user yet, the link that makes the first one is printed and written beside the data.
async fn tell_set_up(app: &App) -> Result<(), AppError> {
    let url = &app.actions.setup().public_url;
    let path = app.data.join(http::SETUP_LINK);
    if !app.actions.needs_set_up()? {
        let _ = fs::remove_file(&path);
        return Ok(app.actions.end_set_up().await?);
    }
    let token = app.actions.set_up_token().await?;
    let link = format!("{url}/setup?token={}", token.expose());
    write_private(&path, &link).map_err(|source| AppError::Io { what: "cannot write", path: path.clone(), source })?;
    eprintln!("no user exists yet; set up the first one at\n  {link}\n  (also in {})", path.display());
    Ok(())
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}
