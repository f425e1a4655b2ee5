//! Keys and secrets.

mod secret;

pub use secret::Secret;
