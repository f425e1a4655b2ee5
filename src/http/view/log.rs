//! A phase's log as a page shows it: lines of spans, numbered; or one of five kinds of nothing.

use super::{
    frame::Tab,
    live::LiveLine,
    status::{Badge, Took},
};

/// Text with one look. `class` is a blank-separated set out of those of `log::ansi` (`g`, `y`, `rd`,
/// `b`, `m`, `st`, `u`: green, yellow, red, blue, muted, strong, underlined) and `h`, what a search
/// found; `static/app.css` gives them their looks in its layer `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub class: String,
    pub text: String,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1 within its phase; `#L120` is its address.
    pub n: u64,
    /// Since the phase's start: `1.02s`.
    pub at: String,
    pub spans: Vec<Span>,
    /// Looks like an error: `e` jumps to it.
    pub error: bool,
    /// Where the line stands among its neighbours: set in the results of a search.
    pub href: Option<String>,
}

impl From<&Line> for LiveLine {
    fn from(line: &Line) -> Self {
        let s = line.spans.iter().map(|span| (span.class.clone(), span.text.clone())).collect();
        Self { n: line.n, t: line.at.clone(), s, e: line.error }
    }
}

/// Why there is no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// The phase comes later.
    NotStarted,
    /// The run waits; why.
    Waiting(String),
    /// It runs or ran, and printed nothing.
    NoOutput { still: bool },
    /// The run was canceled before the phase began.
    CanceledBefore,
    /// The log was removed after this many days.
    Expired { days: u32 },
}

impl Nothing {
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NotStarted => "Not started",
            Self::Waiting(_) => "Waiting",
            Self::NoOutput { still: true } => "No output yet",
            Self::NoOutput { still: false } => "No output",
            Self::CanceledBefore => "Never started",
            Self::Expired { .. } => "Log removed",
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::NotStarted => "This phase has not started. Its log will appear here as it is printed.".to_owned(),
            Self::Waiting(why) => format!("The run waits: {why}. The log will appear here once it goes on."),
            Self::NoOutput { still: true } => "The phase runs and has printed nothing so far.".to_owned(),
            Self::NoOutput { still: false } => "The phase ended without printing anything.".to_owned(),
            Self::CanceledBefore => "The run was canceled before this phase began.".to_owned(),
            Self::Expired { days } => {
                format!("Logs are kept for {days} days. The record of the run stays.")
            }
        }
    }
}

/// Below the lines: how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foot {
    /// `exit 0`, `killed by signal 9 (SIGKILL)`, `Running`.
    pub badge: Badge,
    pub took: Option<Took>,
    /// `142 KiB`.
    pub bytes: String,
    pub lines: String,
    /// How many secrets were masked, when any.
    pub masked: Option<String>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hits {
    pub query: String,
    /// `38 of 1 204 lines`.
    pub count: String,
    /// The log without the search.
    pub clear: String,
}

/// The log of one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogView {
    /// Changes only when another element is needed: another phase, the first line, the last line.
    pub rev: u64,
    /// The phase's word, as in [`super::live::LiveLog`].
    pub phase: &'static str,
    /// The phase's number, where it was asked for by that: *Find* asks for the same.
    pub number: Option<u32>,
    /// One tab for each phase that has begun, and for the one that is shown.
    pub phases: Vec<Tab>,
    /// At most the last 1 000, or a window around an asked-for line, or what a search found.
    pub lines: Vec<Line>,
    pub nothing: Option<Nothing>,
    /// Address of the lines before these (`?phase=planning&before=2204`) and what it says.
    pub earlier: Option<(String, String)>,
    /// Address of the lines after these, when these are not the last.
    pub later: Option<(String, String)>,
    /// The whole log as text.
    pub raw: String,
    /// Where *Find* asks: the log's page.
    pub action: String,
    pub hits: Option<Hits>,
    /// The first line that looks like an error: `#L1195` or an address with a window around it.
    pub error: Option<String>,
    pub foot: Option<Foot>,
    /// Lines are still to come.
    pub live: bool,
    /// The page with nothing but the log, when this is not it.
    pub full: Option<String>,
}
