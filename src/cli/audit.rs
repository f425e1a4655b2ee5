//! `airlock audit`: the log and its chain, of a server, of a data directory, or of an export.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde_json::json;

use crate::{
    actions::{AuditChain, Verification},
    app::App,
    queries::AuditEntry,
};

use super::{
    Outcome,
    args::{self, AuditVerb, Place},
    failure::{Done, Failure},
    offline::{self, Site},
    output,
};

/// Entries that are read from a data directory at once.
const BLOCK: usize = 1_000;
/// Bytes of one exported entry, at most.
const LINE_BYTES: usize = 64 * 1_024;
/// Where a server gives its log out.
const EXPORT: &str = "/audit?format=jsonl";

pub(super) fn run(args: &args::Audit) -> Done {
    match &args.verb {
        AuditVerb::Verify { file: Some(file), place } => tell(verify_file(file)?, place),
        AuditVerb::Verify { file: None, place } => tell(verify_live(place)?, place),
        AuditVerb::Export { output, place } => {
            export(output.as_deref(), place)?;
            Ok(Outcome::Done)
        }
    }
}

fn tell(verification: Verification, place: &Place) -> Done {
    let json = place.shown.json;
    match verification {
        Verification::Whole { entries, head } if json => {
            output::json(&json!({"whole": true, "entries": entries, "head": head}))?;
            Ok(Outcome::Done)
        }
        Verification::Whole { entries, head } => {
            output::line(&format!("the audit log is whole: {entries} entries, the newest with the hash {head}"))?;
            Ok(Outcome::Done)
        }
        Verification::Broken { seq, why } if json => {
            output::json(&json!({"whole": false, "first_wrong": seq, "why": why}))?;
            Ok(Outcome::Failed)
        }
        Verification::Broken { seq, why } => {
            Err(Failure::failed(format_args!("the audit log is broken at entry {seq}: {why}"))
                .next("compare it with an export or a backup made before"))
        }
    }
}

fn verify_file(path: &Path) -> Result<Verification, Failure> {
    let mut lines = Lines::default();
    let read = if path == Path::new("-") {
        feed(io::stdin().lock(), &mut lines)
    } else {
        File::open(path).and_then(|file| feed(file, &mut lines))
    };
    read.map_err(|error| Failure::file("read", path, &error))?;
    Ok(lines.end())
}

fn feed(mut from: impl Read, lines: &mut Lines) -> io::Result<()> {
    let mut block = vec![0; 64 * 1_024];
    loop {
        match from.read(&mut block)? {
            0 => return Ok(()),
            n => lines.add(&block[..n]),
        }
    }
}

fn verify_live(place: &Place) -> Result<Verification, Failure> {
    match Site::find(place)? {
        Site::Data(app) => {
            let mut chain = AuditChain::default();
            each(&app, |entry| {
                chain.add(&entry);
                Ok(())
            })?;
            Ok(chain.end())
        }
        Site::Server(client) => {
            let mut lines = Lines::default();
            offline::block_on(client.download(EXPORT, |bytes| {
                lines.add(bytes);
                Ok(())
            }))?;
            Ok(lines.end())
        }
    }
}

/// JSON lines on their way into the chain, in whatever pieces they come.
#[derive(Default)]
struct Lines {
    chain: AuditChain,
    begun: Vec<u8>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.line();
            } else if self.begun.len() > LINE_BYTES {
                self.chain.break_off(format!("a line has more than {LINE_BYTES} bytes"));
                self.begun.clear();
            }
        }
    }

    fn line(&mut self) {
        match serde_json::from_slice(&self.begun) {
            Ok(entry) => self.chain.add(&entry),
            Err(error) => self.chain.break_off(format!("the line is no audit entry: {error}")),
        }
        self.begun.clear();
    }

    fn end(mut self) -> Verification {
        if !self.begun.is_empty() {
            self.line();
        }
        self.chain.end()
    }
}

/// Every entry of a data directory, in order.
fn each(app: &App, mut take: impl FnMut(AuditEntry) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut next = 1;
    loop {
        let block = app.queries.audit_from(next, BLOCK)?;
        let Some(last) = block.last() else { return Ok(()) };
        next = last.seq + 1;
        block.into_iter().try_for_each(&mut take)?;
    }
}

fn write(to: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    to.write_all(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::unheard(),
        _ => Failure::failed(format_args!("cannot write the export: {error}")),
    })
}

fn export(path: Option<&Path>, place: &Place) -> Result<(), Failure> {
    let Some(path) = path else { return export_to(&mut io::stdout().lock(), place) };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|error| Failure::file("make", path, &error))?;
    let mut file = BufWriter::new(file);
    export_to(&mut file, place)?;
    let file = file.into_inner().map_err(|error| Failure::file("write", path, error.error()))?;
    file.sync_all().map_err(|error| Failure::file("write", path, &error))
}

fn export_to(to: &mut impl Write, place: &Place) -> Result<(), Failure> {
    match Site::find(place)? {
        Site::Server(client) => offline::block_on(client.download(EXPORT, |bytes| write(to, bytes)))?,
        Site::Data(app) => each(&app, |entry| {
            let mut line = serde_json::to_vec(&entry).map_err(Failure::failed)?;
            line.push(b'\n');
            write(to, &line)
        })?,
    }
    to.flush().map_err(|error| Failure::failed(format_args!("cannot write the export: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::hash_of;

    fn log() -> String {
        let mut previous = "0".repeat(64);
        let mut lines = String::new();
        for seq in 1..=3 {
            let mut entry: AuditEntry = serde_json::from_value(json!({
                "seq": seq, "at": "2026-01-31T12:00:00.000Z", "actor": {"kind": "user", "name": "mia"},
                "address": null, "verb": "run.confirm", "object": "run_1", "outcome": "done", "detail": null,
                "previous": previous, "hash": "",
            }))
            .unwrap();
            entry.hash = hash_of(&entry);
            previous.clone_from(&entry.hash);
            lines += &(serde_json::to_string(&entry).unwrap() + "\n");
        }
        lines
    }

    fn verified(text: &str, piece: usize) -> Verification {
        let mut lines = Lines::default();
        text.as_bytes().chunks(piece).for_each(|bytes| lines.add(bytes));
        lines.end()
    }

    #[test]
    fn an_export_is_whole_in_whatever_pieces_it_comes() {
        for piece in [1, 7, 10_000] {
            assert!(matches!(verified(&log(), piece), Verification::Whole { entries: 3, .. }));
        }
        assert!(matches!(verified(log().trim_end(), 64), Verification::Whole { entries: 3, .. }));
        assert!(matches!(verified("", 64), Verification::Whole { entries: 0, .. }));
    }

    #[test]
    fn the_first_entry_that_does_not_fit_is_named() {
        let broken = |text: &str| match verified(text, 50) {
            Verification::Broken { seq, .. } => seq,
            whole @ Verification::Whole { .. } => panic!("{whole:?}"),
        };
        assert_eq!(broken(&log().replacen("mia", "eve", 1)), 1);
        let (before, last) = log().rsplit_once("mia").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert_eq!(broken(&format!("{before}eve{last}")), 3, "the newest entry is held by its own hash");
        assert_eq!(broken(&log().lines().skip(1).collect::<Vec<_>>().join("\n")), 1);
        assert_eq!(broken(&(log() + "and more\n")), 4);
        assert_eq!(broken(&log().replacen('{', "[", 1)), 1);
        assert_eq!(broken(&"x".repeat(200_000)), 1);
    }
}
