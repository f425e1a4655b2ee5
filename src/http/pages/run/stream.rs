//! The stream of one run: its state, and the lines of the log that its page shows.

use std::{collections::VecDeque, ops::ControlFlow, time::Duration};

use axum::{
    extract::{Path, State},
    response::{Response, sse::Event},
};
use futures_util::stream;
use tokio::{sync::watch, time};

use super::{
    super::{
        live::{Listener, answer, end, ended, event},
        sent::{Asked, Sent, sentence},
        show,
        visitor::Visitor,
    },
    Part, Revs, id_of,
    log::{Shown, live_line},
};
use crate::{
    auth::Who,
    domain::{RunId, State as RunState},
    http::{
        Problem, Web,
        view::{
            live::{EndReason, LiveLine, LiveLog, LiveState},
            offers,
            status::Badge,
        },
    },
    live::Heard,
    queries::{LogMark, Run},
};

/// Lines that are read at once.
const LINES: usize = 500;
/// Bytes of text in one event; a single line may have a little more.
const EVENT_BYTES: usize = 12 << 10;
/// How often the session is looked at, when nothing happens.
const LOOK: Duration = Duration::from_secs(20);
/// A pause after news, so that a chatty phase makes few large events.
const REST: Duration = Duration::from_millis(40);

/// Which blocks a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Page,
    Log,
}

/// Where in which log a follower is.
#[derive(Clone, Debug)]
struct At {
    /// The number of the phase; none while it has not begun.
    number: u32,
    mark: LogMark,
}

struct Follower {
    listener: Listener,
    run: RunId,
    of: Of,
    asked: Sent,
    bell: watch::Receiver<Heard>,
    /// Locks and other people's decisions concern the page, too.
    anything: watch::Receiver<u64>,
    /// Where the page was when it was made.
    begin: Option<(String, u64)>,
    at: Option<At>,
    last: Option<LiveState>,
    state: Option<RunState>,
    ready: VecDeque<Event>,
    over: bool,
}

/// `/live/runs/{id}?of=page|log&tab=&phase=&n=&after=<phase>:<line>`
pub async fn get(
    State(web): State<Web>,
    visitor: Visitor,
    Path(id): Path<String>,
    Asked(asked): Asked,
) -> Result<Response, Problem> {
    let run = id_of(&id)?;
    // Subscribed first, then read: nothing falls between.
    let bell = web.actions.bells().hear_run(run);
    let anything = web.actions.bells().hear();
    web.queries.run(&visitor.who, run)?;
    let follower = Follower {
        listener: Listener::of(&visitor),
        run,
        of: if asked.text("of") == "log" { Of::Log } else { Of::Page },
        begin: asked.get("after").and_then(position),
        asked,
        bell,
        anything,
        at: None,
        last: None,
        state: None,
        ready: VecDeque::new(),
        over: false,
    };
    Ok(answer(stream::unfold(follower, |mut follower| async move {
        follower.next().await.map(|event| (Ok(event), follower))
    })))
}

/// `applying:1203`
fn position(text: &str) -> Option<(String, u64)> {
    let (phase, line) = text.split_once(':')?;
    Some((phase.to_owned(), line.parse().ok()?))
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let waited = if self.last.is_some() { self.wait().await } else { ControlFlow::Continue(()) };
            let looked = match waited {
                ControlFlow::Break(()) => Err(EndReason::Restart),
                ControlFlow::Continue(()) => self.look().await,
            };
            if let Err(why) = looked {
                self.ready.push_back(end(why));
                self.over = true;
            }
        }
    }

    /// Until something happened, and a moment longer.
    async fn wait(&mut self) -> ControlFlow<()> {
        let stop = &self.listener.web.stop;
        tokio::select! {
            () = stop.cancelled() => return ControlFlow::Break(()),
            _ = self.bell.changed() => {}
            _ = self.anything.changed() => {}
            () = time::sleep(LOOK) => {}
        }
        time::sleep(REST).await;
        ControlFlow::Continue(())
    }

    /// Puts everything that is new into `ready`.
    async fn look(&mut self) -> Result<(), EndReason> {
        self.bell.mark_unchanged();
        self.anything.mark_unchanged();
        let who = self.listener.who().await?;
        let run = self.listener.web.queries.run(&who, self.run).map_err(|error| ended(&error.into()))?;
        let part = if self.of == Of::Log { Part::Log } else { Part::of(&self.asked, &run) };
        let shown = Shown::of(&self.asked, &run);
        let first = self.last.is_none();
        let state = self.state(&who, &run, part, &shown)?;
        if first {
            self.tell(&state);
        }
        if part == Part::Log {
            self.lines(&who, &run, &shown)?;
        }
        if !first {
            self.tell(&state);
        }
        if run.state.is_terminal() && !shown.is_open() {
            return Err(EndReason::Done);
        }
        Ok(())
    }

    fn tell(&mut self, state: &LiveState) {
        if self.last.as_ref() != Some(state) {
            self.last = Some(state.clone());
            self.ready.push_back(event("state", state));
        }
    }

    fn state(&mut self, who: &Who, run: &Run, part: Part, shown: &Shown) -> Result<LiveState, EndReason> {
        let queries = &self.listener.web.queries;
        let fault = |_| EndReason::Restart;
        let stack = queries.stack_of(run.stack).map_err(fault)?;
        let (name, version) = match &stack {
            Some(stack) => (stack.settings.name.to_string(), stack.version),
            None => (run.slug.to_string(), 0),
        };
        let stages = queries.stages(run).map_err(fault)?;
        let revs = Revs::of(run, super::run_tasks::rev(version, &stages), part, shown);
        let badge = show::badge(run);
        let label = offers::label(run.kind, run.number);
        let title = format!("{} {label} · {name} · Airlock", Badge::sign(badge.look));
        let mut state = LiveState::new(Some(&badge), title);
        match self.of {
            Of::Page => state.blocks.extend([
                ("head", revs.run),
                ("aside", revs.run),
                ("tabs", revs.run),
                ("panel", revs.panel),
            ]),
            Of::Log => state.blocks.extend([("log", revs.panel)]),
        }
        state.needs_you = queries.needs(who).map_err(fault)? as u64;
        let news = self.state.is_some_and(|before| before != run.state);
        state.say = news.then(|| format!("{} is {}", sentence(&label), badge.word.to_lowercase()));
        self.state = Some(run.state);
        Ok(state)
    }

    /// Sends the lines that are new in the log that the page shows.
    fn lines(&mut self, who: &Who, run: &Run, shown: &Shown) -> Result<(), EndReason> {
        let Some(row) = &shown.row else { return Ok(()) };
        let at = match self.at.take().filter(|at| at.number == row.number) {
            Some(at) => at,
            None => At { number: row.number, mark: LogMark::at(self.begin_of(row.phase.word())) },
        };
        let mut mark = at.mark;
        loop {
            let read = self.listener.web.queries.log_on(who, run.id, row.number, &mark, LINES);
            let read = read.map_err(|error| ended(&error.into()))?;
            let Some((lines, after)) = read else { break };
            let more = lines.len() == LINES;
            let lines: Vec<LiveLine> = lines.into_iter().map(live_line).collect();
            self.send(row.phase.word(), lines, mark.next, after.next);
            mark = after;
            if !more {
                break;
            }
        }
        self.at = Some(At { number: at.number, mark });
        Ok(())
    }

    /// Where the page's log ends that this stream goes on with; a phase that began later is sent
    /// from its first line.
    fn begin_of(&mut self, phase: &str) -> u64 {
        self.begin.take().filter(|(begun, _)| begun == phase).map_or(1, |(_, line)| line)
    }

    /// Lines as events of a bounded size. The id of each is where to go on behind it.
    fn send(&mut self, phase: &'static str, lines: Vec<LiveLine>, from: u64, next: u64) {
        let mut batch: Vec<LiveLine> = Vec::new();
        let mut size = 0;
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            size += line.s.iter().map(|(class, text)| class.len() + text.len() + 8).sum::<usize>() + 32;
            let n = line.n;
            batch.push(line);
            let last = lines.peek().is_none();
            if last || size > EVENT_BYTES {
                let behind = if last { next } else { (n + 1).max(from) };
                let lines = std::mem::take(&mut batch);
                self.ready.push_back(event("log", &LiveLog { phase, lines }).id(format!("{phase}:{behind}")));
                size = 0;
            }
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("run", &self.run).field("of", &self.of).finish_non_exhaustive()
    }
}
