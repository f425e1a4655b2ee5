//! Waiting for a run until it is at rest, with a progress line on a terminal.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    cli::{Outcome, failure::Failure, output},
    domain::{RunId, State},
};

use super::{
    Client,
    events::{Event, Events},
    logs::Printer,
    show,
};

/// Between two drawings of the progress line.
const TICK: Duration = Duration::from_millis(250);

/// The state of a run, where this client knows it.
pub fn state(run: &Value) -> Option<State> {
    State::from_word(run["state"].as_str()?)
}

/// What a run means for the exit code; none while it is not at rest.
pub fn outcome(run: &Value) -> Option<Outcome> {
    match state(run)? {
        State::Finished => Some(Outcome::Done),
        State::Unconfirmed | State::PendingReview => Some(Outcome::NeedsConfirmation),
        state if state.is_terminal() => Some(Outcome::Failed),
        _ => None,
    }
}

/// Waits until the run is at rest; the run as it is then.
pub async fn wait(client: &Client, run: RunId) -> Result<Value, Failure> {
    let mut events = Events::of(client, run).await?;
    let mut line = Line::new();
    let mut now = Value::Null;
    loop {
        match line.until(&now, &mut events).await? {
            Event::State(run) => now = run,
            Event::Log { .. } => {}
            Event::Done => return Ok(now),
        }
        if outcome(&now).is_some() {
            return Ok(now);
        }
    }
}

/// As [`wait`], and prints what the run prints. The log comes behind the state: a run that has ended
/// says so by `done`; one that waits for somebody says how many bytes it has printed.
pub async fn follow(client: &Client, run: RunId, printer: &mut Printer) -> Result<Value, Failure> {
    let mut events = Events::of(client, run).await?;
    let mut seen = Seen::default();
    let mut now = Value::Null;
    loop {
        match events.next().await? {
            Event::State(run) => now = run,
            Event::Log { phase, offset, text } => {
                printer.print(&phase, &text)?;
                seen.add(phase, offset, &text);
            }
            Event::Done => return Ok(now),
        }
        let waits = state(&now).is_some_and(|state| !state.is_terminal()) && outcome(&now).is_some();
        if waits && seen.is_all_of(&now) {
            return Ok(now);
        }
    }
}

/// How much of each phase was printed here.
#[derive(Debug, Default)]
struct Seen(BTreeMap<String, u64>);

impl Seen {
    fn add(&mut self, phase: String, offset: u64, text: &str) {
        self.0.insert(phase, offset + text.len() as u64);
    }

    /// Whether everything is there that the run had printed.
    fn is_all_of(&self, run: &Value) -> bool {
        let mut printed: BTreeMap<&str, u64> = BTreeMap::new();
        for phase in run["phases"].as_array().into_iter().flatten() {
            let (name, bytes) = (phase["name"].as_str().unwrap_or_default(), phase["log_bytes"].as_u64());
            *printed.entry(name).or_default() += bytes.unwrap_or(0);
        }
        printed.into_iter().all(|(name, bytes)| self.0.get(name).copied().unwrap_or(0) >= bytes)
    }
}

/// One line on the terminal that says how things are.
struct Line {
    visible: bool,
    drawn: bool,
    since: Instant,
    turn: usize,
}

impl Line {
    fn new() -> Self {
        Self { visible: io::stderr().is_terminal(), drawn: false, since: Instant::now(), turn: 0 }
    }

    /// The next event; the line moves until it comes.
    async fn until(&mut self, run: &Value, events: &mut Events<'_>) -> Result<Event, Failure> {
        if !self.visible {
            return events.next().await;
        }
        let away = events.away();
        // Kept over all ticks: a connection that is being made again would otherwise begin anew.
        let mut next = std::pin::pin!(events.next());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = &mut next => return event,
                _ = ticks.tick() => self.draw(run, &away),
            }
        }
    }

    fn draw(&mut self, run: &Value, away: &AtomicBool) {
        const TURNS: [char; 4] = ['◐', '◓', '◑', '◒'];
        self.turn = (self.turn + 1) % TURNS.len();
        let how = if away.load(Ordering::Relaxed) {
            "the connection is lost; trying again".to_owned()
        } else {
            show::standing(run)
        };
        let elapsed = output::span(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX));
        let text = format!("{} {how} · {elapsed}", TURNS[self.turn]);
        let text: String = text.chars().take(output::columns().unwrap_or(80).saturating_sub(1)).collect();
        self.drawn = true;
        // If the terminal is gone, there is nobody to show progress to.
        let _ = write!(io::stderr(), "\r\u{1b}[2K{text}");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.drawn {
            let _ = write!(io::stderr(), "\r\u{1b}[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_state_has_its_exit_code() {
        let code = |state: State| outcome(&json!({"state": state}));
        assert_eq!(code(State::Finished), Some(Outcome::Done));
        for needs in [State::Unconfirmed, State::PendingReview] {
            assert_eq!(code(needs), Some(Outcome::NeedsConfirmation));
        }
        for failed in [State::Failed, State::Stopped, State::Canceled, State::Discarded, State::Skipped] {
            assert_eq!(code(failed), Some(Outcome::Failed));
        }
        assert!(State::ALL.into_iter().filter(|state| state.is_active()).all(|state| code(state).is_none()));
        assert_eq!(code(State::Queued), None);
    }

    #[test]
    fn a_log_is_whole_when_every_phase_is() {
        let run = json!({"phases": [
            {"name": "planning", "log_bytes": 3}, {"name": "sealing", "log_bytes": 0}, {"name": "planning", "log_bytes": 2}
        ]});
        let mut seen = Seen::default();
        seen.add("planning".to_owned(), 0, "abc");
        assert!(!seen.is_all_of(&run));
        seen.add("planning".to_owned(), 3, "é");
        assert!(seen.is_all_of(&run));
    }
}
