//! Memory and the numbers of things in a store.

use wasmtime::ResourceLimiter;

use super::{
    cut::Cut,
    denials::Watch,
    settings::{Numbers, REFUSED_GROWTHS},
};
use crate::protocol::DenialKind;

/// Counts all memories of a store together.
#[derive(Debug)]
pub struct Limiter {
    limit: usize,
    used: usize,
    peak: usize,
    refused: u32,
    numbers: Numbers,
    watch: Watch,
}

impl Limiter {
    pub fn new(limit_bytes: u64, numbers: Numbers, watch: Watch) -> Self {
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Self { limit, used: 0, peak: 0, refused: 0, numbers, watch }
    }

    pub const fn peak_bytes(&self) -> u64 {
        self.peak as u64
    }
}

impl ResourceLimiter for Limiter {
    /// Refusing tells the guest, which may live with it; a guest that only goes on asking is ended.
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let after = self.used.saturating_add(desired.saturating_sub(current));
        if after <= self.limit {
            if maximum.is_some_and(|maximum| desired > maximum) {
                return Ok(false);
            }
            self.used = after;
            self.peak = self.peak.max(after);
            return Ok(true);
        }
        self.watch.memory_cap(after);
        self.refused += 1;
        if self.refused > REFUSED_GROWTHS { Err(Cut::Memory.into()) } else { Ok(false) }
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.numbers.table_elements {
            self.watch.deny(DenialKind::Cap, &format!("table: more than {} elements", self.numbers.table_elements));
            return Ok(false);
        }
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn instances(&self) -> usize {
        self.numbers.instances
    }

    fn tables(&self) -> usize {
        self.numbers.tables
    }

    fn memories(&self) -> usize {
        self.numbers.memories
    }
}
