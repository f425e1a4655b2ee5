//! What must happen because of a transition, as data.

use super::Chain;
use crate::domain::Stage;

/// Something that must happen. Each is written as a row in the transaction of the transition, and
/// carried out after the commit; after a crash it is carried out then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Start a runner for this chain.
    Start(Chain),
    /// Call the run tasks of this stage; its end comes back as an event.
    Check(Stage),
    /// Ask the runner to stop.
    StopChain,
    /// Kill the runner's phase now.
    KillChain,
    /// Overwrite the erase secret and remove the sealed workspace.
    DestroySeal,
    /// Remove a workspace that a chain left open.
    RemoveWorkspace,
}
