//! What happens to a run, as it happens: server-sent events, followed through lost connections. Every
//! piece of the log comes exactly once.

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    cli::failure::Failure,
    domain::{RunId, limits},
};

use super::{
    Client,
    answer::{lost, refused, stranger},
    with_query,
};

/// The first pause before a lost connection is made again; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a server may be away: an upgrade takes a while.
const PATIENCE: Duration = Duration::from_mins(2);
/// Bytes of one event: a run with all its comments fits.
const EVENT_BYTES: usize = 16 * limits::MIB as usize;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The run changed.
    State(Value),
    /// Something was printed: `offset` bytes of the phase came before it.
    Log { phase: String, offset: u64, text: String },
    /// Nothing more will happen.
    Done,
}

/// Follows one run.
#[derive(Debug)]
pub struct Events<'c> {
    client: &'c Client,
    run: RunId,
    response: Option<Response>,
    parser: Parser,
    /// The id of the last event: where the server goes on.
    after: Option<String>,
    /// When the connection was lost, while it is.
    lost_at: Option<Instant>,
    pause: Duration,
    away: Arc<AtomicBool>,
}

impl<'c> Events<'c> {
    /// Bytes of a phase's log that came so far; none unless it is the phase that is being told.
    pub fn bytes_of(&self, phase: &str) -> u64 {
        let told = self.after.as_deref().and_then(|id| id.rsplit_once(':'));
        told.filter(|(name, _)| *name == phase).and_then(|(_, offset)| offset.parse().ok()).unwrap_or(0)
    }

    /// Begins with the run's present state and the log's first byte.
    pub async fn of(client: &'c Client, run: RunId) -> Result<Self, Failure> {
        let mut events = Self {
            client,
            run,
            response: None,
            parser: Parser::default(),
            after: None,
            lost_at: None,
            pause: PAUSE,
            away: Arc::default(),
        };
        events.response = Some(events.connect().await?.map_err(|error| lost(&client.base, &error))?);
        Ok(events)
    }

    /// The next event, over as many connections as it takes.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(raw) = self.parser.next() {
                if let Some(id) = raw.id.clone() {
                    self.after = Some(id);
                }
                if let Some(event) = understood(&raw).ok_or_else(|| stranger(&self.client.base))? {
                    self.lost_at = None;
                    self.pause = PAUSE;
                    self.away.store(false, Ordering::Relaxed);
                    return Ok(event);
                }
                continue;
            }
            self.more().await?;
        }
    }

    /// Whether the server is away at the moment.
    pub fn away(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.away)
    }

    /// More bytes, or another connection.
    async fn more(&mut self) -> Result<(), Failure> {
        let Some(response) = &mut self.response else { return self.again().await };
        match response.chunk().await {
            Ok(Some(bytes)) => self.parser.push(&bytes).map_err(|TooLong| stranger(&self.client.base)),
            Ok(None) | Err(_) => {
                self.response = None;
                self.parser = Parser::default();
                self.lost_at.get_or_insert_with(Instant::now);
                self.away.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// One more try to connect, after a pause.
    async fn again(&mut self) -> Result<(), Failure> {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        match self.connect().await? {
            Ok(response) => self.response = Some(response),
            Err(error) if self.lost_at.is_some_and(|since| since.elapsed() > PATIENCE) => {
                return Err(lost(&self.client.base, &error));
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// A connection; a server that is just starting or ending counts as none.
    async fn connect(&self) -> Result<reqwest::Result<Response>, Failure> {
        let after: Vec<_> = self.after.iter().map(|after| ("after", after.clone())).collect();
        let path = with_query(&format!("/runs/{}/events", self.run), &after);
        match self.client.request(Method::GET, &path).send().await {
            Ok(response) if response.status().is_success() => Ok(Ok(response)),
            Ok(response) if response.status().as_u16() == 503 => Ok(response.error_for_status()),
            Ok(response) => Err(refused(&self.client.base, response).await),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// What an event says: nothing for one of a later server; none when it is not what it should be.
fn understood(raw: &Raw) -> Option<Option<Event>> {
    let json = || serde_json::from_str::<Value>(&raw.data).ok();
    Some(match raw.name.as_str() {
        "state" => Some(Event::State(json()?)),
        "log" => {
            let piece = json()?;
            let text = |name: &str| piece[name].as_str().map(str::to_owned);
            Some(Event::Log { phase: text("phase")?, offset: piece["offset"].as_u64()?, text: text("text")? })
        }
        "done" => Some(Event::Done),
        _ => None,
    })
}

/// An event as it came (HTML Living Standard, 9.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Raw {
    name: String,
    data: String,
    id: Option<String>,
}

/// An event does not end.
#[derive(Debug, PartialEq, Eq)]
struct TooLong;

/// Bytes into events, whatever pieces they come in.
#[derive(Debug, Default)]
struct Parser {
    begun: Vec<u8>,
    event: Raw,
    whole: std::collections::VecDeque<Raw>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if self.begun.len() + self.event.data.len() > EVENT_BYTES {
                return Err(TooLong);
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Raw> {
        self.whole.pop_front()
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => self.end(),
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // Comments, and what later standards add.
            _ => {}
        }
    }

    fn end(&mut self) {
        let event = std::mem::take(&mut self.event);
        if !event.data.is_empty() {
            self.whole.push_back(event);
        }
    }
}
