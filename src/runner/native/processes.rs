//! Who descends from whom, as /proc tells.

use std::fs;

/// Processes that one walk may visit: a bound, far above every process limit.
const VISITED: usize = 100_000;

/// Every living descendant of a process, parents before children.
pub(super) fn descendants(ancestor: i32) -> Vec<i32> {
    let mut found = children(ancestor);
    let mut next = 0;
    while next < found.len() && found.len() < VISITED {
        let more = children(found[next]);
        found.extend(more);
        next += 1;
    }
    found
}

/// The children of all threads of a process; none if it is gone.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Memory that is a process's own: anonymous, shared and swapped out; not the files it maps.
pub(super) fn memory_bytes(pid: i32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/status")).map(|status| own_memory(&status)).unwrap_or_default()
}

fn own_memory(status: &str) -> u64 {
    const OWN: [&str; 3] = ["RssAnon:", "RssShmem:", "VmSwap:"];
    status
        .lines()
        .filter(|line| OWN.iter().any(|name| line.starts_with(name)))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum::<u64>()
        * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_process_is_what_it_does_not_share_with_files() {
        let status = "Name:\tx\nVmRSS:\t  900 kB\nRssAnon:\t  100 kB\nRssFile:\t  790 kB\nRssShmem:\t   10 kB\nVmSwap:\t   5 kB\n";
        assert_eq!(own_memory(status), 115 * 1_024);
    }

    #[test]
    fn a_process_that_is_gone_has_no_children_and_no_memory() {
        assert!(descendants(i32::MAX).is_empty());
        assert_eq!(memory_bytes(i32::MAX), 0);
    }
}
