//! login, stack, run, task: verbs of a client.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::domain::{Digest, Kind, Label, Phase, RelativePath, RunId, Slug, State, TaskName, UserName};

use super::Shown;
use crate::cli::task_check::TaskCheck;

/// How the server is reached.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Reach {
    /// Trust only the certificates in this file (PEM), as for a self-signed server
    #[arg(long, value_name = "FILE", env = "AIRLOCK_CA_CERT", hide_env_values = true)]
    pub ca_cert: Option<PathBuf>,
    /// Trust any certificate: whoever sits between may read and change everything
    #[arg(long)]
    pub insecure: bool,
}

/// Sign in to a server and remember it
///
/// Asks for name and password on the terminal, or reads them from standard input. Address and token
/// are stored for you alone (0600) in $XDG_CONFIG_HOME/airlock/login.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock login http://127.0.0.1:7070
  airlock login https://airlock.example.org --user mia
  airlock login https://airlock.example.org --token < key      an API key
  airlock login --forget")]
pub struct Login {
    /// The server's address, such as https://airlock.example.org
    #[arg(required_unless_present = "forget")]
    pub url: Option<String>,
    /// Name to sign in with [default: ask]
    #[arg(long, value_name = "NAME", conflicts_with = "token")]
    pub user: Option<UserName>,
    /// Ask for an API key or a token instead of name and password
    #[arg(long)]
    pub token: bool,
    /// Forget the stored server and end the session
    #[arg(long, conflicts_with_all = ["url", "user", "token"])]
    pub forget: bool,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub reach: Reach,
}

/// Stacks: list, show, create, upload to, lock
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock stack list
  airlock stack create Shop --vendor terraform --git https://example.org/infra.git --project-root shop
  airlock stack create Site --vendor custom --plan ./plan.sh --apply ./apply.sh --upload ./site
  airlock stack lock shop --note \"moving the database\"")]
pub struct Stack {
    #[command(subcommand)]
    pub verb: StackVerb,
}

#[derive(Debug, Subcommand)]
pub enum StackVerb {
    /// List the stacks that you may see
    List {
        /// Only stacks whose newest run is in this state
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<State>,
        /// Only stacks with this label
        #[arg(long, value_name = "LABEL")]
        label: Option<Label>,
        /// Only stacks with these words in their name or description
        #[arg(long, value_name = "WORDS")]
        search: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Show one stack
    Show {
        /// The stack's slug
        stack: Slug,
        #[command(flatten)]
        how: How,
    },
    Create(Box<NewStack>),
    /// Upload a directory or a .tar.gz as the stack's source
    Upload {
        /// The stack's slug
        stack: Slug,
        /// A directory (without its .git), or a .tar.gz
        path: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Keep others from changing a stack
    Lock {
        /// The stack's slug
        stack: Slug,
        /// Why, for the others
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Let others change the stack again
    Unlock {
        /// The stack's slug
        stack: Slug,
        #[command(flatten)]
        how: How,
    },
}

/// Make a stack, from flags or from a JSON file
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock stack create Shop --vendor opentofu --git https://example.org/infra.git
  airlock stack create Site --vendor custom --plan ./plan.sh --apply ./apply.sh --upload ./site
  airlock stack create --file stack.json        the shape of POST /api/v1/stacks")]
pub struct NewStack {
    /// What people call it
    #[arg(required_unless_present = "file")]
    pub name: Option<String>,
    /// What addresses call it [default: made from the name]
    #[arg(long)]
    pub slug: Option<Slug>,
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// May be given several times
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<Label>,
    /// What gives the phases their commands
    #[arg(long, value_enum, value_name = "KIND", required_unless_present = "file")]
    pub vendor: Option<VendorKind>,
    /// Binary for terraform, opentofu, where it is not the vendor's own name
    #[arg(long, value_name = "NAME")]
    pub binary: Option<String>,
    /// Command for custom: make ready
    #[arg(long, value_name = "CMD")]
    pub init: Option<String>,
    /// Command for custom: exit code 0 = no change, 2 = changes
    #[arg(long, value_name = "CMD")]
    pub plan: Option<String>,
    /// Command for custom
    #[arg(long, value_name = "CMD")]
    pub apply: Option<String>,
    /// Command for custom
    #[arg(long, value_name = "CMD")]
    pub destroy: Option<String>,
    /// Apply changes without asking
    #[arg(long)]
    pub autodeploy: bool,
    /// Source: a git repository
    #[arg(long, value_name = "URL", conflicts_with = "upload")]
    pub git: Option<String>,
    #[arg(long, value_name = "BRANCH", requires = "git", default_value = "main")]
    pub branch: String,
    /// Source: upload this directory or .tar.gz
    #[arg(long, value_name = "PATH")]
    pub upload: Option<PathBuf>,
    /// Directory of the source that commands run in
    #[arg(long, value_name = "PATH")]
    pub project_root: Option<RelativePath>,
    /// The whole stack as JSON, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "name", "slug", "description", "labels", "vendor", "binary", "init", "plan", "apply", "destroy", "autodeploy",
        "git", "upload", "project_root"])]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VendorKind {
    Terraform,
    #[value(name = "opentofu")]
    OpenTofu,
    Custom,
}

/// Runs: trigger, follow, confirm, discard, stop
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock run trigger shop --wait               ends with 2 when changes wait for confirmation
  airlock run show run_01K9…
  airlock run confirm run_01K9… --wait
  airlock run review run_01K9… --approve
  airlock run logs run_01K9… -f
  airlock run stop run_01K9… --offline --data /srv/airlock")]
pub struct Run {
    #[command(subcommand)]
    pub verb: RunVerb,
}

#[derive(Debug, Subcommand)]
pub enum RunVerb {
    Trigger(Trigger),
    /// List runs, the newest first
    List {
        /// Only this stack's
        stack: Option<Slug>,
        #[arg(long, value_name = "KIND", value_parser = kind)]
        kind: Option<Kind>,
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<State>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        how: How,
    },
    /// Show one run and what it would change
    Show {
        /// The run's id, such as run_01K9…
        run: RunId,
        #[command(flatten)]
        how: How,
    },
    Confirm(Confirm),
    Review(Review),
    /// Drop an unconfirmed run; its sealed workspace is destroyed
    Discard(Decide),
    Stop(Stop),
    /// Cancel a run that has not started
    Cancel(Decide),
    /// The same again: a new run that links back
    Retry {
        /// The run's id, such as run_01K9…
        run: RunId,
        #[command(flatten)]
        waiting: Waiting,
        #[command(flatten)]
        how: How,
    },
    Logs(Logs),
}

/// Start a run on a stack
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock run trigger shop
  airlock run trigger shop --kind proposed --commit \"$(git rev-parse HEAD)\" --wait
  airlock run trigger shop -f --message \"new certificates\"")]
pub struct Trigger {
    /// The stack's slug
    pub stack: Slug,
    /// tracked (a deployment), proposed (a preview), destroy
    #[arg(long, value_name = "KIND", default_value = "tracked", value_parser = trigger_kind)]
    pub kind: Kind,
    /// A commit other than the branch's newest, by its whole id
    #[arg(long, value_name = "SHA")]
    pub commit: Option<String>,
    /// Why, for the others
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Runtime configuration for this run, YAML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub waiting: Waiting,
    #[command(flatten)]
    pub how: How,
}

/// Whether to stay until the run is at rest.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Waiting {
    /// Wait, and end with the run's result: 0 finished, 2 needs confirmation, else 1
    #[arg(long)]
    pub wait: bool,
    /// As --wait, and print what the run prints
    #[arg(long, short)]
    pub follow: bool,
}

/// Apply what an unconfirmed run has planned
#[derive(Debug, clap::Args)]
pub struct Confirm {
    /// The run's id, such as run_01K9…
    pub run: RunId,
    /// Why, for the others
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Confirm only if this is still what was planned
    #[arg(long, value_name = "DIGEST")]
    pub plan_digest: Option<Digest>,
    #[command(flatten)]
    pub waiting: Waiting,
    #[command(flatten)]
    pub how: How,
}

/// Say yes or no to a run that waits
///
/// Where the stack has approval policies, they decide what the reviews come to.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("decision").required(true),
    after_help = "\
Examples
  airlock run review run_01K9… --approve
  airlock run review run_01K9… --reject --note \"the database would be replaced\""
)]
pub struct Review {
    /// The run's id, such as run_01K9…
    pub run: RunId,
    /// Let it go on, as far as you are concerned
    #[arg(long, group = "decision")]
    pub approve: bool,
    /// Do not let it go on
    #[arg(long, group = "decision")]
    pub reject: bool,
    /// Why, for the others
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Review only if this is still what was planned
    #[arg(long, value_name = "DIGEST")]
    pub plan_digest: Option<Digest>,
    #[command(flatten)]
    pub how: How,
}

/// Decide about a run.
#[derive(Debug, clap::Args)]
pub struct Decide {
    /// The run's id, such as run_01K9…
    pub run: RunId,
    /// Why, for the others
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    #[command(flatten)]
    pub how: How,
}

/// Stop a run that has not begun to change anything
///
/// With --offline the runner itself is asked, for when the server is down; the server learns of it
/// when it is back. The runner then stops whatever phase it is in, applying included.
#[derive(Debug, clap::Args)]
pub struct Stop {
    /// The run's id, such as run_01K9…
    pub run: RunId,
    /// Why, for the others
    #[arg(long, value_name = "TEXT", conflicts_with = "offline")]
    pub note: Option<String>,
    /// Ask the runner itself, without the server
    #[arg(long, requires = "data")]
    pub offline: bool,
    /// Data directory of the server that is down
    #[arg(long, value_name = "DIR", requires = "offline")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub how: How,
}

/// Print what a run printed
///
/// Colours stay on a terminal; other control sequences never reach it. With --follow new text comes
/// as it is printed, exactly once, also when the server restarts meanwhile.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// The run's id, such as run_01K9…
    pub run: RunId,
    /// Only this phase's
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    pub phase: Option<Phase>,
    /// Stay until the run has ended
    #[arg(long, short)]
    pub follow: bool,
    /// Print the bytes as they are, control sequences included
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    #[command(flatten)]
    pub how: How,
}

/// Tasks: one command on a stack, or what its source declares
///
/// While a command runs nothing else changes the stack. Declared tasks run beside each other.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock task perform shop --follow -- terraform state list
  airlock task perform shop --no-init --wait -- 'df -h | tail -1'
  airlock task run shop nightly-report --variable MONTH=2026-11 --wait
  airlock task list shop")]
pub struct Task {
    #[command(subcommand)]
    pub verb: TaskVerb,
}

#[derive(Debug, Subcommand)]
pub enum TaskVerb {
    Perform(Perform),
    Run(RunDeclared),
    Check(TaskCheck),
    /// List tasks, the newest first
    List {
        /// Only this stack's
        stack: Option<Slug>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        how: How,
    },
}

/// Perform a command on the stack's initialized workspace
///
/// One argument is given to `sh -c` as it stands. Several are quoted first, so that the command gets
/// exactly these arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock task perform shop --wait -- terraform state list
  airlock task perform shop --follow -- 'psql -c \"select 1\" && echo reachable'")]
pub struct Perform {
    /// The stack's slug
    pub stack: Slug,
    /// Do not initialize the workspace first
    #[arg(long)]
    pub no_init: bool,
    #[command(flatten)]
    pub waiting: Waiting,
    #[command(flatten)]
    pub how: How,
    /// The command
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Run a task that the stack's source declares
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock task run shop nightly-report --wait
  airlock task run shop nightly-report --variable MONTH=2026-11 --variable shop:size=3 --follow")]
pub struct RunDeclared {
    /// The stack's slug
    pub stack: Slug,
    /// The task's name in the configuration file
    pub name: TaskName,
    /// A variable for this run: NAME=VALUE, or PREFIX:NAME=VALUE (may be repeated)
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = pair)]
    pub variables: Vec<(String, String)>,
    #[command(flatten)]
    pub waiting: Waiting,
    #[command(flatten)]
    pub how: How,
}

/// How a client verb answers and reaches the server.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct How {
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub reach: Reach,
}

fn words<T>(what: &str, word: &str, found: Option<T>, all: impl Iterator<Item = &'static str>) -> Result<T, String> {
    found.ok_or_else(|| format!("`{word}` is no {what}; known are {}", all.collect::<Vec<_>>().join(", ")))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn state(word: &str) -> Result<State, String> {
    words("state", word, State::from_word(word), State::ALL.into_iter().map(State::word))
}

fn kind(word: &str) -> Result<Kind, String> {
    words("kind", word, Kind::from_word(word), Kind::ALL.into_iter().map(Kind::word))
}

fn phase(word: &str) -> Result<Phase, String> {
    words("phase", word, Phase::from_word(word), Phase::ALL.into_iter().map(Phase::word))
}

fn trigger_kind(word: &str) -> Result<Kind, String> {
    let known = [Kind::Tracked, Kind::Proposed, Kind::Destroy];
    let found = known.into_iter().find(|kind| kind.word() == word);
    words("kind that can be triggered", word, found, known.into_iter().map(Kind::word))
}
