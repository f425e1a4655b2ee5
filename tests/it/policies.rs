//! Policies: how they are kept from doing harm, and what they keep from happening.

mod access;
mod bombs;
mod child;
mod inputs;
mod pages;
mod published;
mod tasks;
mod triggers;
