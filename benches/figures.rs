//! The benchmark table: `cargo bench` prints it. Baselines run in the same process, on the same
//! machine, at the same time; on a shared machine quote the ratios.
//!
//! `cargo bench -- 1 9` measures only these rows.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark says by failing, and prints")]

mod figures {
    #[allow(dead_code, reason = "tests fetch more than figures need")]
    #[path = "../../tests/it/fetched.rs"]
    pub mod fetched;
    pub mod guests;
    pub mod idle;
    pub mod pages;
    pub mod python;
    pub mod seal;
    pub mod server;
    pub mod stats;
    pub mod tasks;
}

use figures::stats::Table;

/// What a row measures, and its number in the specification's table.
type Row = (u32, fn(&mut Table));

const ROWS: &[Row] = &[
    (1, figures::tasks::latency),
    (2, figures::tasks::many),
    (3, figures::tasks::output),
    (5, figures::guests::hello),
    (6, figures::guests::metering),
    (6, figures::python::metering),
    (7, figures::python::starts),
    (8, figures::seal::seal_and_open),
    (9, figures::pages::pages),
    (10, figures::idle::idle),
];

fn main() {
    let wanted: Vec<u32> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let mut table = Table::default();
    for (number, measure) in ROWS {
        if wanted.is_empty() || wanted.contains(number) {
            eprintln!("row {number} …");
            measure(&mut table);
        }
    }
    println!("{table}");
}
