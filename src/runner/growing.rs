//! Trees that grow while a jail runs, measured again and again and held to their bounds.

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

/// A measurement takes at most this fraction of the time.
const SHARE: u32 = 20;
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
}

impl Growing {
    /// Trees that are measured with this pause in between, at least. `before`: what they hold now.
    pub fn new(trees: Vec<OwnedFd>, before: Extent, bounds: Vec<Bound>, every: Duration) -> Self {
        Self { trees, before, bounds, every, walk: None, next: Instant::now() + every }
    }

    /// When it is time to look again.
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// Goes on measuring if it is time to.
    pub fn look(&mut self, watch: &mut Watch, now: Instant) -> Result<(), Fault> {
        if now >= self.next
            && let Some((_, took)) = self.step(watch)?
        {
            self.next = Instant::now() + self.every.max(SHARE * took);
        }
        Ok(())
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
                let trees = self.trees.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>();
                none.insert((Measure::of(trees.map_err(Fault::io("measure what was written"))?), Instant::now()))
            }
        };
        let done = measure.go_on(STEP);
        if let Some(bound) = self.bounds.iter().find(|bound| measure.exceeds(bound.most)) {
            watch.want(bound.why);
        }
        let found = done.then(|| (measure.seen(), began.elapsed()));
        if done {
            self.walk = None;
        }
        Ok(found)
    }
}
