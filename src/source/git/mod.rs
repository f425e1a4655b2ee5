//! Git sources.

mod address;
mod fetch;
mod report;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressError, local_repository};
pub use fetch::{Credential, FetchScript, REPORT_BYTES, REPORT_FD, Request, script};
pub use report::{FetchError, Fetched, fetched};
