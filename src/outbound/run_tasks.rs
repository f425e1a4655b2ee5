//! Requests to run tasks: all that are due at once, each in a task of its own.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    actions::{Actions, DueRequest, DueWork, Error, Outside, Reply, Request},
    domain::{TaskResultId, limits},
    egress::{Call, CallError, Client},
};

/// Who signed the body.
const SIGNATURE: HeaderName = HeaderName::from_static("x-tfc-task-signature");
/// The longest time without a look at the clock.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// The shortest, so that a clock that stands still costs little.
const BREATH: Duration = Duration::from_millis(20);

/// The way to run tasks over the network.
#[derive(Debug)]
pub struct Network(Client);

impl Network {
    pub const fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Outside for Network {
    fn post<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>> {
        Box::pin(async move {
            let begun = Instant::now();
            let sent = match call_of(request) {
                Some(call) => self.0.send(call).await,
                None => Err(CallError::Address("its signature cannot be sent")),
            };
            let took = begun.elapsed();
            match sent {
                Ok(reply) => Reply {
                    status: Some(reply.status.as_u16()),
                    note: Some(excerpt(&reply.body, limits::DELIVERY_NOTE_CHARS))
                        .filter(|note| reply.status != StatusCode::OK && !note.is_empty()),
                    may_pass: true,
                    took,
                },
                Err(error) => Reply { status: None, note: Some(error.to_string()), may_pass: error.may_pass(), took },
            }
        })
    }
}

fn call_of(request: &Request) -> Option<Call> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(SIGNATURE, HeaderValue::from_str(&request.signature).ok()?);
    let body = Bytes::copy_from_slice(request.body.expose());
    Some(Call { method: Method::POST, url: request.url.clone(), headers, body })
}

/// The beginning of an answer, fit for one line.
pub(super) fn excerpt(body: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * most)]);
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    words.join(" ").chars().take(most).collect()
}

/// Sends what is due, and gives up what is over, until the server stops.
pub async fn run(actions: Actions, outside: Arc<dyn Outside>, tasks: TaskTracker, stop: CancellationToken) {
    let sending = Sending {
        actions,
        outside,
        under_way: Arc::default(),
        free: Arc::new(Semaphore::new(limits::DELIVERIES_AT_ONCE)),
        tasks,
        stop,
    };
    let mut bell = sending.actions.bells().hear();
    loop {
        bell.mark_unchanged();
        let wait = match sending.look().await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(%error, "requests to run tasks cannot be looked up");
                LOOK_AGAIN
            }
        };
        tokio::select! {
            () = sending.stop.cancelled() => return,
            changed = bell.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait.clamp(BREATH, LOOK_AGAIN)) => {}
        }
    }
}

#[derive(Clone)]
struct Sending {
    actions: Actions,
    outside: Arc<dyn Outside>,
    under_way: Arc<Mutex<HashSet<TaskResultId>>>,
    free: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Sending {
    /// Starts what is due; says how long nothing else is.
    async fn look(&self) -> Result<Duration, Error> {
        self.actions.patrol_run_tasks().await?;
        let under_way: Vec<TaskResultId> = self.under_way().iter().copied().collect();
        let (due, next) = self.actions.due_requests(&under_way)?;
        for request in due {
            self.start(request);
        }
        Ok(next.map_or(LOOK_AGAIN, |next| next - self.actions.now()))
    }

    fn start(&self, due: DueRequest) {
        let id = due.id;
        self.under_way().insert(id);
        let sending = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = sending.stop.cancelled() => {}
                () = sending.carry_out(due) => {}
            }
            sending.under_way().remove(&id);
            // Something may have become due while it was under way.
            sending.actions.bells().ring();
        });
    }

    async fn carry_out(&self, due: DueRequest) {
        let Ok(_place) = self.free.acquire().await else { return };
        let reply = match &due.what {
            DueWork::Send(request) => self.outside.post(request).await,
            DueWork::Impossible(why) => Reply::impossible(why.clone()),
        };
        if let Err(error) = self.actions.request_sent(due.id, due.since, reply).await {
            tracing::error!(result = %due.id, %error, "what became of a request cannot be written down");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<TaskResultId>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
