//! Deliveries to webhooks: the next one of each at the same time, so that none waits for another's.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method,
    header::{HeaderName, HeaderValue},
};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::run_tasks::excerpt;
use crate::{
    actions::{Actions, DueDelivery, DuePost, Post, Reply},
    domain::{Slug, limits},
    egress::{Call, Client},
};

/// Looked at without anybody ringing, in case the clock was set.
const LOOK: Duration = Duration::from_secs(60);

/// Delivers until the server stops.
pub async fn deliver(actions: Actions, client: Client, stop: CancellationToken) {
    let courier = Courier { actions, client, stop };
    let mut bell = courier.actions.bells().hear();
    let mut away: JoinSet<Slug> = JoinSet::new();
    let mut busy = HashSet::new();
    loop {
        bell.mark_unchanged();
        let wait = courier.send_out(&mut away, &mut busy);
        tokio::select! {
            () = courier.stop.cancelled() => break,
            _ = bell.changed() => {}
            Some(back) = away.join_next(), if !away.is_empty() => back_again(back, &mut busy),
            () = tokio::time::sleep(wait) => {}
        }
    }
    while away.join_next().await.is_some() {}
}

fn back_again(back: Result<Slug, JoinError>, busy: &mut HashSet<Slug>) {
    match back {
        Ok(webhook) => {
            busy.remove(&webhook);
        }
        Err(error) => {
            // Nobody knows which it was: all are looked at again.
            tracing::error!(%error, "a delivery to a webhook ended in a panic");
            busy.clear();
        }
    }
}

#[derive(Clone)]
struct Courier {
    actions: Actions,
    client: Client,
    stop: CancellationToken,
}

impl Courier {
    /// Begins every delivery that is due; says when to look again.
    fn send_out(&self, away: &mut JoinSet<Slug>, busy: &mut HashSet<Slug>) -> Duration {
        let (due, next) = match self.actions.due_deliveries(busy) {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "deliveries to webhooks cannot be looked up");
                return LOOK;
            }
        };
        for delivery in due {
            if busy.insert(delivery.webhook.clone()) {
                let courier = self.clone();
                away.spawn(async move { courier.carry_out(delivery).await });
            }
        }
        next.map_or(LOOK, |next| next.since(self.actions.now()).clamp(Duration::from_millis(10), LOOK))
    }

    /// What a server that stops leaves is sent by the next one.
    async fn carry_out(&self, due: DueDelivery) -> Slug {
        let webhook = due.webhook;
        let reply = tokio::select! {
            () = self.stop.cancelled() => return webhook,
            reply = self.send(due.what) => reply,
        };
        if let Err(error) = self.actions.delivery_tried(webhook.clone(), due.seq, reply).await {
            tracing::error!(%webhook, %error, "what became of a delivery cannot be written down");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        webhook
    }

    async fn send(&self, what: DuePost) -> Reply {
        let post = match what {
            DuePost::Impossible(why) => return Reply::impossible(why),
            DuePost::Send(post) => post,
        };
        let Some(call) = call_of(post) else { return Reply::impossible("its headers cannot be sent".to_owned()) };
        let begun = Instant::now();
        let sent = self.client.send(call).await;
        let took = begun.elapsed();
        match sent {
            Ok(reply) => Reply {
                status: Some(reply.status.as_u16()),
                note: Some(excerpt(&reply.body, limits::DELIVERY_ANSWER_CHARS)).filter(|note| !note.is_empty()),
                may_pass: true,
                took,
            },
            Err(error) => Reply { status: None, note: Some(error.to_string()), may_pass: error.may_pass(), took },
        }
    }
}

fn call_of(post: Post) -> Option<Call> {
    let mut headers = HeaderMap::new();
    for (name, value) in &post.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(value.expose()).ok()?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let method = Method::from_bytes(post.method.as_bytes()).ok()?;
    Some(Call { method, url: post.url, headers, body: Bytes::from(post.body) })
}
