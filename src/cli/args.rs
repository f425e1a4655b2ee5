//! Every verb and flag.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::task_check::TaskCheck;

/// Plan, seal, confirm, apply: safe infrastructure changes and untrusted tasks on one machine.
#[derive(Debug, Parser)]
#[command(name = "airlock", version, about, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the server.
    Serve(Serve),
    /// Tasks.
    Task(Task),
}

/// Tasks.
#[derive(Debug, clap::Args)]
pub struct Task {
    #[command(subcommand)]
    pub verb: TaskVerb,
}

#[derive(Debug, Subcommand)]
pub enum TaskVerb {
    Check(TaskCheck),
}

/// Where the server keeps its data and listens.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Serve {
    /// Data directory [default: ./airlock-data, or /var/lib/airlock under systemd]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address and port [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Configuration file [default: /etc/airlock/config.toml where it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    #[arg(long, value_name = "MODE")]
    pub tls: Option<String>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}
