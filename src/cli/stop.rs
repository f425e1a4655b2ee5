//! `airlock run stop --offline`: asks the runner itself, for when the server is down.

use std::path::Path;

use serde_json::json;

use crate::{
    dispatch,
    domain::RunId,
    store::{Backend, Fault, Store},
};

use super::{
    Outcome,
    failure::{Done, Failure},
    offline::{held, nothing_there},
    output,
};

pub(super) fn offline(run: RunId, data: &Path, json: bool) -> Done {
    let store = data.join("airlock.redb");
    if !store.exists() {
        return Err(nothing_there(data, true));
    }
    // A server writes down who stopped what; past it nobody would.
    match Store::open(Backend::File(store)) {
        Ok(store) => drop(store),
        Err(Fault::Held(_)) => {
            return Err(held(data).next(format_args!("it can stop the run: `airlock run stop {run}`")));
        }
        Err(fault) => return Err(fault.into()),
    }
    let stopped = dispatch::stop(&data.join("runs"), run)
        .map_err(|error| Failure::failed(format_args!("{run}: its runner cannot be reached: {error}")))?;
    if !stopped {
        return Err(Failure::new(
            Outcome::NotFound,
            format_args!("{run}: no runner of it is alive in {}", data.display()),
        )
        .next("the next start of the server says how the run ended"));
    }
    if json {
        output::json(&json!({"id": run, "stopped": true}))?;
    } else {
        output::line(&format!("{run} was asked to stop, and its runner is gone; the server's next start records it"))?;
    }
    Ok(Outcome::Done)
}
