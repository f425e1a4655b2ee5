//! What an operator gives a declared task in place of what its declaration asks for.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{
    guest::Caps,
    limits::{GIB, GUEST_FUEL_MOST, KIB, MIB},
    refused::FieldError,
    stack::Limits,
};

/// Bounds of one declared task. None: what the declaration says, else the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Of guests only.
    pub fuel: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub output_bytes: Option<u64>,
    /// Bytes of files that a guest may write.
    pub files_bytes: Option<u64>,
    /// Files that a guest may write.
    pub files: Option<u64>,
    /// Of native tasks only.
    pub processes: Option<u32>,
    /// Hundredths of one core.
    pub cpu_percent: Option<u32>,
    pub timeout_seconds: Option<u32>,
}

const FUEL: RangeInclusive<u64> = 1..=GUEST_FUEL_MOST;
const MEMORY: RangeInclusive<u64> = 16 * MIB..=1_024 * GIB;
const OUTPUT: RangeInclusive<u64> = KIB..=16 * GIB;
const FILES_BYTES: RangeInclusive<u64> = 0..=64 * GIB;
const FILES: RangeInclusive<u64> = 0..=10_000_000;
const PROCESSES: RangeInclusive<u64> = 8..=65_536;
const CPU_PERCENT: RangeInclusive<u64> = 1..=51_200;
const TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=86_400;

impl Resources {
    /// All bounds of a guest.
    pub fn of_guest(caps: Caps, cpu_percent: Option<u32>) -> Self {
        Self {
            fuel: Some(caps.fuel),
            memory_bytes: Some(caps.memory_bytes),
            output_bytes: Some(caps.output_bytes),
            files_bytes: Some(caps.files_bytes),
            files: Some(caps.files),
            processes: None,
            cpu_percent,
            timeout_seconds: u32::try_from(caps.wall_seconds).ok(),
        }
    }

    /// All bounds of a native task.
    pub fn of_native(limits: &Limits) -> Self {
        Self {
            fuel: None,
            memory_bytes: Some(limits.memory_bytes),
            output_bytes: Some(limits.output_bytes),
            files_bytes: None,
            files: None,
            processes: Some(limits.processes),
            cpu_percent: limits.cpu_percent,
            timeout_seconds: u32::try_from(limits.wall_seconds).ok(),
        }
    }

    /// What is out of its range, by field; and whether anything is said at all.
    pub fn check(&self) -> Vec<FieldError> {
        let fields = self.fields();
        let mut wrong: Vec<FieldError> = fields
            .iter()
            .filter_map(|(field, value, range)| {
                let (least, most) = range.clone().into_inner();
                let error = format!("must be {least} to {most}");
                value
                    .is_some_and(|value| !range.contains(&value))
                    .then(|| FieldError { field: (*field).to_owned(), error })
            })
            .collect();
        if fields.iter().all(|(_, value, _)| value.is_none()) {
            let names: Vec<&str> = fields.iter().map(|(field, ..)| *field).collect();
            let error = format!("at least one of {} must be given", names.join(", "));
            wrong.push(FieldError { field: "resources".to_owned(), error });
        }
        wrong
    }

    /// `memory_bytes = 1048576`, each that is set.
    pub fn told(&self) -> Vec<String> {
        let set = |(field, value, _): (&str, Option<u64>, RangeInclusive<u64>)| Some(format!("{field} = {}", value?));
        self.fields().into_iter().filter_map(set).collect()
    }

    fn fields(&self) -> [(&'static str, Option<u64>, RangeInclusive<u64>); 8] {
        [
            ("fuel", self.fuel, FUEL),
            ("memory_bytes", self.memory_bytes, MEMORY),
            ("output_bytes", self.output_bytes, OUTPUT),
            ("files_bytes", self.files_bytes, FILES_BYTES),
            ("files", self.files, FILES),
            ("processes", self.processes.map(u64::from), PROCESSES),
            ("cpu_percent", self.cpu_percent.map(u64::from), CPU_PERCENT),
            ("timeout_seconds", self.timeout_seconds.map(u64::from), TIMEOUT_SECONDS),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named_and_so_is_nothing_at_all() {
        let fields = |resources: Resources| resources.check().into_iter().map(|error| error.field).collect::<Vec<_>>();
        assert_eq!(fields(Resources::default()), ["resources"]);
        let all =
            Resources { fuel: Some(0), processes: Some(7), timeout_seconds: Some(86_401), ..Resources::default() };
        assert_eq!(fields(all), ["fuel", "processes", "timeout_seconds"]);
        let good = Resources { memory_bytes: Some(64 * MIB), files: Some(0), ..Resources::default() };
        assert!(good.check().is_empty());
        assert_eq!(good.told(), ["memory_bytes = 67108864", "files = 0"]);
    }
}
