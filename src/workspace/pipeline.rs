//! Chunks on their way through a few workers, in order.
//!
//! ```text
//! Front ──▶ worker 0 ──▶ Back
//!   ▲  └──▶ worker 1 ──▶  │
//!   └───── used buffers ──┘
//! ```
//!
//! Chunk `n` goes to worker `n % workers` and is awaited from there, so that order needs no
//! sorting. A fixed number of buffers circulates: that bounds the memory, and whoever is too fast
//! waits for a free one. When either end is dropped, everything else stops.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, Scope},
};

use zeroize::Zeroize as _;

use crate::crypt::{Position, TAG_BYTES};

/// Bytes of plain archive in one chunk, the last one excepted.
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// More workers than these would wait for the disk.
const WORKERS: usize = 4;

/// A chunk in both of its forms.
pub(super) struct Chunk {
    pub(super) at: Position,
    /// [`CHUNK_BYTES`] long.
    pub(super) plain: Vec<u8>,
    /// How much of it counts.
    pub(super) filled: usize,
    /// Compressed and encrypted.
    pub(super) sealed: Vec<u8>,
    /// Whether the worker could do its work.
    pub(super) good: bool,
}

/// Where chunks go in.
pub(super) struct Front {
    free: Receiver<Chunk>,
    workers: Vec<Sender<Chunk>>,
    next: u32,
}

/// Where chunks come out.
pub(super) struct Back {
    workers: Vec<Receiver<Chunk>>,
    free: Sender<Chunk>,
    next: usize,
}

/// The other end is gone.
#[derive(Debug)]
pub(super) struct Stopped;

/// Starts the workers. `make` gives each its own work, with what it needs for it.
pub(super) fn start<'scope, W>(scope: &'scope Scope<'scope, '_>, make: impl Fn() -> W) -> (Front, Back)
where
    W: FnMut(&mut Chunk) + Send + 'scope,
{
    let count = thread::available_parallelism().map_or(1, usize::from).min(WORKERS);
    let (give_back, free) = channel();
    for _ in 0..2 * count + 2 {
        give_back.send(Chunk::new()).expect("the receiver is held here");
    }
    let mut front = Front { free, workers: Vec::new(), next: 0 };
    let mut back = Back { workers: Vec::new(), free: give_back, next: 0 };
    for _ in 0..count {
        let (to_worker, chunks) = channel::<Chunk>();
        let (done, from_worker) = channel();
        let mut work = make();
        scope.spawn(move || {
            for mut chunk in chunks {
                work(&mut chunk);
                if done.send(chunk).is_err() {
                    break;
                }
            }
        });
        front.workers.push(to_worker);
        back.workers.push(from_worker);
    }
    (front, back)
}

impl Front {
    /// An unused chunk, once there is one.
    pub(super) fn take(&self) -> Result<Chunk, Stopped> {
        self.free.recv().map_err(|_| Stopped)
    }

    /// The number that the next chunk will have.
    pub(super) const fn next(&self) -> u32 {
        self.next
    }

    /// Sends a chunk on its way as the next one. False where 2³² chunks (4 PiB) are not enough.
    pub(super) fn send(&mut self, mut chunk: Chunk, last: bool) -> Result<(), Stopped> {
        chunk.at = Position { number: self.next, last };
        let worker = self.next as usize % self.workers.len();
        self.next = self.next.checked_add(1).ok_or(Stopped)?;
        self.workers[worker].send(chunk).map_err(|_| Stopped)
    }
}

impl Back {
    /// The next chunk in order; none after the last that was sent.
    pub(super) fn next(&mut self) -> Option<Chunk> {
        let chunk = self.workers[self.next % self.workers.len()].recv().ok()?;
        self.next += 1;
        Some(chunk)
    }

    /// Hands a chunk's buffers on.
    pub(super) fn give_back(&self, chunk: Chunk) {
        // Where the front is gone nobody needs them any more.
        let _ = self.free.send(chunk);
    }
}

impl Chunk {
    fn new() -> Self {
        Self {
            at: Position { number: 0, last: false },
            plain: vec![0; CHUNK_BYTES],
            filled: 0,
            sealed: Vec::with_capacity(sealed_most()),
            good: true,
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.plain.zeroize();
    }
}

/// Bytes of a sealed chunk at most.
pub(super) fn sealed_most() -> usize {
    zstd::zstd_safe::compress_bound(CHUNK_BYTES) + TAG_BYTES
}
