//! policy.

use std::path::PathBuf;

use clap::Subcommand;

use super::Shown;

/// Policies in Rego: run their tests, without a server
#[derive(Debug, clap::Args)]
pub struct Policy {
    #[command(subcommand)]
    pub verb: PolicyVerb,
}

#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    Test(PolicyTest),
}

/// Run the rules whose names begin with test_
///
/// All files are read together, so that a file of tests can ask another file's rules. Either syntax
/// of Rego will do. Exits with 1 when a test fails, with 3 when a file is no policy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock policy test tasks.rego tasks_test.rego
  airlock policy test --json policies/*.rego")]
pub struct PolicyTest {
    /// Policies and their tests
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub shown: Shown,
}
