//! `airlock run logs`: what a run printed, whole or as it is printed.

use std::io::{self, IsTerminal as _};

use serde_json::{Value, json};

use crate::cli::{
    Outcome,
    args::Logs,
    clean::{Colours, Decoder, Filter},
    failure::{Done, Failure},
    output,
};
use crate::domain::Phase;

use super::{
    Client,
    events::{Event, Events},
};

pub(super) async fn run(args: &Logs) -> Done {
    let client = Client::new(&args.how.reach)?;
    let shown = if args.how.shown.json {
        Shown::Json
    } else if args.raw {
        Shown::Raw
    } else {
        Shown::Text
    };
    if args.follow {
        follow(&client, args, Printer::new(shown)).await?;
    } else {
        whole(&client, args, shown).await?;
    }
    Ok(Outcome::Done)
}

async fn whole(client: &Client, args: &Logs, shown: Shown) -> Result<(), Failure> {
    let format = if shown == Shown::Json { "jsonl" } else { "text" };
    let phase = args.phase.map(|phase| format!("&phase={phase}")).unwrap_or_default();
    let path = format!("/runs/{}/log?format={format}{phase}", args.run);
    if shown != Shown::Text {
        return client.download(&path, output::raw).await;
    }
    let (mut decoder, mut filter) = (Decoder::default(), filter());
    client.download(&path, |bytes| output::raw(filter.push(&decoder.push(bytes)).as_bytes())).await?;
    output::raw(filter.finish().as_bytes())
}

async fn follow(client: &Client, args: &Logs, mut printer: Printer) -> Result<(), Failure> {
    let mut events = Events::of(client, args.run).await?;
    let mut whole = None;
    loop {
        match events.next().await? {
            Event::State(run) => whole = args.phase.and_then(|phase| bytes_of_ended(&run, phase)),
            Event::Log { phase, .. } if args.phase.is_some_and(|wanted| wanted.word() != phase) => {}
            Event::Log { phase, text, .. } => printer.print(&phase, &text)?,
            Event::Done => return printer.finish(),
        }
        let printed = args.phase.map(|phase| events.bytes_of(phase.word()));
        if whole.is_some() && printed >= whole {
            return printer.finish();
        }
    }
}

/// How much a phase printed, once it has ended.
fn bytes_of_ended(run: &Value, phase: Phase) -> Option<u64> {
    let phases = run["phases"].as_array()?;
    let row = phases.iter().rev().find(|row| row["name"] == phase.word())?;
    row["finished_at"].as_str()?;
    row["log_bytes"].as_u64()
}

/// How a log is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// For people: nothing that a terminal would obey but colours.
    Text,
    /// The bytes as they are.
    Raw,
    /// A JSON object for each piece.
    Json,
}

/// Prints the pieces of a log.
#[derive(Debug)]
pub struct Printer {
    shown: Shown,
    filter: Filter,
    /// The phase whose name stands above what is printed.
    phase: Option<String>,
    headings: bool,
}

fn filter() -> Filter {
    Filter::new(if output::colourful(&io::stdout()) { Colours::Kept } else { Colours::Dropped })
}

impl Printer {
    /// On a terminal each phase has its name above it; a file gets the log alone.
    pub fn new(shown: Shown) -> Self {
        let headings = shown == Shown::Text && io::stdout().is_terminal();
        Self { shown, filter: filter(), phase: None, headings }
    }

    pub fn print(&mut self, phase: &str, text: &str) -> Result<(), Failure> {
        if self.headings && self.phase.as_deref() != Some(phase) {
            output::raw(format!("{}── {}\n", self.filter.finish(), crate::cli::clean::line(phase)).as_bytes())?;
            self.phase = Some(phase.to_owned());
        }
        match self.shown {
            Shown::Text => output::raw(self.filter.push(text).as_bytes()),
            Shown::Raw => output::raw(text.as_bytes()),
            Shown::Json => output::line(&json!({"phase": phase, "text": text}).to_string()),
        }
    }

    pub fn finish(&mut self) -> Result<(), Failure> {
        output::raw(self.filter.finish().as_bytes())
    }
}
