//! The native jail, tried from the inside by everything that should not work.
//!
//! A jail is forked from a process with one thread, which a test harness is not. So this binary has
//! two lives: called with `--as-runner` it makes the jails that it is told of and reports; otherwise
//! it is a small harness whose tests start it that way, as root and as an ordinary user. A test that
//! cannot run here fails and says why. Every refusal has a control: the same attempt outside, which
//! must succeed, so that a missing program is not taken for a fence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test says by failing")]

mod attacks;
mod ending;
mod guests;
mod host;
mod life;
mod limits;
mod network;
mod runner;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

type Test = (&'static str, fn());

/// The tests of a module, with their names.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[$crate::Test] = &[$((stringify!($name), $name)),*];
    };
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(runner::ARGUMENT) {
        return runner::main();
    }
    if std::env::args().nth(1).as_deref() == Some(runner::PROBE) {
        let data = std::env::args_os().nth(2).expect("the data directory");
        return runner::probe_main(data.as_ref());
    }
    if std::env::args().nth(1).as_deref() == Some(guests::ARGUMENT) {
        return airlock::runner::main();
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let all = [life::TESTS, attacks::TESTS, network::TESTS, limits::TESTS, ending::TESTS];
    let chosen = all
        .into_iter()
        .chain(guests::TESTS.iter().copied())
        .flatten()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| name.contains(w)));
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, test) in chosen {
        match catch_unwind(AssertUnwindSafe(test)) {
            Ok(()) => passed += 1,
            Err(_) => failed.push(*name),
        }
        println!("test jail::{name} ... {}", if failed.last() == Some(name) { "FAILED" } else { "ok" });
    }
    host::clean_up();
    println!("\ntest result: {passed} passed; {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
