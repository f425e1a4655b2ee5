//! What others asked of the runner, and how its main thread hears of it.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use rustix::event::EventfdFlags;

use crate::protocol::Request;

use super::fault::Fault;

/// Requests to stop, counted, because the phase `ending` begins with a clean slate; and the request
/// to kill, which holds for good.
#[derive(Debug)]
pub struct Asked {
    stops: AtomicU32,
    kill: AtomicBool,
    wake: OwnedFd,
}

impl Asked {
    pub fn new() -> Result<Self, Fault> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(Fault::io("make an event descriptor"))?;
        Ok(Self { stops: AtomicU32::new(0), kill: AtomicBool::new(false), wake })
    }

    /// Called by whoever heard the request.
    pub fn hear(&self, request: &Request) {
        match request {
            Request::Stop => {
                self.stops.fetch_add(1, Ordering::SeqCst);
            }
            Request::Kill => self.kill.store(true, Ordering::SeqCst),
        }
        self.rouse();
    }

    /// Wakes the main thread, which then looks at whatever others may have for it.
    pub fn rouse(&self) {
        // Fails only when the counter is full, and then it is awake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// How often somebody asked to stop.
    pub fn stops(&self) -> u32 {
        self.stops.load(Ordering::SeqCst)
    }

    pub fn kill(&self) -> bool {
        self.kill.load(Ordering::SeqCst)
    }

    /// Readable when something was asked since [`Self::settle`].
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Forgets that the main thread was woken.
    pub fn settle(&self) {
        // Fails only when nothing is there to be read.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }
}
