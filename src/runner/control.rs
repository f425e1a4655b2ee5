//! `control.sock`: bells out, requests in; any number of listeners, none of which can hold anything
//! up.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::protocol::{Bell, Request};

use super::asked::Asked;

/// Listeners at the same time; more wait in the socket's backlog.
const LISTENERS: usize = 64;
/// Pause after a connection could not be accepted: descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a request.
const REQUEST_BYTES: u64 = 4_096;

/// Serves until the bells end, then gives everybody the last bell.
pub async fn serve(listener: UnixListener, mut bells: watch::Receiver<Bell>, asked: Arc<Asked>) {
    let places = Arc::new(Semaphore::new(LISTENERS));
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(&listener, &places) => {
                let Some((stream, place)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let (bells, asked) = (bells.clone(), Arc::clone(&asked));
                conversations.spawn(async move {
                    converse(stream, bells, &asked).await;
                    drop(place);
                });
            }
            Some(_) = conversations.join_next() => {}
            () = ended(&mut bells) => break,
        }
    }
    while conversations.join_next().await.is_some() {}
}

async fn ended(bells: &mut watch::Receiver<Bell>) {
    while bells.changed().await.is_ok() {}
}

async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> Option<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, place))
}

/// Ends when the other side hangs up or the bells end.
async fn converse(stream: UnixStream, bells: watch::Receiver<Bell>, asked: &Asked) {
    let (reading, writing) = stream.into_split();
    tokio::select! {
        () = ring(writing, bells) => {}
        () = listen(reading, asked) => {}
    }
}

async fn ring(mut writing: OwnedWriteHalf, mut bells: watch::Receiver<Bell>) {
    loop {
        let bell = *bells.borrow_and_update();
        let Ok(mut line) = serde_json::to_vec(&bell) else { return };
        line.push(b'\n');
        if writing.write_all(&line).await.is_err() || bells.changed().await.is_err() {
            return;
        }
    }
}

/// Hears requests; what is not one ends the conversation.
async fn listen(reading: OwnedReadHalf, asked: &Asked) {
    let mut lines = BufReader::new(reading);
    loop {
        let mut line = Vec::new();
        let read = (&mut lines).take(REQUEST_BYTES).read_until(b'\n', &mut line).await;
        if read.is_err() || !line.ends_with(b"\n") {
            return;
        }
        let Ok(request) = serde_json::from_slice::<Request>(&line) else { return };
        asked.hear(&request);
    }
}
