//! `airlock task check FILE`: a configuration file, checked without a server.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    domain::{ServiceName, limits},
    manifest::{self, Manifest, ManifestError, Mistake, Position},
};

use super::{Outcome, args::Shown, failure::Done, output};

/// Check a configuration file: declared tasks and runtime configuration.
#[derive(Debug, clap::Args)]
pub struct TaskCheck {
    /// The file, or the root of a source that holds one
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// A service that the operator registered; once it is given, every relationship must name one
    #[arg(long = "service", value_name = "NAME")]
    pub services: Vec<ServiceName>,
    #[command(flatten)]
    pub shown: Shown,
}

/// Exit codes: 0 valid, 3 not valid, 4 no file.
pub(super) fn run(args: &TaskCheck) -> Done {
    if args.shown.json
        && let Ok((checked, _)) = checked(args)
    {
        return in_json(&checked);
    }
    let report = report(args);
    // If nobody reads it, nothing can be done about it.
    let _ = io::stdout().write_all(report.out.as_bytes());
    let _ = io::stderr().write_all(report.err.as_bytes());
    Ok(report.outcome)
}

#[derive(Debug, PartialEq, Eq)]
struct Report {
    out: String,
    err: String,
    outcome: Outcome,
}

impl Report {
    fn error(outcome: Outcome, text: &str) -> Self {
        Self { out: String::new(), err: format!("airlock: {text}\n"), outcome }
    }
}

fn in_json(checked: &Result<Manifest, ManifestError>) -> Done {
    match checked {
        Ok(manifest) => output::json(&json!({"valid": true, "mistakes": [], "more": 0, "notes": manifest.notes}))?,
        Err(error) => {
            output::json(&json!({"valid": false, "mistakes": error.mistakes, "more": error.more, "notes": []}))?;
        }
    }
    Ok(if checked.is_ok() { Outcome::Done } else { Outcome::Refused })
}

fn report(args: &TaskCheck) -> Report {
    match checked(args) {
        Err(report) => report,
        Ok((Ok(manifest), _)) => Report { out: valid(&manifest), err: String::new(), outcome: Outcome::Done },
        Ok((Err(error), base)) => Report { out: String::new(), err: invalid(&error, &base), outcome: Outcome::Refused },
    }
}

/// What came of reading it, and the directory in which the files that it names lie; else why it was not
/// read.
fn checked(args: &TaskCheck) -> Result<(Result<Manifest, ManifestError>, PathBuf), Report> {
    let name = args.path.display().to_string();
    let (read, base) = if args.path.is_dir() {
        let found = manifest::load(|file| bounded(&args.path.join(file)).ok());
        match found.transpose() {
            Some(read) => (read, args.path.clone()),
            None => {
                let files = [manifest::FILES, manifest::FALLBACKS].concat().join(", ");
                let why = format!("{name} holds no configuration: none of {files}");
                return Err(Report::error(Outcome::NotFound, &why));
            }
        }
    } else {
        match bounded(&args.path) {
            Ok(bytes) => (manifest::parse(&name, &bytes), PathBuf::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Report::error(Outcome::NotFound, &format!("{name} does not exist")));
            }
            Err(error) => return Err(Report::error(Outcome::Failed, &format!("cannot read {name}: {error}"))),
        }
    };
    Ok((read.and_then(|manifest| check_services(manifest, &args.services)), base))
}

/// As much of a file as says whether it is too long.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::MANIFEST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_services(manifest: Manifest, services: &[ServiceName]) -> Result<Manifest, ManifestError> {
    if !services.is_empty() {
        manifest.check_services(&services.iter().cloned().collect::<BTreeSet<_>>())?;
    }
    Ok(manifest)
}

fn valid(manifest: &Manifest) -> String {
    let mut out = String::new();
    for note in &manifest.notes {
        out.push_str(&format!("note: {}\n", shown(&note.to_string())));
    }
    out.push_str(&format!(
        "valid: {}, {}\n",
        counted(manifest.tasks.len(), "task"),
        counted(manifest.stacks.len(), "stack")
    ));
    for task in manifest.tasks.values() {
        out.push_str(&format!("  {}  {}  at most {} s\n", task.name, task.kind, task.run.timeout_seconds));
    }
    out
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Every mistake with the line that it is in.
fn invalid(error: &ManifestError, base: &Path) -> String {
    let mut out = String::new();
    for mistake in &error.mistakes {
        out.push_str(&format!("{}\n", shown(&mistake.to_string())));
        if let Some(excerpt) = excerpt(mistake, base) {
            out.push_str(&excerpt);
        }
    }
    if error.more > 0 {
        out.push_str(&format!("and {} more\n", error.more));
    }
    out.push_str(&format!("airlock: not valid: {}\n", counted(error.mistakes.len() + error.more, "mistake")));
    out
}

fn excerpt(mistake: &Mistake, base: &Path) -> Option<String> {
    let bytes = bounded(&base.join(&mistake.file)).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().nth(mistake.at.line as usize - 1)?;
    Some(pointed(line, mistake.at))
}

/// A line with a mark below the column; of a long one, what stands around it.
fn pointed(line: &str, at: Position) -> String {
    const BEFORE: usize = 60;
    const AFTER: usize = 40;
    let column = at.column as usize - 1;
    let from = column.saturating_sub(BEFORE);
    let around: String = line
        .trim_start_matches('\u{feff}')
        .chars()
        .skip(from)
        .take(BEFORE + AFTER)
        .map(|c| {
            if c == '\t' {
                '→'
            } else if obeyed(c) {
                '·'
            } else {
                c
            }
        })
        .collect();
    format!("{:>6} | {around}\n{:>6} | {}^\n", at.line, "", " ".repeat(column - from))
}

/// A message without what a terminal would obey; a path may hold anything.
fn shown(text: &str) -> String {
    text.chars().map(|c| if obeyed(c) { '·' } else { c }).collect()
}

fn obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(path: &Path, services: &[&str]) -> Report {
        let services = services.iter().map(|name| name.parse().unwrap()).collect();
        report(&TaskCheck { path: path.to_owned(), services, shown: Shown::default() })
    }

    #[test]
    fn a_valid_file_is_summed_up_with_its_notes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yaml");
        fs::write(&file, "routes: {}\ntasks:\n  report:\n    type: native\n    run: {command: date}\n").unwrap();
        let report = check(&file, &[]);
        assert_eq!(report.outcome, Outcome::Done);
        assert!(report.out.contains("note: ") && report.out.contains("config.yaml:1:1: routes: has no effect"));
        assert!(report.out.ends_with("valid: 1 task, 0 stacks\n  report  native  at most 3600 s\n"), "{}", report.out);
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_and_a_mark_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yaml");
        fs::write(&file, "tasks:\n  report:\n    type: native\n    run: {command: date, timeout: 90000}\n").unwrap();
        let report = check(&file, &[]);
        assert_eq!(report.outcome, Outcome::Refused);
        let mark = "     4 |     run: {command: date, timeout: 90000}\n       |                                   ^\n";
        assert!(report.err.contains(mark), "{}", report.err);
        assert!(report.err.ends_with("airlock: not valid: 1 mistake\n"));
    }

    #[test]
    fn a_directory_is_searched_for_the_file_that_a_server_would_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check(dir.path(), &[]).outcome, Outcome::NotFound);
        fs::create_dir(dir.path().join(".upsun")).unwrap();
        let text = "tasks:\n  a:\n    type: native\n    run: {command: date}\n    relationships: {dbs: }\n";
        fs::write(dir.path().join(".upsun/config.yaml"), text).unwrap();
        assert_eq!(check(dir.path(), &[]).outcome, Outcome::Done);
        let report = check(dir.path(), &["db"]);
        assert_eq!(report.outcome, Outcome::Refused);
        assert!(
            report.err.contains(".upsun/config.yaml:5:24: tasks.a.relationships.dbs: the service `dbs` is unknown")
        );
        assert!(report.err.contains("     5 |     relationships: {dbs: }"), "{}", report.err);
    }

    #[test]
    fn nothing_that_a_terminal_would_obey_is_printed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a\u{1b}[2J.yaml");
        fs::write(&file, "tasks: \"\u{1b}]0;x\u{7}\u{202e}\"\n\u{9b}: 1\n").unwrap();
        let report = check(&file, &[]);
        assert!(!report.err.chars().any(|c| c != '\n' && obeyed(c)), "{:?}", report.err);
    }
}
