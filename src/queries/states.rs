//! Versions and lock of managed states. Never their content: that takes a permit
//! (`actions::state`).

use crate::{
    domain::StackId,
    store::{
        Rows,
        record::{StateLock, StateVersion},
        tables as t,
    },
};

use super::{Queries, Result};

impl Queries {
    /// Every version of a stack's state, the newest first.
    pub fn state_versions(&self, stack: StackId) -> Result<Vec<StateVersion>> {
        let id = stack.number();
        let mut versions = self.view()?.all(t::STACK_SERIAL_TO_STATE, (id, 0)..=(id, u64::MAX))?;
        versions.reverse();
        Ok(versions)
    }

    /// Who holds the lock of a stack's state.
    pub fn state_lock(&self, stack: StackId) -> Result<Option<StateLock>> {
        Ok(self.view()?.get(t::STACK_TO_STATE_LOCK, stack.number())?)
    }
}
