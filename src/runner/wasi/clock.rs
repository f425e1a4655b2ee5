//! Time and randomness that are the same in every run.

use std::time::Duration;

use rand::{SeedableRng as _, rngs::StdRng};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

use super::settings::RANDOM_BYTES;
use crate::protocol::{GuestClock, GuestRandom};

/// Where the frozen clock stands: 2026-01-01, 00:00 UTC.
pub const FROZEN: Duration = Duration::from_secs(1_767_225_600);
const RESOLUTION: Duration = Duration::from_micros(1);
/// Any number does, as long as it stays: what guests are given follows from it.
const SEED: u64 = 0x4149_524c_4f43_4b31;

struct Frozen;

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        RESOLUTION
    }

    fn now(&self) -> Duration {
        FROZEN
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        RESOLUTION.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        FROZEN.as_nanos() as u64
    }
}

/// Gives a guest the clock and the randomness that it was granted.
pub fn grant(builder: &mut WasiCtxBuilder, clock: GuestClock, random: GuestRandom) {
    builder.max_random_size(RANDOM_BYTES);
    match clock {
        GuestClock::Frozen => {
            builder.wall_clock(Frozen).monotonic_clock(Frozen);
        }
        GuestClock::Real => {}
    }
    match random {
        GuestRandom::Seeded => {
            builder
                .secure_random(StdRng::seed_from_u64(SEED))
                .insecure_random(StdRng::seed_from_u64(!SEED))
                .insecure_random_seed(u128::from(SEED));
        }
        GuestRandom::Real => {}
    }
}
