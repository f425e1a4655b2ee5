//! Policies: how they are kept from doing harm, and what they keep from happening.

mod access;
mod child;
mod published;
mod tasks;
mod triggers;
