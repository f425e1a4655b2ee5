//! Growing delays for wrong passwords, per user and origin, so that nobody else is locked out.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::Origin;
use crate::domain::Timestamp;

/// Wrong tries that cost nothing.
const FREE: u32 = 3;
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// Entries kept; the stalest quarter makes room.
const ENTRIES: usize = 10_000;
/// A try this old is forgotten.
const FORGET: Duration = Duration::from_secs(3_600);

/// Remembers wrong tries.
#[derive(Debug, Default)]
pub struct Throttle {
    tries: Mutex<HashMap<(String, Origin), Tries>>,
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    wrong: u32,
    last: Timestamp,
}

impl Tries {
    fn open_at(self) -> Timestamp {
        let over = self.wrong.saturating_sub(FREE);
        if over == 0 {
            return self.last;
        }
        let delay = Duration::from_secs(1_u64 << (over - 1).min(10)).min(LONGEST);
        self.last.plus(delay)
    }
}

impl Throttle {
    /// Counts a try whose outcome is not known yet as a wrong one, so that tries side by side test no more
    /// passwords than tries one after the other; [`Throttle::right`] takes it back. Or says how long this
    /// user must wait who comes from there, and counts nothing.
    pub fn begin(&self, user: &str, origin: Origin, now: Timestamp) -> Result<(), Duration> {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() >= ENTRIES {
            make_room(&mut tries);
        }
        let entry = tries.entry(key(user, origin)).or_insert(Tries { wrong: 0, last: now });
        let left = entry.open_at() - now;
        if left > Duration::ZERO {
            return Err(left);
        }
        if now - entry.last > FORGET {
            entry.wrong = 0;
        }
        entry.wrong = entry.wrong.saturating_add(1);
        entry.last = now;
        Ok(())
    }

    /// The right password was shown.
    pub fn right(&self, user: &str, origin: Origin) {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(user, origin));
    }
}

fn key(user: &str, origin: Origin) -> (String, Origin) {
    (user.chars().take(64).flat_map(char::to_lowercase).collect(), origin)
}

/// Looking at all of them pays off when many go at once.
fn make_room(tries: &mut HashMap<(String, Origin), Tries>) {
    let mut last: Vec<Timestamp> = tries.values().map(|entry| entry.last).collect();
    let (_, stale, _) = last.select_nth_unstable(ENTRIES / 4);
    let stale = *stale;
    tries.retain(|_, entry| entry.last > stale);
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn delays_grow_for_one_address_and_not_for_another() {
        let throttle = Throttle::default();
        let at = |last: u8| Origin::of(Some(IpAddr::from([10, 0, 0, last])));
        let (here, there) = (at(1), at(2));
        let mut now = Timestamp::from_millis(1_000_000);
        for _ in 0..=FREE {
            assert_eq!(throttle.begin("Ann", here, now), Ok(()));
        }
        for seconds in [1, 2, 4, 8, 16, 32] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(throttle.begin("ann", here, now), Err(wait), "nobody has to have been told of the outcome");
            assert_eq!(throttle.begin("ann", here, now), Err(wait), "who is refused does not wait longer for it");
            now = now.plus(wait);
            assert_eq!(throttle.begin("ann", here, now), Ok(()));
        }
        assert_eq!(throttle.begin("ann", here, now), Err(LONGEST));
        assert_eq!(throttle.begin("ann", there, now), Ok(()));
        throttle.right("ann", here);
        assert_eq!(throttle.begin("ann", here, now), Ok(()));
    }

    #[test]
    fn whoever_tries_many_names_ends_no_delay_but_the_stalest() {
        let throttle = Throttle::default();
        let (here, now) = (Origin::of(None), Timestamp::from_millis(1_000_000));
        for n in 0..ENTRIES as u64 - 1 {
            assert_eq!(throttle.begin(&n.to_string(), here, now.plus(Duration::from_millis(n))), Ok(()));
        }
        let later = now.plus(Duration::from_millis(ENTRIES as u64));
        for _ in 0..=FREE {
            assert_eq!(throttle.begin("ann", here, later), Ok(()));
        }
        assert_eq!(throttle.begin("one more", here, later), Ok(()));
        assert!(throttle.tries.lock().unwrap().len() <= ENTRIES * 3 / 4 + 1);
        assert_eq!(throttle.begin("ann", here, later), Err(Duration::from_secs(1)));
    }
}
