//! What is printed, and where.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// Logs to stderr: text on a terminal, JSON otherwise. `AIRLOCK_LOG` chooses what.
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("AIRLOCK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
    if let Err(error) = started {
        error_line(&error.to_string());
    }
}

/// A line on stderr: the thing, the reason, the next step.
pub fn error_line(text: &str) {
    eprintln!("airlock: {text}");
}

/// A line on stdout.
#[expect(clippy::print_stdout, reason = "this is where the command line prints")]
pub fn line(text: &str) {
    println!("{text}");
}
