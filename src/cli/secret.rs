//! Secrets that people type: unseen on a terminal, else a line of a file or of standard input. Never
//! from the command line, which everybody on the host can read.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read},
    path::Path,
};

use crate::crypt::Secret;

use super::failure::Failure;

/// Bytes that are read for a secret.
const SECRET_BYTES: u64 = 8_192;

/// A secret: asked for on the terminal, else the first line of standard input.
pub fn ask(what: &str) -> Result<Secret<String>, Failure> {
    if !io::stdin().is_terminal() {
        return first_line(io::stdin(), "standard input");
    }
    let typed = rpassword::prompt_password(format!("{what}: "));
    typed.map(Secret::new).map_err(|error| Failure::failed(format_args!("cannot read the terminal: {error}")))
}

/// A line that may be seen: asked for on the terminal, else the next line of standard input.
pub fn ask_openly(what: &str) -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        eprint!("{what}: ");
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| Failure::failed(format_args!("cannot read {what}: {error}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A new password: a file's first line, else asked for, on a terminal twice.
pub fn new_password(file: Option<&Path>, user: &str) -> Result<Secret<String>, Failure> {
    if let Some(path) = file {
        let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        return first_line(file, &path.display().to_string());
    }
    let password = ask(&format!("New password of {user}"))?;
    if io::stdin().is_terminal() && ask("Once more")? != password {
        return Err(Failure::refused("the two passwords differ; nothing was changed"));
    }
    Ok(password)
}

fn first_line(from: impl Read, what: &str) -> Result<Secret<String>, Failure> {
    let mut line = Secret::new(String::new());
    BufReader::new(from.take(SECRET_BYTES))
        .read_line(line.expose_mut())
        .map_err(|error| Failure::failed(format_args!("cannot read {what}: {error}")))?;
    let kept = line.expose().trim_end_matches(['\n', '\r']).len();
    line.expose_mut().truncate(kept);
    if line.expose().is_empty() {
        return Err(Failure::usage(format_args!("{what}: the first line is empty; a secret was expected there")));
    }
    Ok(line)
}
