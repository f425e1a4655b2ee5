//! Landlock: a second fence around files, where the kernel has one.
//!
//! The mount namespace is the first fence and holds by itself. This one would still hold if a mount
//! were to appear that should not. From ABI 6 on it also keeps a jail that shares the host's network
//! from abstract sockets of the host, which no mount namespace covers.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};

use crate::protocol::{Bind, inside};

/// Newest interface whose rights are asked for; an older kernel gives what it has.
const NEWEST: ABI = ABI::V6;

/// Where a phase may write, beside its writable grants.
pub(super) const WRITABLE: &[&str] = &[inside::WORKSPACE, inside::RUN, "/tmp", "/dev", "/proc"];

/// Fences the calling process in. It already lives in the jail's root. Nothing depends on this fence,
/// so that a caller may go on after an error.
pub(super) fn close(binds: &[Bind], writable: &[&Path]) -> Result<(), RulesetError> {
    let all = AccessFs::from_all(NEWEST);
    let granted = binds.iter().filter(|bind| bind.writable).map(|bind| bind.inside.as_path());
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    rules = allow(rules, Path::new("/"), AccessFs::from_read(NEWEST))?;
    for path in writable.iter().copied().chain(granted) {
        rules = allow(rules, path, all)?;
    }
    rules.restrict_self().map(drop)
}

fn allow(
    rules: landlock::RulesetCreated,
    path: &Path,
    access: landlock::BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(opened) => rules.add_rule(PathBeneath::new(opened, access)),
        Err(_) => Ok(rules),
    }
}

/// The interface that this kernel has; 0 without Landlock.
pub fn landlock_abi() -> u32 {
    super::sys::landlock_abi()
}
