//! When a phase has to end: wall time, silence, size of the workspace and of mounts, and what people
//! ask for.
//!
//! Pure: it is told the time and says what to do next. A phase is asked first and killed after the
//! grace period; who asked first decides the verdict.

use std::time::{Duration, Instant};

use crate::domain::{Verdict, verdict};

/// Why a phase is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Wall {
        seconds: u64,
    },
    Silence {
        seconds: u64,
    },
    Workspace {
        limit_bytes: u64,
    },
    /// What is kept in mounts is too much.
    Mounts {
        limit_bytes: u64,
    },
    /// What was added to a cache is too much.
    Cache {
        limit_bytes: u64,
    },
    /// What a guest wrote is too much.
    Written {
        limit_bytes: u64,
        files: u64,
    },
    Stop,
    Kill,
}

impl Why {
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Wall { seconds } => Verdict::TimedOut { seconds },
            Self::Silence { seconds } => Verdict::Silent { seconds },
            Self::Workspace { limit_bytes } => Verdict::FileLimit { limit_bytes, what: "workspace".to_owned() },
            Self::Mounts { limit_bytes } => {
                Verdict::FileLimit { limit_bytes, what: "what is kept in mounts".to_owned() }
            }
            Self::Cache { limit_bytes } => {
                Verdict::FileLimit { limit_bytes, what: "what was added to the cache".to_owned() }
            }
            Self::Written { limit_bytes, files } => Verdict::FileLimit { limit_bytes, what: written(files) },
            Self::Stop | Self::Kill => Verdict::Stopped,
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wall { seconds } => write!(f, "the time limit of {seconds} s is reached"),
            Self::Silence { seconds } => write!(f, "nothing was printed for {seconds} s"),
            Self::Workspace { limit_bytes } => {
                write!(f, "the workspace is larger than {}", verdict::bytes(*limit_bytes))
            }
            Self::Mounts { limit_bytes } => {
                write!(f, "more is kept in mounts than {}", verdict::bytes(*limit_bytes))
            }
            Self::Cache { limit_bytes } => {
                write!(f, "more was added to the cache than {}", verdict::bytes(*limit_bytes))
            }
            Self::Written { limit_bytes, files } => {
                let limit = verdict::bytes(*limit_bytes);
                write!(f, "more was written than {limit} in {files} files, counting {BESIDE}")
            }
            Self::Stop => f.write_str("a stop was asked for"),
            Self::Kill => f.write_str("an end at once was asked for"),
        }
    }
}

/// Whose files count where several runs write to one mount: nothing tells whose a file is.
const BESIDE: &str = "what runs beside it wrote to its mounts";

/// What a guest wrote to mounts, in the words of a verdict.
fn written(files: u64) -> String {
    format!("what was written ({files} files at most, counting {BESIDE})")
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing, until then.
    Wait(Option<Instant>),
    /// Ask the processes to end.
    Ask(Why),
    /// End them.
    Kill(Why),
}

/// The limits of one phase.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub wall: Duration,
    /// None: the phase may be as silent as it likes.
    pub silence: Option<Duration>,
    pub grace: Duration,
}

/// The clock of one phase.
#[derive(Debug)]
pub struct Watch {
    terms: Terms,
    began: Instant,
    heard: Instant,
    ending: Ending,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    No,
    Wanted(Why),
    Asked(Why, Instant),
    Killed(Why),
}

impl Watch {
    pub fn new(terms: Terms, now: Instant) -> Self {
        Self { terms, began: now, heard: now, ending: Ending::No }
    }

    /// The phase printed something.
    pub fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Somebody or something wants the end. A kill overrides; else the first reason stays.
    pub fn want(&mut self, why: Why) {
        match (self.ending, why) {
            (Ending::No, _) | (Ending::Wanted(_), Why::Kill) => self.ending = Ending::Wanted(why),
            (Ending::Asked(first, _), Why::Kill) => self.ending = Ending::Asked(first, self.began),
            (Ending::Wanted(_) | Ending::Asked(..) | Ending::Killed(_), _) => {}
        }
    }

    /// What is due. An order is given once; the next call goes on from there.
    pub fn next(&mut self, now: Instant) -> Order {
        if let Ending::No = self.ending {
            self.limits(now);
        }
        match self.ending {
            Ending::No => Order::Wait(Some(self.next_limit())),
            Ending::Wanted(Why::Kill) => self.kill(Why::Kill),
            Ending::Wanted(why) => {
                self.ending = Ending::Asked(why, now + self.terms.grace);
                Order::Ask(why)
            }
            Ending::Asked(why, at) if now >= at => self.kill(why),
            Ending::Asked(_, at) => Order::Wait(Some(at)),
            Ending::Killed(_) => Order::Wait(None),
        }
    }

    /// Why the phase was made to end, if it was.
    pub fn why(&self) -> Option<Why> {
        match self.ending {
            Ending::No => None,
            Ending::Wanted(why) | Ending::Asked(why, _) | Ending::Killed(why) => Some(why),
        }
    }

    fn kill(&mut self, why: Why) -> Order {
        self.ending = Ending::Killed(why);
        Order::Kill(why)
    }

    fn limits(&mut self, now: Instant) {
        if now >= self.began + self.terms.wall {
            self.ending = Ending::Wanted(Why::Wall { seconds: self.terms.wall.as_secs() });
        } else if let Some(silence) = self.terms.silence.filter(|silence| now >= self.heard + *silence) {
            self.ending = Ending::Wanted(Why::Silence { seconds: silence.as_secs() });
        }
    }

    fn next_limit(&self) -> Instant {
        let wall = self.began + self.terms.wall;
        self.terms.silence.map_or(wall, |silence| wall.min(self.heard + silence))
    }
}

#[cfg(test)]
mod tests;
