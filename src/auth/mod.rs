//! Who somebody is, and the proof that they may do one thing to one object.
//!
//! - [`password`]: argon2id, bounded, the same time for everybody;
//! - [`throttle`]: growing delays for wrong passwords;
//! - [`Origin`]: whom bounds take for one;
//! - [`token`]: sessions, API keys, invitations: random, only hashes stored;
//! - [`who`]: from a token to an actor with their roles, read from a view;
//! - [`permit()`]: from an actor to a [`Permit`], which actions demand.
//!
//! Reads the store, never writes it.

mod origin;
pub mod password;
pub mod permit;
pub mod throttle;
pub mod token;
pub mod who;

pub use origin::Origin;
pub use permit::{On, Permission, Permit, permit};
pub use who::{Ceiling, Who};
