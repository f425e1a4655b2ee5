//! The log of one phase, as a page shows it: which lines, or which kind of nothing.

use std::time::Duration;

use super::super::{
    sent::Sent,
    show::{self, Rev},
    visitor::Visitor,
};
use super::phases;
use crate::{
    domain::{Look, Phase, State, verdict::bytes},
    http::{
        Problem, Web,
        view::{
            frame::Tab,
            live::LiveLine,
            log::{Foot, Hits, Line, LogView, Nothing, Span},
            status::{Badge, Took},
            words,
        },
    },
    queries::{LogLine, LogPart, LogWindow, PhaseRow, Run},
};

/// Which page shows it: its links lead back there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Run,
    Log,
}

/// The phase whose log is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    pub phase: Phase,
    /// Absent: the phase has not begun, or never will.
    pub row: Option<PhaseRow>,
    /// Chosen by its number, by its name, or by neither: then the newest one is followed.
    pub asked: Option<u32>,
    pub asked_word: Option<Phase>,
}

impl Shown {
    pub fn of(asked: &Sent, run: &Run) -> Self {
        let number = asked.filled("n").and_then(|text| text.parse::<u32>().ok());
        let word = asked.filled("phase").and_then(Phase::from_word);
        let by_number = number.and_then(|number| run.phases.iter().find(|row| row.number == number));
        if let Some(row) = by_number {
            return Self { phase: row.phase, row: Some(row.clone()), asked: number, asked_word: None };
        }
        if let Some(phase) = word {
            let row = run.phases.iter().rev().find(|row| row.phase == phase).cloned();
            return Self { phase, row, asked: None, asked_word: Some(phase) };
        }
        let row = most_telling(run).cloned();
        let first = phases::ahead(run).first().copied().unwrap_or(Phase::Preparing);
        Self { phase: row.as_ref().map_or(first, |row| row.phase), row, asked: None, asked_word: None }
    }

    /// Changes when another element is needed: another phase, its end, or the beginning of a later one.
    pub fn rev(&self, run: &Run) -> u64 {
        let rev = Rev::default().with(self.phase.word());
        match &self.row {
            Some(row) => rev.with((row.number, row.finished_at, run.phases.len())).number(),
            None => rev.run(run).number(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.finished_at.is_none())
    }
}

/// The failing phase, else the last one; what only winds up is told last.
fn most_telling(run: &Run) -> Option<&PhaseRow> {
    let failing = |row: &&PhaseRow| {
        let plan = row.phase == Phase::Planning
            && row.verdict.as_ref().and_then(crate::domain::verdict::Verdict::exit_code) == Some(2);
        row.verdict.as_ref().is_some_and(|verdict| !verdict.is_success()) && !plan
    };
    let winds_up = |row: &&PhaseRow| matches!(row.phase, Phase::Sealing | Phase::Ending);
    let open = run.phases.last().filter(|row| row.finished_at.is_none());
    open.or_else(|| run.phases.iter().rev().filter(|_| run.state == State::Failed).find(failing))
        .or_else(|| run.phases.iter().rev().find(|row| !winds_up(row)))
        .or(run.phases.last())
}

/// The address of a phase's log below a run.
pub fn address(run: &Run, shown: &Shown, below: &str) -> String {
    let which = match shown.asked {
        Some(number) => format!("n={number}"),
        None => format!("phase={}", shown.phase.word()),
    };
    format!("/runs/{}{below}?{which}", run.id)
}

/// The view, and the line that a follower goes on with.
pub async fn log_view(
    web: &Web,
    visitor: &Visitor,
    run: &Run,
    asked: &Sent,
    shown: &Shown,
    page: Page,
) -> Result<(LogView, u64), Problem> {
    let window = window(asked);
    let part = match &shown.row {
        Some(row) => read(web, visitor, run, row.number, window.clone()).await?,
        None => None,
    };
    let next = part.as_ref().map_or(1, |part| part.next);
    let follows = matches!(window, LogWindow::Tail) && !run.state.is_terminal();
    let live = follows && (shown.is_open() || shown.row.is_none());
    let links = Links { run, shown, page };
    let view = LogView {
        rev: shown.rev(run),
        phase: shown.phase.word(),
        phases: tabs(run, shown, page),
        nothing: nothing(web, run, shown, part.as_ref()),
        earlier: part.as_ref().and_then(|part| links.earlier(&window, part)),
        later: part.as_ref().and_then(|part| links.later(&window, part, asked)),
        number: shown.asked,
        raw: raw(run, shown),
        action: format!("/runs/{}/log", run.id),
        hits: part.as_ref().and_then(|part| links.hits(&window, part)),
        error: part.as_ref().and_then(first_error),
        foot: part.as_ref().zip(shown.row.as_ref()).map(|(part, row)| foot(web, part, row)),
        lines: part.map(|part| lines(&links, &window, part.lines)).unwrap_or_default(),
        live,
        full: None,
    };
    Ok((view, next))
}

/// The same log as text: of this phase, not of every phase of its name.
fn raw(run: &Run, shown: &Shown) -> String {
    let which = match &shown.row {
        Some(row) => format!("number={}", row.number),
        None => format!("phase={}", shown.phase.word()),
    };
    format!("/api/v1/runs/{}/log?{which}&format=text", run.id)
}

/// Files are read where waiting for them holds nobody up.
async fn read(
    web: &Web,
    visitor: &Visitor,
    run: &Run,
    number: u32,
    window: LogWindow,
) -> Result<Option<LogPart>, Problem> {
    let (queries, who, id) = (web.queries.clone(), visitor.who.clone(), run.id);
    let read = tokio::task::spawn_blocking(move || queries.log_part(&who, id, number, &window)).await;
    let read = read.map_err(|error| {
        tracing::error!(%error, "a log could not be read");
        Problem::internal()
    })?;
    Ok(read?)
}

fn window(asked: &Sent) -> LogWindow {
    let number = |name: &str| asked.filled(name).and_then(|text| text.parse::<u64>().ok());
    if let Some(text) = asked.get("q").filter(|text| !text.is_empty()) {
        return LogWindow::Holding { text: text.chars().take(1_000).collect(), from: number("from").unwrap_or(0) };
    }
    if let Some(line) = number("before") {
        return LogWindow::Before(line);
    }
    number("line").map_or(LogWindow::Tail, LogWindow::Around)
}

/// One tab for each phase that has begun, and for the one that is shown.
fn tabs(run: &Run, shown: &Shown, page: Page) -> Vec<Tab> {
    let to = |which: &str| match page {
        Page::Run => format!("/runs/{}?tab=log&{which}", run.id),
        Page::Log => format!("/runs/{}/log?{which}", run.id),
    };
    let here = shown.row.as_ref().map(|row| row.number);
    let begun = run
        .phases
        .iter()
        .map(|row| Tab::new(nth_title(run, row), to(&phases::which(run, row)), here == Some(row.number)));
    let ahead = here
        .is_none()
        .then(|| Tab::new(phases::title(shown.phase), to(&format!("phase={}", shown.phase.word())), true));
    begun.chain(ahead).collect()
}

/// `Planning`, and `Planning 2` where it was gone through again.
fn nth_title(run: &Run, row: &PhaseRow) -> String {
    let before = run.phases.iter().filter(|other| other.phase == row.phase && other.number < row.number).count();
    match before {
        0 => phases::title(row.phase).to_owned(),
        n => format!("{} {}", phases::title(row.phase), n + 1),
    }
}

fn nothing(web: &Web, run: &Run, shown: &Shown, part: Option<&LogPart>) -> Option<Nothing> {
    let Some(row) = &shown.row else {
        return Some(match run.state.look() {
            Look::Dropped if run.phases.is_empty() => Nothing::CanceledBefore,
            Look::Waiting | Look::NeedsYou => {
                Nothing::Waiting(show::why(run).map_or_else(|| run.state.title().to_lowercase(), |why| why.text))
            }
            _ => Nothing::NotStarted,
        });
    };
    match part {
        None if run.logs_expired => Some(Nothing::Expired { days: web.config.log_retention_days }),
        None => Some(Nothing::NoOutput { still: row.finished_at.is_none() }),
        Some(part) if part.bytes == 0 => Some(Nothing::NoOutput { still: row.finished_at.is_none() }),
        Some(_) => None,
    }
}

/// Addresses of other parts of the same log.
struct Links<'a> {
    run: &'a Run,
    shown: &'a Shown,
    page: Page,
}

impl Links<'_> {
    fn log(&self) -> String {
        address(self.run, self.shown, "/log")
    }

    fn around(&self, line: u64) -> String {
        match self.page {
            Page::Run => format!("{}&tab=log&line={line}#L{line}", address(self.run, self.shown, "")),
            Page::Log => format!("{}&line={line}#L{line}", self.log()),
        }
    }

    fn earlier(&self, window: &LogWindow, part: &LogPart) -> Option<(String, String)> {
        let first = part.lines.first().map(|line| line.n).filter(|first| *first > 1)?;
        let searched = matches!(window, LogWindow::Holding { .. });
        (!searched).then(|| {
            (format!("{}&before={first}", self.log()), format!("{} before these", words::count(first - 1, "line")))
        })
    }

    fn later(&self, window: &LogWindow, part: &LogPart, asked: &Sent) -> Option<(String, String)> {
        if let LogWindow::Holding { .. } = window {
            let from = part.search_on?;
            let href = asked.address(&format!("/runs/{}/log", self.run.id), &["from", "block"]);
            return Some((format!("{href}&from={from}"), "Search on from here".to_owned()));
        }
        let last = part.lines.last().map(|line| line.n)?;
        let after = part.total.saturating_sub(last);
        let half = crate::domain::limits::LOG_TAIL_LINES as u64 / 2;
        (after > 0).then(|| (self.around(last + half), format!("{} after these", words::count(after, "line"))))
    }

    fn hits(&self, window: &LogWindow, part: &LogPart) -> Option<Hits> {
        let LogWindow::Holding { text, .. } = window else { return None };
        Some(Hits {
            query: text.clone(),
            count: format!("{} of {}", words::number(part.lines.len() as u64), words::count(part.total, "line")),
            clear: self.log(),
        })
    }
}

fn lines(links: &Links<'_>, window: &LogWindow, lines: Vec<LogLine>) -> Vec<Line> {
    let searched = matches!(window, LogWindow::Holding { .. });
    lines
        .into_iter()
        .map(|line| Line {
            n: line.n,
            at: at(line.ms),
            href: searched.then(|| links.around(line.n)),
            error: line.wrong,
            spans: line.spans.into_iter().map(|span| Span { class: span.class, text: span.text }).collect(),
        })
        .collect()
}

/// A line as the stream sends it.
pub fn live_line(line: LogLine) -> LiveLine {
    LiveLine {
        n: line.n,
        t: at(line.ms),
        s: line.spans.into_iter().map(|span| (span.class, span.text)).collect(),
        e: line.wrong,
    }
}

/// `1.02s`, `1m 04s`: since the phase began.
fn at(ms: u64) -> String {
    if ms < 60_000 { format!("{}.{:02}s", ms / 1_000, ms % 1_000 / 10) } else { words::span(Duration::from_millis(ms)) }
}

fn first_error(part: &LogPart) -> Option<String> {
    part.lines.iter().find(|line| line.wrong).map(|line| format!("#L{}", line.n))
}

fn foot(web: &Web, part: &LogPart, row: &PhaseRow) -> Foot {
    let badge = match &row.verdict {
        None => Badge::new(Look::Working, "Running"),
        Some(verdict) if verdict.is_success() => Badge::new(Look::Succeeded, verdict.to_string()),
        Some(verdict) if row.phase == Phase::Planning && verdict.exit_code() == Some(2) => {
            Badge::new(Look::Succeeded, "exit 2: changes")
        }
        Some(verdict) => Badge::new(Look::Failed, verdict.to_string()),
    };
    let took = match row.finished_at {
        Some(end) => Took::ended(end - row.started_at),
        None => Took::going_on(row.started_at, web.queries.now()),
    };
    Foot { badge, took: Some(took), bytes: bytes(part.bytes), lines: words::count(part.total, "line"), masked: None }
}
