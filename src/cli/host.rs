//! What the host offers, asked while the process has one thread; and an open data directory on it.

use std::path::Path;

use crate::{
    app::{self, App, AppError},
    config::Config,
    dispatch,
    runner::native::{HostReport, HostStatus, Question, probe, sweep_cgroups},
};

/// Looks at the host. Nothing may have started a thread before.
pub fn look(config: &Config, data: &Path) -> HostReport {
    probe(&Question { data, uids: config.uid_range.first..=config.uid_range.last })
}

/// Opens the data directory for a server: looks at the host first, says what is less than it could
/// be, and removes what runners left behind that were killed.
pub fn open(config: Config) -> Result<App, AppError> {
    let data = app::make_data(&config.data)?;
    let report = look(&config, &data);
    say(&report);
    let cgroup = report.cgroup.clone();
    let app = App::open_on(config, report.cgroup)?;
    if let Some(cgroup) = cgroup {
        sweep(&cgroup, &app.data.join("runs"));
    }
    Ok(app)
}

/// Everything that is not as it should be, in the log.
fn say(report: &HostReport) {
    for item in &report.items {
        let mend = item.mend.as_deref();
        match item.status {
            HostStatus::Ok => {}
            HostStatus::Degraded => tracing::warn!(item = item.name, mend, "{}", item.means),
            HostStatus::Missing => tracing::error!(item = item.name, mend, "{}", item.means),
        }
    }
    if !report.default_isolation_works {
        tracing::error!("the default isolation cannot work here: runs will fail; `airlock check` says what to mend");
    }
}

/// Whoever holds the store may: nobody else starts runners here.
fn sweep(cgroup: &Path, runs: &Path) {
    let swept = dispatch::living(runs)
        .map_err(|error| error.to_string())
        .and_then(|alive| sweep_cgroups(cgroup, runs, &alive).map_err(|error| error.to_string()));
    match swept {
        Ok(0) => {}
        Ok(groups) => tracing::info!(groups, "removed cgroups that killed runners left behind"),
        Err(error) => tracing::warn!(error, "cgroups that killed runners left behind cannot be removed"),
    }
}
