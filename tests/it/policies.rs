//! Policies: how they are kept from doing harm, and what they keep from happening.

mod access;
mod bombs;
mod child;
mod published;
mod tasks;
mod triggers;
