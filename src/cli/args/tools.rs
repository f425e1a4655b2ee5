//! audit, completions, man.

use std::path::PathBuf;

use clap::Subcommand;

use super::people::Place;

/// The audit log: verify its chain, export it
///
/// It holds every change and every refused attempt, each entry with the hash of the one before.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock audit verify                          the server's log
  airlock audit export --output audit.jsonl     then, anywhere and any time:
  airlock audit verify audit.jsonl")]
pub struct Audit {
    #[command(subcommand)]
    pub verb: AuditVerb,
}

#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Check that no entry was changed or taken out; names the first that does not fit
    Verify {
        /// An exported log (JSON lines), or - for standard input [default: the server's log]
        file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Write the whole log as JSON lines
    Export {
        /// Where to; must not exist yet [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
}

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock completions bash > /etc/bash_completion.d/airlock
  airlock completions fish > ~/.config/fish/completions/airlock.fish")]
pub struct Completions {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// Print the manual page, or write one for every verb
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock man | man -l -
  airlock man --dir /usr/local/share/man/man1")]
pub struct Man {
    /// Write a page for every verb into this directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
