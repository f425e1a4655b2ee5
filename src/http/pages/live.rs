//! Live pages: one stream of events each, that carries numbers; the page fetches what changed.
//!
//! The contract is written in [`crate::http::view::live`]. A stream ends when the session or the
//! right to see the page does, and when the server does. It never keeps a session alive.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use axum::{
    extract::{Path, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use serde::Serialize;
use tokio::{sync::watch, time};

use super::{
    home, queue, runs,
    sent::{Asked, Sent},
    stack::{self, slug_of},
    stacks, tasks,
    visitor::Visitor,
};
use crate::{
    auth::Who,
    http::{
        Problem, Web,
        view::{
            live::{EndReason, LiveEnd, LiveState},
            status::Badge,
        },
    },
};

/// How long a list rests between two looks, however much happens.
const REST: Duration = Duration::from_millis(250);
/// How often a stream looks whether its session still lives, when nothing happens.
const LOOK: Duration = Duration::from_secs(20);

/// The state of a page that is a list.
pub fn lists(subject: &str, rev: u64) -> LiveState {
    let mut state = LiveState::new(None, format!("{subject} · Airlock"));
    state.blocks = BTreeMap::from([("lists", rev)]);
    state
}

/// The state of a page about one object.
pub fn object(badge: &Badge, subject: &str, blocks: &[&'static str], rev: u64) -> LiveState {
    let mut state = LiveState::new(Some(badge), format!("{} {subject} · Airlock", Badge::sign(badge.look)));
    state.blocks = blocks.iter().map(|block| (*block, rev)).collect();
    state
}

/// An event with data.
pub fn event(name: &str, data: &impl Serialize) -> Event {
    // Plain structs of text and numbers always have a JSON form.
    Event::default().event(name).json_data(data).unwrap_or_default()
}

/// The last event of a stream.
pub fn end(why: EndReason) -> Event {
    event("end", &LiveEnd { why })
}

/// A stream of events that says every while that it is there.
pub fn answer<S>(events: S) -> Response
where
    S: futures_util::Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

/// What a stream must know of whoever listens.
#[derive(Clone, Debug)]
pub struct Listener {
    pub web: Web,
    token: String,
    address: Option<std::net::IpAddr>,
}

impl Listener {
    pub fn of(visitor: &Visitor) -> Self {
        Self { web: visitor.web.clone(), token: visitor.token.clone(), address: visitor.who.address }
    }

    /// Who listens, if they are still signed in.
    pub async fn who(&self) -> Result<Who, EndReason> {
        let narrowed = match self.web.queries.authenticate(&self.token, self.address) {
            Ok(Some(who)) => self.web.actions.narrowed(who).await.map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match narrowed {
            Ok(Some(who)) => Ok(who),
            Ok(None) => Err(EndReason::SignedOut),
            Err(error) => {
                tracing::warn!(%error, "a live page could not be looked after");
                Err(EndReason::Restart)
            }
        }
    }
}

/// Why a page that could not be looked at ends its stream.
pub fn ended(problem: &Problem) -> EndReason {
    if problem.status >= 500 { EndReason::Restart } else { EndReason::Forbidden }
}

type Look = Box<dyn Fn(&Web, &Who) -> Result<LiveState, Problem> + Send + Sync>;

/// A page of lists, and how it is looked at.
struct Page {
    listener: Listener,
    bell: watch::Receiver<u64>,
    look: Look,
    last: Option<LiveState>,
    over: bool,
}

fn follow(visitor: &Visitor, look: Look) -> Response {
    let page = Page {
        bell: visitor.web.actions.bells().hear(),
        listener: Listener::of(visitor),
        look,
        last: None,
        over: false,
    };
    answer(stream::unfold(page, |mut page| async move { page.next().await.map(|event| (Ok(event), page)) }))
}

impl Page {
    async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        loop {
            if self.last.is_some() && self.wait().await.is_break() {
                return Some(self.end(EndReason::Restart));
            }
            self.bell.mark_unchanged();
            match self.state().await {
                Err(why) => return Some(self.end(why)),
                Ok(state) if self.last.as_ref() != Some(&state) => {
                    self.last = Some(state.clone());
                    return Some(event("state", &state));
                }
                Ok(_) => {}
            }
        }
    }

    fn end(&mut self, why: EndReason) -> Event {
        self.over = true;
        end(why)
    }

    async fn state(&self) -> Result<LiveState, EndReason> {
        let web = &self.listener.web;
        let who = self.listener.who().await?;
        let mut state = (self.look)(web, &who).map_err(|problem| ended(&problem))?;
        state.needs_you = web.queries.needs(&who).map_err(|_| EndReason::Restart)? as u64;
        Ok(state)
    }

    /// Until something happened, and a moment longer.
    async fn wait(&mut self) -> std::ops::ControlFlow<()> {
        let stop = &self.listener.web.stop;
        tokio::select! {
            () = stop.cancelled() => return std::ops::ControlFlow::Break(()),
            _ = self.bell.changed() => {}
            () = time::sleep(LOOK) => {}
        }
        tokio::select! {
            () = stop.cancelled() => std::ops::ControlFlow::Break(()),
            () = time::sleep(REST) => std::ops::ControlFlow::Continue(()),
        }
    }
}

macro_rules! list_page {
    ($name:ident, $look:path) => {
        pub async fn $name(visitor: Visitor, Asked(asked): Asked) -> Response {
            follow(&visitor, Box::new(move |web, who| $look(web, who, &asked)))
        }
    };
}

list_page!(get_home, home::live);
list_page!(get_stacks, stacks::live);
list_page!(get_runs, runs::live);
list_page!(get_tasks, tasks::live);
list_page!(get_queue, queue::live);

type LookAtStack = fn(&Web, &Who, &crate::domain::Slug, &Sent) -> Result<LiveState, Problem>;

fn follow_stack(web: &Web, visitor: &Visitor, slug: &str, asked: Sent, look: LookAtStack) -> Result<Response, Problem> {
    let slug = slug_of(slug)?;
    // Whoever may not see it gets an answer, not a stream.
    web.queries.stack(&visitor.who, &slug)?;
    Ok(follow(visitor, Box::new(move |web, who| look(web, who, &slug, &asked))))
}

pub async fn get_stack(
    State(web): State<Web>,
    visitor: Visitor,
    Path(slug): Path<String>,
    Asked(asked): Asked,
) -> Result<Response, Problem> {
    follow_stack(&web, &visitor, &slug, asked, stack::live_runs)
}

pub async fn get_stack_tasks(
    State(web): State<Web>,
    visitor: Visitor,
    Path(slug): Path<String>,
    Asked(asked): Asked,
) -> Result<Response, Problem> {
    follow_stack(&web, &visitor, &slug, asked, stack::live_tasks)
}
