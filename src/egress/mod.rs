//! The one way out: whatever leaves this machine on behalf of a run or of the server goes through here.
//!
//! Owns the rules about destinations ([`Policy`]), the only place that resolves names and connects
//! ([`Dialer`]), the forward proxy of jails and guests ([`Proxy`]), and the client for the server's own
//! calls ([`Client`]). Must not know what a run is, where records are kept, or who asks.
//!
//! Invariants:
//! - A name is resolved once for a connection. Every address that comes back is checked, and the
//!   connection goes to one that was; nothing resolves a second time.
//! - A destination that is not on the list is not even resolved: a lookup is a message, too.
//! - Redirects are not followed; whoever follows one asks again.
//! - Towards a host every request has a connection of its own, and its framing is written anew, so
//!   that two readings of one byte stream cannot matter.
//! - A secret header goes to the host that it is bound to and to no other, and is shown to nobody.
//! - Every connection, head, name, record and wait has a bound.
//!
//! What a list of names cannot promise: behind `CONNECT` the bytes are the client's own, so a listed
//! host that serves many (a content network) can be asked for another one of its sites.

mod class;
mod client;
mod dial;
mod exchange;
mod fuzz;
mod ledger;
mod meter;
mod policy;
mod proxy;
mod trust;

pub use class::AddressClass;
pub use client::{Call, CallError, Client, Reply};
pub use dial::{DialError, Dialer, Resolve, SystemResolver};
#[doc(hidden)]
pub use fuzz::fuzz;
pub use ledger::Ledger;
pub use policy::{Policy, Refusal};
pub use proxy::{Accept, Answers, BindError, BoundHeader, Gateway, Proxy, Role, Within};
pub use trust::{TlsFault, Trust, TrustError};

#[cfg(test)]
mod tests;
