//! The runner: the process that carries out a chain of phases.

pub mod native;
