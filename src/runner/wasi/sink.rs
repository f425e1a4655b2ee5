//! Where a guest's output goes: a pipe to the runner, counted, never blocking the clock.

use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{io::AsyncWrite, net::unix::pipe::Sender};
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use super::{cut::Cut, denials::Watch};
use crate::protocol::DenialKind;

/// Bytes that a guest may hand over at a time.
const PERMIT: usize = 64 << 10;

/// What both streams have in common: one cap.
#[derive(Clone, Debug)]
pub struct Meter {
    used: Arc<AtomicU64>,
    cap: u64,
    watch: Watch,
}

impl Meter {
    pub fn new(cap: u64, watch: Watch) -> Self {
        Self { used: Arc::default(), cap, watch }
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// How many of so many bytes still fit.
    fn take(&self, wanted: usize) -> usize {
        let room = self.cap - self.used().min(self.cap);
        let taken = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
        self.used.fetch_add(taken as u64, Ordering::Relaxed);
        if taken < wanted {
            self.watch.deny(DenialKind::Cap, &format!("output: {} bytes", self.cap));
        }
        taken
    }
}

/// One of the two streams; clones share it.
#[derive(Clone, Debug)]
pub struct Sink {
    pipe: Arc<Sender>,
    /// Taken from the guest, not yet by the pipe.
    waiting: Arc<Mutex<Vec<u8>>>,
    meter: Meter,
}

impl Sink {
    pub fn new(pipe: OwnedFd, meter: Meter) -> io::Result<Self> {
        rustix::fs::fcntl_setfl(&pipe, rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { pipe: Arc::new(Sender::from_owned_fd_unchecked(pipe)?), waiting: Arc::default(), meter })
    }

    /// Writes what waits; everything the guest was told is written has then been.
    pub async fn drain(&self) {
        while !self.settle() && self.pipe.writable().await.is_ok() {}
    }

    /// Writes as much as the pipe takes now; true when nothing is left.
    fn settle(&self) -> bool {
        let mut waiting = self.waiting();
        while !waiting.is_empty() {
            match self.pipe.try_write(&waiting) {
                Ok(written) => drop(waiting.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The runner is gone, and this process with it in a moment.
                Err(_) => waiting.clear(),
            }
        }
        true
    }

    fn push(&self, bytes: &[u8]) -> Result<(), Cut> {
        let taken = self.meter.take(bytes.len());
        self.waiting().extend_from_slice(&bytes[..taken]);
        self.settle();
        if taken < bytes.len() { Err(Cut::Output) } else { Ok(()) }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Sink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Sink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {
        self.drain().await;
    }
}

impl OutputStream for Sink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes).map_err(|cut| StreamError::Trap(cut.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.settle();
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.settle() { PERMIT } else { 0 })
    }
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.push(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
