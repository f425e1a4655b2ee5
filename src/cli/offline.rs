//! Verbs on a data directory that no server holds.

use std::{future::Future, path::Path};

use crate::{
    app::{App, AppError},
    auth::{On, Permission, Permit, Who, permit},
    config::{Config, Flags},
    domain::{Slug, StackId},
    queries::RoleOnStack,
    store::Fault,
};

use super::{
    Outcome,
    args::{Offline, Place, RoleOn},
    client::{self, Client},
    failure::Failure,
};

/// Where people, keys and the audit log are looked at.
#[derive(Debug)]
pub enum Site {
    Server(Client),
    Data(App),
}

impl Site {
    /// The data directory that is named; else the server that is; else the configured data directory.
    pub fn find(place: &Place) -> Result<Self, Failure> {
        if place.offline.data.is_some() || !client::is_known() {
            return open(&place.offline).map(Self::Data);
        }
        Client::new(&place.reach).map(Self::Server)
    }
}

/// Opens a data directory that exists.
pub fn open(offline: &Offline) -> Result<App, Failure> {
    let flags = Flags {
        config: offline.config.clone(),
        data: offline.data.clone(),
        master_key_file: offline.master_key_file.clone(),
        ..Flags::default()
    };
    let config = Config::load(&flags).map_err(Failure::usage)?;
    if !config.data.join("airlock.redb").exists() {
        return Err(nothing_there(&config.data, offline.data.is_some()));
    }
    let data = config.data.clone();
    App::open(config).map_err(|error| match error {
        AppError::Store(Fault::Held(_)) => held(&data),
        other => other.into(),
    })
}

/// There is no installation in this place.
pub fn nothing_there(data: &Path, named: bool) -> Failure {
    let missing =
        Failure::new(Outcome::NotFound, format_args!("{}: there is no data directory of Airlock's", data.display()));
    if named {
        missing.next("a server makes it at its first start: `airlock serve --data DIR`")
    } else {
        missing.next("name one with `--data DIR`, or a server: `airlock login URL`")
    }
}

/// What offline verbs say while a server runs.
pub fn held(data: &Path) -> Failure {
    Failure::refused(format_args!("{}: the server holds the store", data.display()))
        .next("ask the server: `airlock login URL`, then the same without --data; or stop the server first")
}

/// Runs an action outside a server.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format_args!("cannot start: {error}")))?
        .block_on(work)
}

/// Whoever may open the data directory may do everything in it: the system itself acts.
pub fn permitted(app: &App, permission: Permission) -> Result<Permit, Failure> {
    Ok(permit(&Who::system(), permission, On::Installation, app.actions.now())?)
}

/// A stack by its slug.
fn stack_id(app: &App, slug: &Slug) -> Result<StackId, Failure> {
    Ok(app.queries.stack(&Who::system(), slug)?.id)
}

/// Roles that name stacks by slug.
pub fn roles(app: &App, named: &[RoleOn]) -> Result<Vec<RoleOnStack>, Failure> {
    named.iter().map(|role| Ok(RoleOnStack { stack: stack_id(app, &role.stack)?, role: role.role })).collect()
}
