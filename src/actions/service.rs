//! Services: what lies outside and declared tasks may be connected to. The operator registers them;
//! a password never comes back.

use crate::{
    auth::Permit,
    crypt::Secret,
    domain::{
        Refused, ServiceName, limits,
        network::{Destination, Host},
    },
    store::{Error, Rows, record::Service, tables as t},
};

use super::{Actions, Deed, missing, vault};

/// A service that somebody registers.
#[derive(Clone, Debug)]
pub struct NewService {
    pub name: ServiceName,
    /// Such as `postgresql`, `mysql`, `redis`, `https`.
    pub scheme: String,
    pub host: String,
    pub port: u16,
    /// The database's name, or the path of an address.
    pub path: String,
    pub username: String,
    /// None keeps the stored one; an empty one removes it.
    pub password: Option<Secret<String>>,
}

impl Actions {
    /// Registers a service, new or in place of the one of that name; says whether it is new.
    pub async fn put_service(&self, permit: &Permit, new: NewService) -> Result<bool, Error> {
        let deed = Deed::new("service.put", format_args!("service:{}", new.name));
        self.change(permit, deed, move |tx, moment| {
            check(&new)?;
            let old = tx.get(t::NAME_TO_SERVICE, new.name.as_str())?;
            let password = match &new.password {
                None => old.as_ref().and_then(|old| old.password.clone()),
                Some(password) if password.expose().is_empty() => None,
                Some(password) => {
                    Some(vault::service(&new.name).seal(&moment.keys.get(), password.expose().as_bytes()))
                }
            };
            let row = Service {
                name: new.name.clone(),
                scheme: new.scheme.clone(),
                host: new.host.clone(),
                port: new.port,
                path: new.path.clone(),
                username: new.username.clone(),
                password,
                created_at: old.as_ref().map_or(moment.now, |old| old.created_at),
                updated_at: moment.now,
                updated_by: moment.actor.clone(),
            };
            tx.put(t::NAME_TO_SERVICE, new.name.as_str(), &row)?;
            Ok((old.is_none(), Some(format!("{}://{}:{}", new.scheme, new.host, new.port))))
        })
        .await
    }

    /// Forgets a service. Tasks that are related to it fail from now on, and say so.
    pub async fn delete_service(&self, permit: &Permit, name: ServiceName) -> Result<(), Error> {
        let deed = Deed::new("service.delete", format_args!("service:{name}"));
        self.change(permit, deed, move |tx, _| {
            if tx.remove(t::NAME_TO_SERVICE, name.as_str())? {
                Ok(((), None))
            } else {
                Err(missing(format_args!("the service {name}")))
            }
        })
        .await
    }
}

fn check(new: &NewService) -> Result<(), Refused> {
    let scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    if !(1..=32).contains(&new.scheme.len()) || !new.scheme.chars().all(scheme) {
        return Err(Refused::field("scheme", "must be 1 to 32 lower-case letters, digits and `+-.`"));
    }
    if let Err(error) = Host::parse(&new.host) {
        return Err(Refused::field("host", error.to_string()));
    }
    if new.port == 0 {
        return Err(Refused::field("port", "must be 1 to 65535"));
    }
    for (field, text) in [("path", &new.path), ("username", &new.username)] {
        if text.len() > 1_000 || text.chars().any(char::is_control) {
            return Err(Refused::field(field, "must be at most 1000 bytes without control characters"));
        }
    }
    let length = new.password.as_ref().map_or(0, |password| password.expose().len());
    if length > 0 && !(limits::SECRET_MIN_CHARS..=limits::VARIABLE_BYTES).contains(&length) {
        let range = format!("must have {} to {} bytes", limits::SECRET_MIN_CHARS, limits::VARIABLE_BYTES);
        return Err(Refused::field("password", range));
    }
    Ok(())
}

/// Where a service is, as egress lists name it.
pub(crate) fn destination(service: &Service) -> Result<Destination, Refused> {
    let host = Host::parse(&service.host).map_err(|error| Refused::field("host", error.to_string()))?;
    Ok(Destination { host, port: service.port })
}
