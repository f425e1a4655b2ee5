//! The `airlock` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "runner") {
        return airlock::runner::main();
    }
    ExitCode::SUCCESS
}
