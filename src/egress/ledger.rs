//! What was reached and what was refused, told apart up to a bound, counted beyond.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::domain::{
    Clock,
    limits::{DENIALS_RECORDED, HOSTS_RECORDED, PROXY_BYTES},
    network::{Denial, Denied, Destination, Reached},
};

/// Characters of what was tried, and of the reason, that are kept.
const KEPT_CHARS: usize = 500;
/// How the entry for everything beyond the bound is called.
const OTHERS: &str = "others";

/// The books of one phase.
pub struct Ledger {
    clock: Arc<dyn Clock>,
    heard: Box<dyn Fn(&Denial) + Send + Sync>,
    traffic: Arc<Traffic>,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    hosts: BTreeMap<Destination, Arc<Counts>>,
    /// All hosts beyond the bound.
    others: Arc<Counts>,
    denials: Vec<Denial>,
    more_denials: Option<Denial>,
}

/// What was counted for one host.
#[derive(Debug, Default)]
pub struct Counts {
    pub requests: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

/// All bytes of the phase, and how many there may be.
#[derive(Debug)]
pub struct Traffic {
    used: AtomicU64,
    most: u64,
}

impl Traffic {
    /// Counts some more; false when there are too many.
    pub fn take(&self, bytes: u64) -> bool {
        self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.most
    }

    pub fn is_spent(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.most
    }

    pub const fn most(&self) -> u64 {
        self.most
    }
}

impl Ledger {
    /// `heard` is told of every denial the first time that it happens. It must not block.
    pub fn new(clock: Arc<dyn Clock>, heard: impl Fn(&Denial) + Send + Sync + 'static) -> Self {
        let traffic = Arc::new(Traffic { used: AtomicU64::new(0), most: PROXY_BYTES });
        Self { clock, heard: Box::new(heard), traffic, pages: Mutex::default() }
    }

    /// With another bound than [`PROXY_BYTES`] for all bytes in both directions.
    pub fn with_bytes(mut self, most: u64) -> Self {
        self.traffic = Arc::new(Traffic { used: AtomicU64::new(0), most });
        self
    }

    /// Hosts and ports, in order.
    pub fn hosts(&self) -> Vec<Reached> {
        let pages = self.pages();
        let known = pages.hosts.iter().map(|(to, counts)| reached(to.host.to_string(), to.port, counts));
        let others = reached(OTHERS.to_owned(), 0, &pages.others);
        known.chain((others.requests > 0).then_some(others)).collect()
    }

    /// Denials, the oldest first.
    pub fn denials(&self) -> Vec<Denial> {
        let pages = self.pages();
        pages.denials.iter().chain(&pages.more_denials).cloned().collect()
    }

    /// Counts a request to a host and gives the place where its bytes are counted.
    pub(super) fn begin(&self, destination: &Destination) -> Arc<Counts> {
        let mut pages = self.pages();
        let counts = match pages.hosts.get(destination) {
            Some(counts) => Arc::clone(counts),
            None if pages.hosts.len() == HOSTS_RECORDED => Arc::clone(&pages.others),
            None => Arc::clone(pages.hosts.entry(destination.clone()).or_default()),
        };
        counts.requests.fetch_add(1, Ordering::Relaxed);
        counts
    }

    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    pub(super) fn deny(&self, what: Denied, tried: &str, reason: &str) {
        let denial = Denial { what, tried: harmless(tried), reason: harmless(reason), at: self.clock.now(), count: 1 };
        if let Some(new) = self.pages().add(denial) {
            (self.heard)(&new);
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// Gives back what is told for the first time.
    fn add(&mut self, denial: Denial) -> Option<Denial> {
        let same =
            |old: &&mut Denial| old.what == denial.what && old.tried == denial.tried && old.reason == denial.reason;
        if let Some(old) = self.denials.iter_mut().find(same) {
            old.count += 1;
            return None;
        }
        if self.denials.len() < DENIALS_RECORDED {
            self.denials.push(denial.clone());
            return Some(denial);
        }
        if let Some(more) = &mut self.more_denials {
            more.count += 1;
            return None;
        }
        let reason = format!("more than {DENIALS_RECORDED} different things were refused; the rest is only counted");
        self.more_denials = Some(Denial { tried: OTHERS.to_owned(), reason, ..denial });
        self.more_denials.clone()
    }
}

/// Both texts may quote what a client made up.
fn harmless(text: &str) -> String {
    text.chars().take(KEPT_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn reached(host: String, port: u16, counts: &Counts) -> Reached {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Reached {
        host,
        port,
        requests: of(&counts.requests),
        bytes_in: of(&counts.bytes_in),
        bytes_out: of(&counts.bytes_out),
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("pages", &self.pages).finish_non_exhaustive()
    }
}
