//! The `airlock` binary: everything is in the library.

fn main() -> std::process::ExitCode {
    airlock::cli::main()
}
