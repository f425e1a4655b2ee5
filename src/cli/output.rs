//! What is printed, and where.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::{clean, failure::Failure};

/// Logs to stderr: text on a terminal, JSON otherwise. `AIRLOCK_LOG` chooses what.
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("AIRLOCK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
    if let Err(error) = started {
        note(&format!("airlock: {error}"));
    }
}

/// A line on standard error. If nobody reads it, nothing can be done about it.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A line on standard output.
pub fn line(text: &str) -> Result<(), Failure> {
    raw(format!("{text}\n").as_bytes())
}

/// Bytes on standard output, at once.
pub fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::unheard(),
        _ => Failure::failed(format_args!("cannot write to standard output: {error}")),
    })
}

/// JSON on standard output, indented. What a terminal would obey is escaped, as JSON can.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && clean::is_obeyed(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    line(&safe)
}

/// Whether colours are wanted where this goes.
pub fn colourful(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of the terminal on standard output; none when it is not one.
pub fn columns() -> Option<usize> {
    let out = io::stdout();
    out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok())?.map(|size| usize::from(size.ws_col).max(40))
}

/// A number of milliseconds for people: `45 ms`, `4.5 s`, `12 s`, `3m 05s`, `2h 01m`.
pub fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0 => format!("{millis} ms"),
        1..10 => format!("{}.{} s", seconds, millis % 1_000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_for_people() {
        let spans = [45, 4_500, 12_000, 185_000, 7_290_000].map(span);
        assert_eq!(spans, ["45 ms", "4.5 s", "12 s", "3m 05s", "2h 01m"]);
    }
}
