//! `airlock serve`.

use std::time::Duration;

use crate::{
    app::{self, App},
    config::Config,
};

use super::{
    Outcome,
    args::Serve,
    failure::{Done, Failure},
    host,
    output::{line, start_logging},
};

/// What a server's threads get to end in, once it has drained.
pub(super) const THREADS_END: Duration = Duration::from_secs(2);

pub(super) fn run(args: &Serve) -> Done {
    start_logging();
    let config = Config::load_whole(&args.settings).map_err(Failure::usage)?;
    let app = host::open(config)?;
    let runtime = runtime()?;
    let served = runtime.block_on(app::serve(app, ready));
    runtime.shutdown_timeout(THREADS_END);
    served?;
    Ok(Outcome::Done)
}

/// Whoever started the server may have closed its standard output: it serves all the same.
pub(super) fn ready(app: &App) {
    let _ = line(&format!("airlock ready at {}", app.actions.setup().public_url));
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Runtime::new()
        .map_err(|error| Failure::failed(format_args!("the server's threads cannot be started: {error}")))
}
