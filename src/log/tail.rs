//! Following a log: the file is the truth, a bell only says how far it is.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Chunk, LogFault, LogReader};
use crate::domain::limits;

/// How far a log is. What the bell carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of text.
    pub bytes: u64,
    /// Nothing more will come.
    pub done: bool,
}

/// Pieces that were encoded for one reader and serve the others, at most
/// `limits::LOG_SHARED_BYTES`; the oldest make room. One per way of encoding.
#[derive(Default)]
pub struct Shared {
    pieces: Mutex<Pieces>,
}

#[derive(Default)]
struct Pieces {
    /// By log and offset: the encoded piece, and where the next begins.
    encoded: HashMap<(u64, u64), (Bytes, u64)>,
    oldest: VecDeque<(u64, u64)>,
    bytes: usize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(…)")
    }
}

impl Shared {
    fn get(&self, key: (u64, u64)) -> Option<(Bytes, u64)> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).encoded.get(&key).cloned()
    }

    fn put(&self, key: (u64, u64), piece: (Bytes, u64)) {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.bytes += weight(&piece);
        match pieces.encoded.insert(key, piece) {
            Some(old) => pieces.bytes -= weight(&old),
            None => pieces.oldest.push_back(key),
        }
        while pieces.bytes > limits::LOG_SHARED_BYTES {
            let Some(oldest) = pieces.oldest.pop_front() else { break };
            let bytes = pieces.encoded.remove(&oldest).map_or(0, |piece| weight(&piece));
            pieces.bytes -= bytes;
        }
    }
}

#[cfg(test)]
impl Shared {
    pub(super) fn bytes(&self) -> usize {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

/// What a piece costs: its bytes and about what its place in the table takes.
fn weight((bytes, _): &(Bytes, u64)) -> usize {
    bytes.len() + 128
}

/// One reader that follows a log. Every byte comes once, in order, however late it is asked for.
pub struct Tail<E> {
    log: Arc<LogReader>,
    /// What tells this log from others in [`Shared`].
    id: u64,
    bell: watch::Receiver<Progress>,
    shared: Arc<Shared>,
    encode: E,
    at: u64,
}

impl<E> fmt::Debug for Tail<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("id", &self.id).field("at", &self.at).finish_non_exhaustive()
    }
}

impl<E: Fn(&Chunk) -> Bytes + Clone + Send + 'static> Tail<E> {
    /// Follows from the offset `from`. `id` must be another for every log that shares `shared`, and
    /// `encode` the same.
    pub fn new(
        log: Arc<LogReader>,
        id: u64,
        from: u64,
        bell: watch::Receiver<Progress>,
        shared: Arc<Shared>,
        encode: E,
    ) -> Self {
        Self { log, id, bell, shared, encode, at: from }
    }

    /// The offset up to which everything was handed out: where to resume.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// The next piece, encoded, as soon as there is one; none when the log is done. May be dropped
    /// while it waits, and called again.
    pub async fn next(&mut self) -> Option<Result<Bytes, LogFault>> {
        loop {
            let progress = *self.bell.borrow_and_update();
            match self.piece().await {
                Ok(Some((bytes, end))) => {
                    self.at = end;
                    return Some(Ok(bytes));
                }
                Ok(None) => {}
                Err(fault) => return Some(Err(fault)),
            }
            if progress.done {
                return None;
            }
            if self.bell.changed().await.is_err() {
                // Whoever rang it is gone: what is there is all there will be.
                self.bell = watch::channel(Progress { bytes: progress.bytes, done: true }).1;
            }
        }
    }

    async fn piece(&self) -> Result<Option<(Bytes, u64)>, LogFault> {
        let key = (self.id, self.at);
        if let Some(piece) = self.shared.get(key) {
            return Ok(Some(piece));
        }
        let (log, encode) = (Arc::clone(&self.log), self.encode.clone());
        let read = move || log.chunk(key.1).map(|chunk| chunk.map(|chunk| (encode(&chunk), chunk.end())));
        let piece = match tokio::task::spawn_blocking(read).await {
            Ok(piece) => piece?,
            Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
        };
        if let Some(piece) = &piece {
            self.shared.put(key, piece.clone());
        }
        Ok(piece)
    }
}
