//! One immutable configuration: built-in values, the file, variables, flags, each over the one before.
//!
//! Secrets are files, never values; nothing here is secret. An unknown key of the file is an error
//! that names the nearest known one; an unknown variable is not, because tasks carry `AIRLOCK_…`
//! variables of their own.

use std::{
    collections::BTreeMap,
    env, fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::domain::limits;

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
    pub trusted_proxies: Vec<IpAddr>,
    pub tls: Tls,
    pub metrics_token_file: Option<PathBuf>,
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

/// The uids that jails use when the server is root, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidRange {
    pub first: u32,
    pub last: u32,
}

/// What flags set, where they are given.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub listen: Option<String>,
    pub slots: Option<usize>,
    pub admin_password_file: Option<PathBuf>,
    pub master_key_file: Option<PathBuf>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub tls: Option<String>,
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

/// The file's keys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    listen: Option<String>,
    public_url: Option<String>,
    data: Option<PathBuf>,
    slots: Option<usize>,
    declared_task_cap: Option<usize>,
    drain_seconds: Option<u64>,
    stop_grace_seconds: Option<u64>,
    local_sources: Option<Vec<PathBuf>>,
    provider_mirror: Option<PathBuf>,
    binaries: Option<BTreeMap<String, PathBuf>>,
    runtime_images: Option<BTreeMap<String, String>>,
    outbound_allow: Option<Vec<String>>,
    uid_range: Option<String>,
    log_retention_days: Option<u32>,
    artifact_retention_days: Option<u32>,
    state_versions: Option<u32>,
    upload_versions: Option<u32>,
    trusted_proxies: Option<Vec<IpAddr>>,
    tls: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    metrics_token_file: Option<PathBuf>,
    run_task_retries: Option<u32>,
    run_task_retry_seconds: Option<u64>,
    run_task_progress_seconds: Option<u64>,
    run_task_total_seconds: Option<u64>,
    master_key_file: Option<PathBuf>,
    admin_password_file: Option<PathBuf>,
    allow_unconfined: Option<bool>,
}

/// The keys of the file, for suggestions. A test holds them against [`Document`].
const KEYS: &[&str] = &[
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
        Self::from_parts(flags, read_file(flags.config.as_deref())?, &|name| env::var(name).ok())
    }

    /// As [`Config::load`], with the variables given.
    fn from_parts(flags: &Flags, file: Document, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let set = Settings { variable };
        let listen = set.text("listen", flags.listen.clone(), file.listen)?.unwrap_or("127.0.0.1:7070".to_owned());
        let listen = listen
            .parse()
            .map_err(|_| bad("listen", format!("`{listen}` is not ADDRESS:PORT, such as 127.0.0.1:7070")))?;
        let slots = set.parsed("slots", flags.slots, file.slots)?.unwrap_or_else(cores).max(limits::SLOTS_MIN);
        if slots > limits::SLOTS_MAX {
            return Err(bad("slots", format!("at most {} are allowed", limits::SLOTS_MAX)));
        }
        let seconds = |key: &str, value: Option<u64>, default: u64| {
            set.parsed(key, None, value).map(|value| Duration::from_secs(value.unwrap_or(default)))
        };
        Ok(Self {
            listen,
            public_url: set.text("public_url", None, file.public_url)?.map(|url| url.trim_end_matches('/').to_owned()),
            data: set.path("data", flags.data.clone(), file.data)?.unwrap_or_else(default_data),
            slots,
            declared_task_cap: set.parsed("declared_task_cap", None, file.declared_task_cap)?.unwrap_or(3),
            drain: seconds("drain_seconds", file.drain_seconds, 20)?,
            stop_grace: seconds("stop_grace_seconds", file.stop_grace_seconds, limits::STOP_GRACE.as_secs())?,
            local_sources: set
                .list("local_sources", file.local_sources.map(|paths| strings(&paths)))
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            provider_mirror: set.path("provider_mirror", None, file.provider_mirror)?,
            binaries: file.binaries.unwrap_or_default(),
            runtime_images: file.runtime_images.unwrap_or_default(),
            outbound_allow: set.list("outbound_allow", file.outbound_allow),
            uid_range: uid_range(set.text("uid_range", None, file.uid_range)?)?,
            log_retention_days: set.parsed("log_retention_days", None, file.log_retention_days)?.unwrap_or(400),
            artifact_retention_days: set
                .parsed("artifact_retention_days", None, file.artifact_retention_days)?
                .unwrap_or(90),
            state_versions: set.parsed("state_versions", None, file.state_versions)?.unwrap_or(100),
            upload_versions: set.parsed("upload_versions", None, file.upload_versions)?.unwrap_or(20),
            trusted_proxies: file.trusted_proxies.unwrap_or_default(),
            tls: tls(flags, &set, file.tls, file.tls_cert, file.tls_key)?,
            metrics_token_file: set.path("metrics_token_file", None, file.metrics_token_file)?,
            run_task_retries: set
                .parsed("run_task_retries", None, file.run_task_retries)?
                .unwrap_or(limits::RUN_TASK_RETRIES)
                .clamp(1, limits::RUN_TASK_RETRIES_MOST),
            run_task_retry: seconds(
                "run_task_retry_seconds",
                file.run_task_retry_seconds,
                limits::RUN_TASK_RETRY.as_secs(),
            )?,
            run_task_progress: seconds(
                "run_task_progress_seconds",
                file.run_task_progress_seconds,
                limits::RUN_TASK_PROGRESS.as_secs(),
            )?,
            run_task_total: seconds(
                "run_task_total_seconds",
                file.run_task_total_seconds,
                limits::RUN_TASK_TOTAL.as_secs(),
            )?,
            master_key_file: set.path("master_key_file", flags.master_key_file.clone(), file.master_key_file)?,
            admin_password_file: set.path(
                "admin_password_file",
                flags.admin_password_file.clone(),
                file.admin_password_file,
            )?,
            allow_unconfined: set.parsed("allow_unconfined", None, file.allow_unconfined)?.unwrap_or(false),
        })
    }
}

/// Looks a key up in flag, variable, file, in that order.
struct Settings<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Settings<'_> {
    fn var(&self, key: &str) -> Option<String> {
        (self.variable)(&format!("AIRLOCK_{}", key.to_uppercase())).filter(|value| !value.is_empty())
    }

    fn text(&self, key: &str, flag: Option<String>, file: Option<String>) -> Result<Option<String>, BadConfig> {
        self.parsed(key, flag, file)
    }

    fn path(&self, key: &str, flag: Option<PathBuf>, file: Option<PathBuf>) -> Result<Option<PathBuf>, BadConfig> {
        self.parsed(key, flag, file)
    }

    fn parsed<T: std::str::FromStr>(&self, key: &str, flag: Option<T>, file: Option<T>) -> Result<Option<T>, BadConfig>
    where
        T::Err: std::fmt::Display,
    {
        if flag.is_some() {
            return Ok(flag);
        }
        match self.var(key) {
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(bad(format!("AIRLOCK_{}", key.to_uppercase()), format!("`{text}`: {error}"))),
            },
            None => Ok(file),
        }
    }

    fn list(&self, key: &str, file: Option<Vec<String>>) -> Vec<String> {
        match self.var(key) {
            Some(text) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect(),
            None => file.unwrap_or_default(),
        }
    }
}

fn strings(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(limits::SLOTS_MIN, Into::into)
}

/// `/var/lib/airlock` for root under systemd, else a directory beside where the server was started.
fn default_data() -> PathBuf {
    let service = rustix::process::geteuid().is_root() && env::var_os("INVOCATION_ID").is_some();
    PathBuf::from(if service { "/var/lib/airlock" } else { "./airlock-data" })
}

fn uid_range(text: Option<String>) -> Result<UidRange, BadConfig> {
    let Some(text) = text else { return Ok(UidRange { first: 60_000, last: 69_999 }) };
    let ends = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match ends {
        Some((first, last)) if first >= 1_000 && first <= last => Ok(UidRange { first, last }),
        _ => Err(bad(
            "uid_range",
            format!("`{text}` is not FIRST-LAST with a first of 1000 or more, such as 60000-69999"),
        )),
    }
}

fn tls(
    flags: &Flags,
    set: &Settings<'_>,
    mode: Option<String>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Tls, BadConfig> {
    let cert = set.path("tls_cert", flags.tls_cert.clone(), cert)?;
    let key = set.path("tls_key", flags.tls_key.clone(), key)?;
    match (set.text("tls", flags.tls.clone(), mode)?.as_deref(), cert, key) {
        (None | Some("off"), None, None) => Ok(Tls::Off),
        (Some("self-signed"), None, None) => Ok(Tls::SelfSigned),
        (None, Some(cert), Some(key)) => Ok(Tls::Given { cert, key }),
        (Some(mode @ ("off" | "self-signed")), ..) => {
            Err(bad("tls", format!("`{mode}` and a certificate exclude each other")))
        }
        (Some(other), ..) => Err(bad("tls", format!("`{other}` is neither `self-signed` nor `off`"))),
        (None, Some(_), None) => Err(bad("tls_key", "is missing beside tls_cert")),
        (None, None, Some(_)) => Err(bad("tls_cert", "is missing beside tls_key")),
    }
}

fn read_file(named: Option<&Path>) -> Result<Document, BadConfig> {
    let path = match named {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(Document::default()),
    };
    let place = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| bad(&place, error.to_string()))?;
    parse_file(&text).map_err(|why| bad(place, why))
}

fn parse_file(text: &str) -> Result<Document, String> {
    toml::from_str(text).map_err(|error| {
        let message = error.to_string();
        match unknown_key(&message).and_then(nearest) {
            Some(key) => format!("{}\ndid you mean `{key}`?", message.trim_end()),
            None => message.trim_end().to_owned(),
        }
    })
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
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file() {
        let file = || parse_file("slots = 3\nlisten = \"127.0.0.1:1\"\nlocal_sources = [\"/srv/git\"]").unwrap();
        let variable = |name: &str| (name == "AIRLOCK_SLOTS").then(|| "5".to_owned());
        let config = Config::from_parts(&Flags::default(), file(), &none).unwrap();
        assert_eq!((config.slots, config.listen.port()), (3, 1));
        assert_eq!(config.local_sources, [PathBuf::from("/srv/git")]);
        assert_eq!(Config::from_parts(&Flags::default(), file(), &variable).unwrap().slots, 5);
        let flags = Flags { slots: Some(7), ..Flags::default() };
        assert_eq!(Config::from_parts(&flags, file(), &variable).unwrap().slots, 7);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let error = parse_file("sluts = 3").unwrap_err();
        assert!(error.contains("did you mean `slots`?"), "{error}");
        let all = KEYS.iter().filter(|key| parse_file(&format!("{key} = 1.5")).unwrap_err().contains("unknown field"));
        assert_eq!(all.count(), 0);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |text: &str| {
            Config::from_parts(&Flags::default(), parse_file(text).unwrap(), &none).unwrap_err().to_string()
        };
        assert!(refused("listen = \"nowhere\"").starts_with("listen: `nowhere` is not ADDRESS:PORT"));
        assert!(refused("uid_range = \"0-10\"").starts_with("uid_range:"));
        assert!(refused("tls_cert = \"a\"").starts_with("tls_key:"));
        assert!(refused("slots = 100000").starts_with("slots:"));
    }
}
