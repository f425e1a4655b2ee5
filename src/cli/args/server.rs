//! serve, demo, check.

use std::path::PathBuf;

use super::Shown;
use crate::config::{Flags, Listen};

/// Run the server
///
/// Prints `airlock ready at URL` when it listens. With no user yet it also prints a link with which
/// the first admin is set up. SIGTERM drains: requests end, runs go on and are found again by the
/// next start.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = "\
Examples
  airlock serve
  airlock serve --data /srv/airlock --listen 0.0.0.0:7070 --tls self-signed
  airlock serve --admin-password-file /run/secrets/admin

Every flag is also a key of the configuration file and a variable: `--slots` is `slots` and
AIRLOCK_SLOTS. A flag is stronger than a variable, a variable stronger than the file. The token for
/metrics may also be a value, as `metrics_token` and AIRLOCK_METRICS_TOKEN.")]
pub struct Serve {
    #[command(flatten)]
    pub settings: Flags,
}

/// Run a server with example stacks, one of them waiting for you
///
/// Makes an admin with a new password, which is printed and kept nowhere but hashed, and a shop: its
/// first deployment, a task that has finished, and a change that waits for you to confirm it. With
/// `terraform` or `tofu` on the PATH there is a stack of that kind, too. Started again on the same
/// directory it goes on where it was, with another password.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = "\
Examples
  airlock demo
  airlock demo --data /tmp/demo --listen 127.0.0.1:0")]
pub struct Demo {
    /// Directory of the demo [default: ./airlock-demo]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address and port; port 0 takes a free one [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<Listen>,
}

/// Say what this host offers, and what to do about what is missing
///
/// Namespaces, cgroups, Landlock, disk, clock, configuration. What matters is tried instead of
/// guessed: a jail is made as the server would, and a shell runs in it. Ends with 1 when the default
/// isolation cannot work here, with 64 when the configuration is wrong.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = "\
Examples
  airlock check
  airlock check --config /etc/airlock/config.toml
  airlock check --json | jq '.items[] | select(.status != \"ok\")'")]
pub struct Check {
    /// Configuration file to check [default: /etc/airlock/config.toml where it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory whose disk is looked at [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub shown: Shown,
}
