//! guest.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{How, Shown};
use crate::{
    domain::{EnvName, GuestName, limits},
    manifest::parse_size,
};

/// WebAssembly programs for work that nobody needs to trust
#[derive(Clone, Debug, Args)]
pub struct Guest {
    #[command(subcommand)]
    pub verb: GuestVerb,
}

#[derive(Clone, Debug, Subcommand)]
pub enum GuestVerb {
    Import(GuestImport),
    List(GuestList),
    Remove(GuestRemove),
    Run(Box<GuestRun>),
    Inspect(GuestInspect),
}

/// Register a guest with a server
///
/// The server compiles it in a bounded jail before it keeps it. What has the name already is replaced;
/// runs that began with it go on with it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples
  airlock guest import agent.wasm
  airlock guest import python.wasm --name python --interpreter")]
pub struct GuestImport {
    /// A core module (WASI preview 1) or a component (preview 2)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What stacks and tasks will call it [default: the file's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// It interprets scripts, and gets fuel for that
    #[arg(long)]
    pub interpreter: bool,
    #[command(flatten)]
    pub how: How,
}

/// List the guests that stacks and tasks may name
#[derive(Clone, Debug, Args)]
pub struct GuestList {
    #[command(flatten)]
    pub how: How,
}

/// Remove a guest that no stack names any more
#[derive(Clone, Debug, Args)]
pub struct GuestRemove {
    /// Its name
    pub name: GuestName,
    #[command(flatten)]
    pub how: How,
}

/// Try a guest here, without a server
///
/// It runs in the jail that a server would give it, with nothing but what is granted below. What it
/// prints goes to standard output; how it ended and what it used to standard error.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples
  airlock guest run agent.wasm --arg plan --workspace . --save out
  airlock guest run surveyor --workspace .
  airlock guest run agent.wasm --allow api.example.org --secret API_TOKEN \\
      --header api.example.org=Authorization:API_TOKEN

Exit codes: 0 it succeeded, 1 it failed or a cap ended it, 3 it cannot be run here.")]
pub struct GuestRun {
    /// A .wasm file (core module or component), or the name of a bundled guest
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// An argument; may be given again
    #[arg(long = "arg", value_name = "TEXT", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// A variable, not secret; may be given again
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// A secret: a variable of this command's environment, masked in what is printed. The guest sees it
    /// only with --env-secret
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<EnvName>,
    /// A secret that the guest gets as a variable
    #[arg(long = "env-secret", value_name = "NAME")]
    pub env_secrets: Vec<EnvName>,
    /// Standard input: a file of text, `-` for this command's own
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,
    #[command(flatten)]
    pub grants: GuestGrants,
    #[command(flatten)]
    pub caps: GuestCaps,
    /// Keep artifacts and the patch in this directory
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    pub shown: Shown,
}

/// What it may reach.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Grants")]
pub struct GuestGrants {
    /// Show it a copy of this directory as /workspace
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// Let it change that copy; the changes come back as a patch
    #[arg(long, requires = "workspace")]
    pub write: bool,
    /// Let it send HTTP requests to this host (port 443) or host:port; may be given again
    #[arg(long = "allow", value_name = "HOST")]
    pub network: Vec<String>,
    /// A header that is added to its requests to a host, with a secret that it never sees
    #[arg(long = "header", value_name = "HOST=HEADER:SECRET", value_parser = header)]
    pub headers: Vec<Header>,
    /// A frozen clock costs the same fuel every time
    #[arg(long, value_enum, default_value_t = Clock::Frozen)]
    pub clock: Clock,
    #[arg(long, value_enum, default_value_t = Random::Seeded)]
    /// Seeded numbers are the same every time
    pub random: Random,
}

/// What it may use.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Caps")]
pub struct GuestCaps {
    /// Units of fuel, roughly one an instruction [default: 10 billion]
    #[arg(long, value_name = "N")]
    pub fuel: Option<u64>,
    /// The fuel of a guest that interprets scripts: 500 billion
    #[arg(long, conflicts_with = "fuel")]
    pub interpreter: bool,
    /// Memory, such as 512MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "256MiB")]
    pub memory: u64,
    /// Seconds of wall time
    #[arg(long, value_name = "SECONDS", default_value_t = limits::GUEST_WALL.as_secs())]
    pub time: u64,
    /// Bytes that it may print
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "16MiB")]
    pub output: u64,
    /// Bytes that it may write to files
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "256MiB")]
    pub files_size: u64,
    /// Files that it may write
    #[arg(long, value_name = "N", default_value_t = limits::GUEST_FILES)]
    pub files: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Clock {
    Frozen,
    Real,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Random {
    Seeded,
    Real,
}

/// `HOST=HEADER:SECRET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub host: String,
    pub name: String,
    pub secret: EnvName,
}

/// Say what a file is, without running or compiling it
#[derive(Clone, Debug, Args)]
pub struct GuestInspect {
    /// A .wasm file, or the name of a bundled guest
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub shown: Shown,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    let name = EnvName::new(name).map_err(|error| error.to_string())?;
    Ok((name.to_string(), value.to_owned()))
}

fn header(text: &str) -> Result<Header, String> {
    let form = "write it as HOST=HEADER:SECRET, such as api.example.org=Authorization:API_TOKEN";
    let (host, rest) = text.split_once('=').ok_or(form)?;
    let (name, secret) = rest.split_once(':').ok_or(form)?;
    let secret = EnvName::new(secret).map_err(|error| error.to_string())?;
    Ok(Header { host: host.to_owned(), name: name.to_owned(), secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_host_header_and_secret() {
        let found = header("api.example.org:8443=X-Key:API_TOKEN").unwrap();
        assert_eq!((found.host.as_str(), found.name.as_str()), ("api.example.org:8443", "X-Key"));
        for wrong in ["", "api", "api=X-Key", "api=X-Key:not a name"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
