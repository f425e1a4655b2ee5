//! Git sources.

mod address;
mod fetch;

pub use address::{Address, AddressError, local_repository};
pub use fetch::{Credential, FetchError, FetchScript, Request, fetched, script};
