//! Every key: a flag of `serve` and a key of the file, of one type.

use std::{num::NonZeroU32, path::PathBuf};

use serde::Deserialize;

use super::values::{Allowed, List, Listen, Named, Proxy, PublicUrl, TlsMode, UidRange};
use crate::crypt::Secret;

/// What one place sets: the flags, or the file.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct Flags {
    /// Configuration file [default: /etc/airlock/config.toml where it exists]
    #[serde(skip)]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory [default: ./airlock-data, or /var/lib/airlock for root under systemd]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address and port; port 0 takes a free one [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// What links, callbacks and the OIDC issuer name [default: the address listened on]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    /// Makes the user `admin` with this file's password when no user exists yet
    #[arg(long, value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// Master key kept elsewhere than in the data directory
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Runs at the same time [default: number of cores, at least 2]
    #[arg(long, value_name = "N")]
    pub slots: Option<usize>,

    /// `self-signed`, or `off`
    #[arg(long, value_name = "MODE", help_heading = "Network")]
    pub tls: Option<TlsMode>,
    /// Certificate chain, PEM; read again on SIGHUP
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub tls_key: Option<PathBuf>,
    /// Addresses and networks whose `X-Forwarded-For` is believed
    #[arg(long, value_name = "ADDR,…", help_heading = "Network")]
    pub trusted_proxies: Option<List<Proxy>>,
    /// Not a flag: other users of the host see flags. Open to this machine alone where none is set.
    #[arg(skip)]
    pub metrics_token: Option<Secret<String>>,
    /// File with the token that `/metrics` asks for; without one it answers this machine alone
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub metrics_token_file: Option<PathBuf>,

    /// Directories below which local git sources may lie
    #[arg(long, value_name = "DIR,…", help_heading = "Runs")]
    pub local_sources: Option<List<PathBuf>>,
    /// Directory that Terraform and OpenTofu take providers from
    #[arg(long, value_name = "DIR", help_heading = "Runs")]
    pub provider_mirror: Option<PathBuf>,
    /// Binaries that stacks may name
    #[arg(long, value_name = "NAME=FILE,…", help_heading = "Runs")]
    pub binaries: Option<Named<PathBuf>>,
    /// Which image one of Upsun's runtimes is
    #[arg(long, value_name = "TYPE=IMAGE,…", help_heading = "Runs")]
    pub runtime_images: Option<Named<String>>,
    /// Uids of jails when the server is root [default: 60000-69999]
    #[arg(long, value_name = "FIRST-LAST", help_heading = "Runs")]
    pub uid_range: Option<UidRange>,
    /// Let stacks ask for no jail at all
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        hide_possible_values = true, help_heading = "Runs")]
    pub allow_unconfined: Option<bool>,
    /// Declared tasks that run at once on one stack [default: 3]
    #[arg(long, value_name = "N", help_heading = "Runs")]
    pub declared_task_cap: Option<usize>,
    /// How long the server waits for work when it ends [default: 20]
    #[arg(long, value_name = "N", help_heading = "Runs")]
    pub drain_seconds: Option<u64>,
    /// What a phase gets to end in when it is stopped [default: 10]
    #[arg(long, value_name = "N", help_heading = "Runs")]
    pub stop_grace_seconds: Option<u64>,

    /// Hosts and networks that outgoing calls may reach beside public ones
    #[arg(long, value_name = "HOST,…", help_heading = "Run tasks and webhooks")]
    pub outbound_allow: Option<List<Allowed>>,
    /// Tries of a request to a run task [default: 5]
    #[arg(long, value_name = "N", help_heading = "Run tasks and webhooks")]
    pub run_task_retries: Option<u32>,
    /// The wait before the second one
    #[arg(long, value_name = "N", help_heading = "Run tasks and webhooks")]
    pub run_task_retry_seconds: Option<u64>,
    /// Silence after which a run task is given up [default: 600]
    #[arg(long, value_name = "N", help_heading = "Run tasks and webhooks")]
    pub run_task_progress_seconds: Option<u64>,
    /// Its time in all [default: 3600]
    #[arg(long, value_name = "N", help_heading = "Run tasks and webhooks")]
    pub run_task_total_seconds: Option<u64>,

    /// Days that logs are kept [default: 400]
    #[arg(long, value_name = "N", help_heading = "Keeping")]
    pub log_retention_days: Option<u32>,
    /// Days that artifacts are kept [default: 90]
    #[arg(long, value_name = "N", help_heading = "Keeping")]
    pub artifact_retention_days: Option<u32>,
    /// Versions of a managed state that are kept [default: 100]
    #[arg(long, value_name = "N", help_heading = "Keeping")]
    pub state_versions: Option<NonZeroU32>,
    /// Versions of an uploaded source that are kept [default: 20]
    #[arg(long, value_name = "N", help_heading = "Keeping")]
    pub upload_versions: Option<NonZeroU32>,
}
