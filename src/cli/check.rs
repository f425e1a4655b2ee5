//! `airlock check`: what the host offers, as a table for people or as JSON.

use std::{
    env,
    io::stdout,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    app::{self, SystemClock},
    config::{Config, DEFAULT_FILE, Flags},
    domain::{Clock as _, Timestamp},
    http,
    runner::native::{HostItem, HostReport, HostStatus},
};

use super::{
    Outcome,
    args::Check,
    failure::{Done, Failure},
    host,
    output::{self, line},
    table::wrap,
};

/// No clock that is right is behind this: 2025-01-01.
const EARLIEST: Timestamp = Timestamp::from_millis(1_735_689_600_000);
/// Where systemd says whether the clock is kept right.
const KEPT_RIGHT: &str = "/run/systemd/timesync";
/// Columns of text where nobody says how many there are.
const COLUMNS: usize = 100;

pub(super) fn run(args: &Check) -> Done {
    let flags = Flags { config: args.config.clone(), data: args.data.clone(), ..Flags::default() };
    let config = Config::load_whole(&flags).map_err(Failure::usage)?;
    http::check_certificate(&config).map_err(Failure::usage)?;
    app::check_master_key(&config).map_err(Failure::usage)?;
    let (data, exists) = nearest(&config.data)?;
    let mut report = host::look(&config, &data);
    report.items.push(clock(SystemClock.now(), Path::new(KEPT_RIGHT)));
    report.items.push(configuration(args.config.as_deref()));
    report.items.push(data_directory(&config.data, exists));
    if args.shown.json {
        output::json(&as_json(&report, &config))?;
    } else {
        line(&as_text(&report))?;
    }
    Ok(if report.default_isolation_works { Outcome::Done } else { Outcome::Failed })
}

/// The directory itself, or the nearest above it that exists; and whether it is the directory itself.
fn nearest(data: &Path) -> Result<(PathBuf, bool), Failure> {
    let whole = env::current_dir().unwrap_or_else(|_| PathBuf::from("/")).join(data);
    for (up, dir) in whole.ancestors().enumerate() {
        if dir.is_dir() {
            let dir = dir.canonicalize().map_err(|error| Failure::file("look at", dir, &error))?;
            return Ok((dir, up == 0));
        }
    }
    Ok((PathBuf::from("/"), false))
}

fn item(name: &'static str, status: HostStatus, means: impl Into<String>) -> HostItem {
    HostItem { name, status, means: means.into(), mend: None }
}

fn clock(now: Timestamp, kept_right: &Path) -> HostItem {
    if now < EARLIEST {
        let mend = "set the clock: sign-ins, expiry and TLS depend on it".to_owned();
        let wrong = item("clock", HostStatus::Missing, format!("says {now}, which is long ago"));
        return HostItem { mend: Some(mend), ..wrong };
    }
    if kept_right.is_dir() && !kept_right.join("synchronized").exists() {
        let mend = "look at `timedatectl`; without a time server, compare it by hand".to_owned();
        let loose = item("clock", HostStatus::Degraded, format!("says {now}, but is not synchronized"));
        return HostItem { mend: Some(mend), ..loose };
    }
    item("clock", HostStatus::Ok, format!("says {now}"))
}

fn configuration(named: Option<&Path>) -> HostItem {
    let file = named.or_else(|| Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists()));
    let means = match file {
        Some(path) => format!("{} reads well", path.display()),
        None => format!("built-in values; {DEFAULT_FILE} does not exist"),
    };
    item("configuration", HostStatus::Ok, means)
}

fn data_directory(data: &Path, exists: bool) -> HostItem {
    let means = if exists {
        data.display().to_string()
    } else {
        format!("{} does not exist yet; the first start makes it", data.display())
    };
    item("data directory", HostStatus::Ok, means)
}

fn as_text(report: &HostReport) -> String {
    let colours = output::colourful(&stdout());
    let columns = output::columns().unwrap_or(COLUMNS);
    let names = report.items.iter().map(|item| item.name.len()).max().unwrap_or(0);
    let indent = " ".repeat(names + 5);
    let mut text = String::new();
    for item in &report.items {
        let mut lines = wrap(&item.means, columns.saturating_sub(indent.len()).max(20));
        if let Some(mend) = &item.mend {
            lines.extend(wrap(&format!("→ {mend}"), columns.saturating_sub(indent.len()).max(20)));
        }
        let first = format!("{} {:<names$}  ", mark(item.status, colours), item.name);
        text.push_str(&format!("{first} {}\n", lines.join(&format!("\n{indent}"))));
    }
    text.push('\n');
    text.push_str(if report.default_isolation_works {
        "The default isolation works here."
    } else {
        "The default isolation cannot work here: runs would fail. Mend what is marked ✗."
    });
    text
}

/// Shape and word differ, not only the colour.
fn mark(status: HostStatus, colours: bool) -> String {
    let (mark, colour) = match status {
        HostStatus::Ok => ("✓", 32),
        HostStatus::Degraded => ("~", 33),
        HostStatus::Missing => ("✗", 31),
    };
    if colours { format!("\u{1b}[{colour}m{mark}\u{1b}[0m") } else { mark.to_owned() }
}

fn as_json(report: &HostReport, config: &Config) -> Value {
    let items = report
        .items
        .iter()
        .map(|item| json!({"name": item.name, "status": item.status.word(), "means": item.means, "mend": item.mend}));
    json!({
        "default_isolation_works": report.default_isolation_works,
        "cgroup": report.cgroup,
        "data": config.data,
        "items": items.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_says_what_it_means_and_how_to_mend_it() {
        let mend = Some("use a newer kernel".to_owned());
        let items = vec![
            item("jail", HostStatus::Ok, "a shell ran in it"),
            HostItem { mend, ..item("landlock", HostStatus::Degraded, "not there") },
        ];
        let report = HostReport { items, default_isolation_works: true, cgroup: None };
        assert_eq!(
            as_text(&report),
            "✓ jail       a shell ran in it\n~ landlock   not there\n             → use a newer kernel\n\n\
             The default isolation works here."
        );
    }

    #[test]
    fn a_clock_that_was_never_set_is_named() {
        let nowhere = Path::new("/nowhere");
        assert_eq!(clock(Timestamp::from_millis(0), nowhere).status, HostStatus::Missing);
        assert_eq!(clock(EARLIEST, nowhere).status, HostStatus::Ok);
    }

    #[test]
    fn a_data_directory_that_does_not_exist_is_not_made_by_asking() {
        let dir = tempfile::tempdir().unwrap();
        let (found, exists) = nearest(&dir.path().join("a/b")).unwrap();
        assert_eq!((found, exists), (dir.path().canonicalize().unwrap(), false));
        assert!(nearest(dir.path()).unwrap().1);
    }
}
