//! The system calls that a jail may make: a list of what is allowed, compiled to a kernel filter.
//!
//! The starting point is what containers usually allow; what differs, and why, stands in `table.rs`.
//! Programs for another architecture (32-bit ones included) are killed: their numbers mean other
//! calls.

mod compile;
mod table;
#[cfg(test)]
mod tests;

pub(super) use compile::compile;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    /// The call fails with this error number.
    Errno(i32),
    /// The process dies.
    Kill,
    /// It depends on an argument.
    Check(&'static Check),
}

/// A look at the low 32 bits of one argument. That is all the kernel looks at in every call for which
/// this is used.
#[derive(Debug, PartialEq, Eq)]
struct Check {
    argument: u8,
    mask: u32,
    values: &'static [u32],
    /// If the masked argument is one of the values.
    then: Action,
    otherwise: Action,
}
