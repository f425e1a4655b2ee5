//! Figures, and the table they end in.

use std::{
    fmt,
    time::{Duration, Instant},
};

#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// `number`, what, what was seen, what it is held against.
    pub fn row(&mut self, number: u32, what: impl Into<String>, seen: impl Into<String>, aim: impl Into<String>) {
        self.rows.push([number.to_string(), what.into(), seen.into(), aim.into()]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| # | what | seen | aim or baseline |\n| --- | --- | --- | --- |")?;
        for [number, what, seen, aim] in &self.rows {
            writeln!(f, "| {number} | {what} | {seen} | {aim} |")?;
        }
        Ok(())
    }
}

/// Sorted times.
#[derive(Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn of(rounds: usize, mut once: impl FnMut()) -> Self {
        let one = |_| {
            let start = Instant::now();
            once();
            start.elapsed()
        };
        Self::sorted((0..rounds).map(one).collect())
    }

    pub fn sorted(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub fn percentile(&self, p: usize) -> Duration {
        self.0[(self.0.len() - 1) * p / 100]
    }

    /// `p50 / p95`, in milliseconds.
    pub fn p50_p95(&self) -> String {
        format!("{} / {} ms", ms(self.percentile(50)), ms(self.percentile(95)))
    }
}

pub fn ms(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}
