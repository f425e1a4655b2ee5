//! One immutable configuration: built-in values, the file, variables, flags, each over the one before.
//!
//! Secrets are files; the one that may also be a value is never shown. An unknown key of the file is an
//! error that names the nearest known one; an unknown variable is not, because tasks carry `AIRLOCK_…`
//! variables of their own. What a key holds is read by its type, in `values`, whatever place it is from.

mod flags;
mod values;

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

pub use flags::Flags;
pub use values::{List, Listen, Named, Proxies, Proxy, PublicUrl, TlsMode, UidRange};

use crate::{
    crypt::{self, Secret},
    domain::limits,
};

/// Where the configuration file is when nobody names one.
pub const DEFAULT_FILE: &str = "/etc/airlock/config.toml";

/// Everything an operator can set.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// What links, callbacks and the issuer name. None: the address listened on.
    pub public_url: Option<String>,
    pub data: PathBuf,
    pub slots: usize,
    pub declared_task_cap: usize,
    pub drain: Duration,
    pub stop_grace: Duration,
    /// Directories below which local git sources may lie.
    pub local_sources: Vec<PathBuf>,
    pub provider_mirror: Option<PathBuf>,
    /// Binaries that stacks may name, by name.
    pub binaries: BTreeMap<String, PathBuf>,
    pub runtime_images: BTreeMap<String, String>,
    /// Hosts of this machine and its kind that the server calls all the same; also those to which a guest's
    /// bound headers go over `http`.
    pub outbound_allow: Vec<String>,
    pub uid_range: UidRange,
    pub log_retention_days: u32,
    pub artifact_retention_days: u32,
    pub state_versions: u32,
    pub upload_versions: u32,
    pub trusted_proxies: Proxies,
    pub tls: Tls,
    /// What `/metrics` asks for. None: it answers this machine alone.
    pub metrics_token: Option<Secret<String>>,
    pub run_task_retries: u32,
    pub run_task_retry: Duration,
    pub run_task_progress: Duration,
    pub run_task_total: Duration,
    pub master_key_file: Option<PathBuf>,
    pub admin_password_file: Option<PathBuf>,
    /// Whether stacks may ask for `unconfined`.
    pub allow_unconfined: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    Off,
    SelfSigned,
    Given { cert: PathBuf, key: PathBuf },
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {why}")]
pub struct BadConfig {
    place: String,
    why: String,
}

fn bad(place: impl Into<String>, why: impl Into<String>) -> BadConfig {
    BadConfig { place: place.into(), why: why.into() }
}

/// The keys of the file, for suggestions. Tests hold them against [`Flags`], variables and `serve`.
pub const KEYS: &[&str] = &[
    "listen",
    "public_url",
    "data",
    "slots",
    "declared_task_cap",
    "drain_seconds",
    "stop_grace_seconds",
    "local_sources",
    "provider_mirror",
    "binaries",
    "runtime_images",
    "outbound_allow",
    "uid_range",
    "log_retention_days",
    "artifact_retention_days",
    "state_versions",
    "upload_versions",
    "trusted_proxies",
    "tls",
    "tls_cert",
    "tls_key",
    "metrics_token",
    "metrics_token_file",
    "run_task_retries",
    "run_task_retry_seconds",
    "run_task_progress_seconds",
    "run_task_total_seconds",
    "master_key_file",
    "admin_password_file",
    "allow_unconfined",
];

impl Config {
    /// Reads the configuration of this process.
    pub fn load(flags: &Flags) -> Result<Self, BadConfig> {
        let file = File::read(flags.config.as_deref())?;
        Self::from_parts(&Places { flags, file: &file, variable: &|name| env::var(name).ok() })
    }

    /// As [`Config::load`], for a server: the files that it names are there.
    pub fn load_whole(flags: &Flags) -> Result<Self, BadConfig> {
        let file = File::read(flags.config.as_deref())?;
        let places = Places { flags, file: &file, variable: &|name| env::var(name).ok() };
        let config = Self::from_parts(&places)?;
        config.check_files(&places)?;
        Ok(config)
    }

    /// Whether a token opens `/metrics` to anybody who shows it.
    pub fn opens_metrics(&self, shown: &str) -> bool {
        self.metrics_token.as_ref().is_some_and(|token| crypt::same(token.expose().as_bytes(), shown.as_bytes()))
    }

    fn from_parts(places: &Places<'_>) -> Result<Self, BadConfig> {
        let (set, flags, file) = (places, places.flags, &places.file.keys);
        macro_rules! find {
            ($key:ident) => {
                set.find(stringify!($key), flags.$key.as_ref(), file.$key.as_ref())?
            };
        }
        let seconds = |found: Option<u64>, default: Duration| found.map_or(default, Duration::from_secs);
        let versions = |found: Option<NonZeroU32>, default: u32| found.map_or(default, NonZeroU32::get);
        let listen = find!(listen).map_or(SocketAddr::from(([127, 0, 0, 1], 7070)), |Listen(address)| address);
        Ok(Self {
            listen,
            public_url: find!(public_url).map(|PublicUrl(url)| url),
            data: find!(data).unwrap_or_else(default_data),
            slots: slots(set, find!(slots))?,
            declared_task_cap: find!(declared_task_cap).unwrap_or(3),
            drain: seconds(find!(drain_seconds), Duration::from_secs(20)),
            stop_grace: seconds(find!(stop_grace_seconds), limits::STOP_GRACE),
            local_sources: find!(local_sources).unwrap_or_default().0,
            provider_mirror: find!(provider_mirror),
            binaries: find!(binaries).unwrap_or_default().0,
            runtime_images: find!(runtime_images).unwrap_or_default().0,
            outbound_allow: find!(outbound_allow).unwrap_or_default().0.into_iter().map(|allowed| allowed.0).collect(),
            uid_range: find!(uid_range).unwrap_or_default(),
            log_retention_days: find!(log_retention_days).unwrap_or(400),
            artifact_retention_days: find!(artifact_retention_days).unwrap_or(90),
            state_versions: versions(find!(state_versions), 100),
            upload_versions: versions(find!(upload_versions), 20),
            trusted_proxies: find!(trusted_proxies).unwrap_or_default().into(),
            tls: tls(set, find!(tls), find!(tls_cert), find!(tls_key))?,
            metrics_token: metrics_token(set)?,
            run_task_retries: find!(run_task_retries)
                .unwrap_or(limits::RUN_TASK_RETRIES)
                .clamp(1, limits::RUN_TASK_RETRIES_MOST),
            run_task_retry: seconds(find!(run_task_retry_seconds), limits::RUN_TASK_RETRY),
            run_task_progress: seconds(find!(run_task_progress_seconds), limits::RUN_TASK_PROGRESS),
            run_task_total: seconds(find!(run_task_total_seconds), limits::RUN_TASK_TOTAL),
            master_key_file: find!(master_key_file),
            admin_password_file: find!(admin_password_file),
            allow_unconfined: find!(allow_unconfined).unwrap_or(false),
        })
    }

    fn check_files(&self, set: &Places<'_>) -> Result<(), BadConfig> {
        let is_there = |key: &str, flagged: bool, path: &Path, what: &str| match path.is_file() {
            true => Ok(()),
            false => Err(bad(set.name(key, flagged), format!("{what}{} is no file", path.display()))),
        };
        for (name, path) in &self.binaries {
            is_there("binaries", set.flags.binaries.is_some(), path, &format!("{name}: "))?;
        }
        if let Tls::Given { cert, key } = &self.tls {
            is_there("tls_cert", set.flags.tls_cert.is_some(), cert, "")?;
            is_there("tls_key", set.flags.tls_key.is_some(), key, "")?;
        }
        match &self.master_key_file {
            Some(path) => is_there("master_key_file", set.flags.master_key_file.is_some(), path, ""),
            None => Ok(()),
        }
    }
}

/// Where keys are looked up: flags, variables, file, in that order.
struct Places<'a> {
    flags: &'a Flags,
    file: &'a File,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Places<'_> {
    fn var(&self, key: &str) -> Option<String> {
        (self.variable)(&variable_of(key)).filter(|value| !value.is_empty())
    }

    fn find<T: FromStr + Clone>(&self, key: &str, flag: Option<&T>, file: Option<&T>) -> Result<Option<T>, BadConfig>
    where
        T::Err: std::fmt::Display,
    {
        // It is looked up in any case, so that a test sees that it is.
        match (flag, self.var(key)) {
            (Some(value), _) => Ok(Some(value.clone())),
            (None, None) => Ok(file.cloned()),
            (None, Some(text)) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(bad(variable_of(key), reason(&text, &error))),
            },
        }
    }

    /// The place that a key which is set is from.
    fn place(&self, key: &str, flagged: bool) -> Place {
        match (flagged, self.var(key)) {
            (true, _) => Place::Flag,
            (false, Some(_)) => Place::Variable,
            (false, None) => Place::File,
        }
    }

    /// What a key is called there.
    fn name(&self, key: &str, flagged: bool) -> String {
        match self.place(key, flagged) {
            Place::Flag => format!("--{}", key.replace('_', "-")),
            Place::Variable => variable_of(key),
            Place::File => self.file.name(key),
        }
    }
}

/// The greater, the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    File,
    Variable,
    Flag,
}

fn variable_of(key: &str) -> String {
    format!("AIRLOCK_{}", key.to_uppercase())
}

/// What is wrong with a text, which is named once.
fn reason(text: &str, error: &impl std::fmt::Display) -> String {
    let error = error.to_string();
    if error.contains(text) { error } else { format!("`{text}`: {error}") }
}

fn slots(set: &Places<'_>, found: Option<usize>) -> Result<usize, BadConfig> {
    let slots = found.unwrap_or_else(cores).max(limits::SLOTS_MIN);
    if slots <= limits::SLOTS_MAX {
        return Ok(slots);
    }
    let name = set.name("slots", set.flags.slots.is_some());
    Err(bad(name, format!("at most {} are allowed", limits::SLOTS_MAX)))
}

/// A value or a file, both from one place: of a flag, of variables, of the file.
fn metrics_token(set: &Places<'_>) -> Result<Option<Secret<String>>, BadConfig> {
    let (key, file_key) = ("metrics_token", "metrics_token_file");
    let flag = set.flags.metrics_token_file.clone();
    let variables = (set.var(key).map(Secret::new), set.var(file_key).map(PathBuf::from));
    let (value, path) = match (flag, variables) {
        (Some(path), _) => (None, Some(path)),
        (None, (None, None)) => (set.file.keys.metrics_token.clone(), set.file.keys.metrics_token_file.clone()),
        (None, both) => both,
    };
    let flagged = set.flags.metrics_token_file.is_some();
    let (token, name) = match (value, path) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(bad(set.name(key, false), format!("it and {file_key} exclude each other"))),
        (Some(value), None) => (value, set.name(key, false)),
        (None, Some(path)) => {
            let name = set.name(file_key, flagged);
            match fs::read_to_string(&path) {
                Ok(text) => (Secret::new(text.trim_end().to_owned()), name),
                Err(error) => return Err(bad(name, format!("{}: {error}", path.display()))),
            }
        }
    };
    match token.expose().is_empty() {
        true => Err(bad(name, "is empty")),
        false => Ok(Some(token)),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(limits::SLOTS_MIN, Into::into)
}

/// `/var/lib/airlock` for root under systemd, else a directory beside where the server was started.
fn default_data() -> PathBuf {
    let service = rustix::process::geteuid().is_root() && env::var_os("INVOCATION_ID").is_some();
    PathBuf::from(if service { "/var/lib/airlock" } else { "./airlock-data" })
}

fn tls(set: &Places<'_>, mode: Option<TlsMode>, cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Tls, BadConfig> {
    let name = |key: &str, flagged: bool| set.name(key, flagged);
    // A mode and a certificate say the same thing: what the stronger place says holds.
    let of_mode = mode.map(|_| set.place("tls", set.flags.tls.is_some()));
    let of_cert = cert.as_ref().map(|_| set.place("tls_cert", set.flags.tls_cert.is_some()));
    let of_key = key.as_ref().map(|_| set.place("tls_key", set.flags.tls_key.is_some()));
    let (mode, cert, key) = match of_mode.cmp(&of_cert.max(of_key)) {
        Ordering::Greater => (mode, None, None),
        Ordering::Less => (None, cert, key),
        Ordering::Equal => (mode, cert, key),
    };
    match (mode, cert, key) {
        (None | Some(TlsMode::Off), None, None) => Ok(Tls::Off),
        (Some(TlsMode::SelfSigned), None, None) => Ok(Tls::SelfSigned),
        (None, Some(cert), Some(key)) => Ok(Tls::Given { cert, key }),
        (Some(mode), ..) => {
            let why = format!("`{}` and a certificate exclude each other", mode.word());
            Err(bad(name("tls", set.flags.tls.is_some()), why))
        }
        (None, Some(_), None) => {
            Err(bad(name("tls_cert", set.flags.tls_cert.is_some()), "tls_key is missing beside it"))
        }
        (None, None, Some(_)) => {
            Err(bad(name("tls_key", set.flags.tls_key.is_some()), "tls_cert is missing beside it"))
        }
    }
}

/// The file, as it was read: without one, nothing is set.
#[derive(Debug, Default)]
struct File {
    keys: Flags,
    place: String,
    text: String,
}

impl File {
    fn read(named: Option<&Path>) -> Result<Self, BadConfig> {
        let path = match named {
            Some(path) => path,
            None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
            None => return Ok(Self::default()),
        };
        let place = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| bad(&place, error.to_string()))?;
        Self::parse(place, text)
    }

    fn parse(place: String, text: String) -> Result<Self, BadConfig> {
        match toml::from_str(&text) {
            Ok(keys) => Ok(Self { keys, place, text }),
            Err(error) => {
                let message = error.to_string();
                let why = match unknown_key(&message).and_then(nearest) {
                    Some(key) => format!("{}\ndid you mean `{key}`?", message.trim_end()),
                    None => message.trim_end().to_owned(),
                };
                Err(bad(place, why))
            }
        }
    }

    /// A key with its file and line.
    fn name(&self, key: &str) -> String {
        match self.line_of(key) {
            Some(line) => format!("{}, line {line}: {key}", self.place),
            None => key.to_owned(),
        }
    }

    fn line_of(&self, key: &str) -> Option<usize> {
        let table = toml::de::DeTable::parse(&self.text).ok()?;
        let begin = table.get_ref().keys().find(|known| known.get_ref() == key)?.span().start;
        Some(self.text[..begin].matches('\n').count() + 1)
    }
}

fn unknown_key(message: &str) -> Option<&str> {
    message.split("unknown field `").nth(1)?.split('`').next()
}

fn nearest(unknown: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|key| (strsim::damerau_levenshtein(key, unknown), *key))
        .min()
        .filter(|(distance, _)| *distance <= 4)
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests;
