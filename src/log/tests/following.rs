use std::sync::{Arc, Barrier};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Files, ms, written};
use crate::{
    domain::limits,
    log::{Chunk, Progress, Shared, Stream, Tail},
};

fn encode(chunk: &Chunk) -> Bytes {
    Bytes::from(format!("{}:{}", chunk.offset, chunk.text))
}

/// Follows to the end; checks that every piece begins where the one before it ended.
async fn follow(mut tail: Tail<fn(&Chunk) -> Bytes>) -> String {
    let mut all = String::new();
    let mut at = tail.at();
    while let Some(piece) = tail.next().await {
        let piece = String::from_utf8(piece.unwrap().to_vec()).unwrap();
        let (offset, text) = piece.split_once(':').unwrap();
        assert_eq!(offset.parse(), Ok(at));
        at += text.len() as u64;
        all.push_str(text);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_get_every_byte_once_while_the_log_grows() {
    let files = Files::new();
    let mut log = files.writer();
    let (bell, heard) = watch::channel(Progress::default());
    let shared = Arc::new(Shared::default());
    let reader = Arc::new(files.live());
    let tail = |from| {
        let encode: fn(&Chunk) -> Bytes = encode;
        Tail::new(Arc::clone(&reader), 1, from, heard.clone(), Arc::clone(&shared), encode)
    };
    let start = Arc::new(Barrier::new(2));
    let writer = std::thread::spawn({
        let start = Arc::clone(&start);
        move || {
            start.wait();
            for n in 0..20_000_u64 {
                let stream = if n % 50 == 0 { Stream::Stderr } else { Stream::Stdout };
                log.write(ms(n), stream, format!("line {n} — €\n").as_bytes()).unwrap();
                bell.send_replace(Progress { bytes: log.len(), done: false });
            }
            log.finish(ms(30_000)).unwrap();
            bell.send_modify(|progress| progress.done = true);
        }
    });
    let followers: Vec<_> = [0, 0, 0, 15, 30].map(|from| tokio::spawn(follow(tail(from)))).into();
    start.wait();
    let mut got = Vec::new();
    for follower in followers {
        got.push(follower.await.unwrap());
    }
    writer.join().unwrap();
    let text = files.content();
    assert_eq!(got[..3], [text.as_str(); 3]);
    assert_eq!(got[3], text[15..]);
    assert_eq!(got[4], text[30..]);
    assert_eq!(follow(tail(0)).await, text, "and whoever comes late");
}

#[tokio::test]
async fn a_follower_ends_when_nobody_can_ring_any_more() {
    let files = Files::new();
    written(&files, &[b"all there is\n"]);
    let (bell, heard) = watch::channel(Progress { bytes: 13, done: false });
    let encode: fn(&Chunk) -> Bytes = encode;
    let tail = Tail::new(Arc::new(files.live()), 1, 0, heard, Arc::default(), encode);
    drop(bell);
    assert_eq!(follow(tail).await, "all there is\n");
}

#[tokio::test]
async fn readers_share_encoded_pieces_within_a_bound() {
    let files = Files::new();
    let line = format!("{}\n", "x".repeat(1_023));
    written(&files, &[line.repeat(20 << 10).as_bytes()]);
    let (_bell, heard) = watch::channel(Progress { bytes: 20 << 20, done: true });
    let shared = Arc::new(Shared::default());
    let log = Arc::new(files.live());
    let encode: fn(&Chunk) -> Bytes = encode;
    let mut first = Tail::new(Arc::clone(&log), 7, 0, heard.clone(), Arc::clone(&shared), encode);
    let mut second = Tail::new(log, 7, 0, heard, Arc::clone(&shared), encode);
    while let Some(piece) = first.next().await {
        let (piece, other) = (piece.unwrap(), second.next().await.unwrap().unwrap());
        assert_eq!(piece.as_ptr(), other.as_ptr(), "one piece of memory for both");
    }
    assert!(second.next().await.is_none());
    assert!(shared.bytes() <= limits::LOG_SHARED_BYTES && shared.bytes() > limits::LOG_SHARED_BYTES / 2);
}
