//! What happens to a run, as it happens: server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::watch, time};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, shape::RunShape};
use crate::{
    auth::{On, Permission, permit},
    domain::RunId,
    http::{
        Problem, Web,
        extract::{Asker, At, Params},
    },
    live::Heard,
    queries::{Follower, LogPoint, Piece, Run},
};

/// Between two signs of life, and at most between two looks at whether the reader still may.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(events))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventParams {
    /// `phase:offset`, the id of the last event that was read: the log goes on behind it.
    after: Option<String>,
}

/// Follow a run: `state` (the run) at first and whenever it changes, `log` (`{phase, offset, text}`,
/// every byte once) with the id `phase:offset` to resume behind, `done` at the end.
#[utoipa::path(get, path = "/runs/{run}/events", params(EventParams), responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn events(
    asker: Asker,
    At(run): At<RunId>,
    Params(params): Params<EventParams>,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let (run, _) = asker.may_on_run(Permission::See, run).await?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let after = last.or(params.after.as_deref()).map(str::parse::<LogPoint>).transpose()?;
    let watching = Watching::new(asker, run.id, after)?;
    let events = stream::unfold(watching, |mut watching| async move {
        let event = watching.next().await?;
        Some((Ok(event), watching))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

/// One reader of one run.
struct Watching {
    asker: Asker,
    run: RunId,
    follower: Follower,
    heard: watch::Receiver<Heard>,
    anything: watch::Receiver<u64>,
    looks: time::Interval,
    /// The run as it was told last.
    told: Option<Run>,
    /// The log is being handed out: nothing else is looked at until that is done.
    reading: bool,
    over: bool,
}

impl Watching {
    /// Listens first and reads then: nothing falls between.
    fn new(asker: Asker, run: RunId, after: Option<LogPoint>) -> Answer<Self> {
        let bells = asker.web.actions.bells();
        let (heard, anything) = (bells.hear_run(run), bells.hear());
        let follower = asker.web.queries.follow(&asker.who, run, after)?;
        let mut looks = time::interval(SIGN_OF_LIFE);
        looks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        looks.reset();
        Ok(Self { asker, run, follower, heard, anything, looks, told: None, reading: false, over: false })
    }

    /// The next event; none when it is over, for the run or for the reader.
    async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        match self.look().await {
            Ok(event) => event,
            Err(problem) => {
                // What the reader may not see any more ends without a word.
                tracing::debug!(run = %self.run, request = self.asker.request_id, problem = problem.detail, "a stream of events ended");
                None
            }
        }
    }

    async fn look(&mut self) -> Answer<Option<Event>> {
        loop {
            if self.asker.web.stop.is_cancelled() {
                return Ok(None);
            }
            if !self.reading {
                self.reading = true;
                if let Some(event) = self.state().await? {
                    return Ok(Some(event));
                }
            }
            if let Some(piece) = self.follower.next().await? {
                return Ok(Some(log(piece)));
            }
            // Whether the run had ended was known before its log was read to the end.
            if self.told.as_ref().is_some_and(|run| run.state.is_terminal()) {
                self.over = true;
                return Ok(Some(self.done()));
            }
            self.wait().await;
            self.reading = false;
        }
    }

    /// The run, if it is another than before and the reader still may see it.
    async fn state(&mut self) -> Answer<Option<Event>> {
        let web = &self.asker.web;
        let who = web.queries.again(&self.asker.who)?.ok_or_else(|| Problem::not_found("access is over"))?;
        let who = web.actions.narrowed(who).await?;
        let run = web.queries.run(&who, self.run)?;
        permit(&who, Permission::See, On::Stack(run.stack), web.actions.now())?;
        if self.told.as_ref() == Some(&run) {
            return Ok(None);
        }
        self.told = Some(run.clone());
        let shape = RunShape::new(web, web.queries.detail_of(run)?);
        Ok(Some(Event::default().event("state").json_data(shape).map_err(|_| Problem::internal())?))
    }

    fn done(&self) -> Event {
        let state = self.told.as_ref().map(|run| run.state);
        Event::default().event("done").data(json!({"state": state}).to_string())
    }

    /// Until something rings, or it is time to look anyway: sessions end without a bell.
    async fn wait(&mut self) {
        let rang = tokio::select! {
            () = self.asker.web.stop.cancelled() => Ok(()),
            heard = self.heard.changed() => heard,
            heard = self.anything.changed() => heard,
            _ = self.looks.tick() => Ok(()),
        };
        // Bells live as long as the server.
        self.over |= rang.is_err();
    }
}

fn log(piece: Piece) -> Event {
    Event::default().event("log").id(piece.end.to_string()).data(piece.json)
}
