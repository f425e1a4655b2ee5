//! Trees that grow while a jail runs, measured again and again and held to their bounds.
//!
//! How long a measurement takes is up to whoever fills them, so that pauses end. Between two
//! measurements the file systems are asked what is free: where too much went, it is measured at once.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use super::{
    fault::Fault,
    size::{Extent, Measure},
    watch::{Watch, Why},
};
use crate::domain::limits::DISK_FLOOR_BYTES;

/// A measurement takes at most this fraction of the time …
const SHARE: u32 = 20;
/// … as long as its pause need not be longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Entries looked at between two looks at other things.
const STEP: usize = 1_000;

/// How much there may be of trees, together.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub most: Extent,
    /// Why the jail is made to end when there is more.
    pub why: Why,
}

/// Trees that count together.
#[derive(Debug)]
pub struct Growing {
    trees: Vec<OwnedFd>,
    before: Extent,
    bounds: Vec<Bound>,
    every: Duration,
    /// A measurement under way, and when it began.
    walk: Option<(Measure, Instant)>,
    next: Instant,
    /// When the file systems are asked next.
    ask: Instant,
    /// What there was at the last measurement, and what was free on the file system of each tree.
    last: (Extent, Vec<u64>),
}

impl Growing {
    /// Trees that are measured with this pause in between, at least. `before`: what they hold now.
    pub fn new(trees: Vec<OwnedFd>, before: Extent, bounds: Vec<Bound>, every: Duration) -> Self {
        let (next, last) = (Instant::now() + every, (before, free(&trees)));
        Self { trees, before, bounds, every, walk: None, next, ask: next, last }
    }

    /// When it is time to look again.
    pub fn next(&self) -> Instant {
        self.next.min(self.ask)
    }

    /// Goes on measuring if it is time to.
    pub fn look(&mut self, watch: &mut Watch, now: Instant) -> Result<(), Fault> {
        if now >= self.ask {
            self.ask = now + self.every;
            if self.may_be_too_much() {
                self.next = self.next.min(now);
            }
        }
        if now >= self.next
            && let Some((_, took)) = self.step(watch)?
        {
            let now = Instant::now();
            self.next = now + self.every.max(LONGEST_PAUSE.min(SHARE * took));
            // Others may fill the disk as well: half of the time is enough for measuring.
            self.ask = now + self.every.max(took);
        }
        Ok(())
    }

    /// Whether so much went since the last measurement that a bound may be broken, or little is left.
    fn may_be_too_much(&self) -> bool {
        let (there, free_then) = &self.last;
        let room = self.bounds.iter().map(|bound| bound.most.minus(*there).bytes).min().unwrap_or(u64::MAX);
        free_then.iter().zip(free(&self.trees)).any(|(then, now)| {
            let went = then.saturating_sub(now);
            went > room || (went > 0 && now < DISK_FLOOR_BYTES)
        })
    }

    /// Measures all of it anew; says what came in addition.
    pub fn grew(&mut self, watch: &mut Watch) -> Result<Extent, Fault> {
        self.walk = None;
        loop {
            if let Some((now, _)) = self.step(watch)? {
                return Ok(now.minus(self.before));
            }
        }
    }

    /// Goes on measuring; at the end of a measurement all that there is, and the time that it took.
    fn step(&mut self, watch: &mut Watch) -> Result<Option<(Extent, Duration)>, Fault> {
        let (measure, began) = match &mut self.walk {
            Some(walk) => walk,
            none => {
                self.last.1 = free(&self.trees);
                let trees = self.trees.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>();
                none.insert((Measure::of(trees.map_err(Fault::io("measure what was written"))?), Instant::now()))
            }
        };
        let done = measure.go_on(STEP);
        if let Some(bound) = self.bounds.iter().find(|bound| measure.exceeds(bound.most)) {
            watch.want(bound.why);
        }
        let found = done.then(|| (measure.seen(), began.elapsed()));
        if let Some((there, _)) = found {
            (self.walk, self.last.0) = (None, there);
        }
        Ok(found)
    }
}

/// Bytes that are free on the file system of each. One that does not tell never has less.
fn free(trees: &[OwnedFd]) -> Vec<u64> {
    let free = |tree| rustix::fs::fstatvfs(tree).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    trees.iter().map(|tree| free(tree).unwrap_or(u64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::{super::watch::Terms, *};

    #[test]
    fn a_disk_that_fills_quickly_is_no_time_to_wait() {
        let dir = tempfile::tempdir().unwrap();
        let tree = || vec![OwnedFd::from(File::open(dir.path()).unwrap())];
        let why = Why::Workspace { limit_bytes: 1 };
        let hour = Duration::from_hours(1);
        let bounds = vec![Bound { most: Extent::of_bytes(1 << 50), why }];
        let mut growing = Growing::new(tree(), Extent::default(), bounds, hour);
        growing.last.1 = vec![0];
        assert!(!growing.may_be_too_much());
        growing.last.1 = vec![u64::MAX];
        assert!(growing.may_be_too_much());
        // It is measured when the disk was asked, and not asked again for a while.
        let now = Instant::now() + hour;
        (growing.next, growing.ask) = (now + hour, now);
        let mut watch = Watch::new(Terms { wall: hour, silence: None, grace: hour }, now);
        growing.look(&mut watch, now).unwrap();
        assert!(growing.walk.is_none() && growing.last.1 != [u64::MAX]);
        assert!(growing.next() > Instant::now() + hour / 2);
    }
}
