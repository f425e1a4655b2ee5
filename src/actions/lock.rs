//! The lock of a stack: one actor keeps the others from changing it.

use crate::{
    auth::{On, Permission, Permit, permit},
    domain::{Note, Refused, StackId, stack::Lock},
    store::{Error, Find, Tx, record::Stack, tables as t},
};

use super::{Actions, Moment, life, missing, ring};

impl Actions {
    /// Takes the lock; taking one's own again replaces the note.
    pub async fn lock_stack(&self, permit: &Permit, id: StackId, note: Option<Note>) -> Result<Stack, Error> {
        permit.covers(id)?;
        let deed = self.on_stack("stack.lock", id)?;
        self.change(permit, deed, move |tx, moment| {
            let mut stack = tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            if let Some(held) = stack.lock.as_ref().filter(|held| !held.is_held_by(moment.who())) {
                return Err(held_by(held).into());
            }
            let since = stack.lock.as_ref().map_or(moment.now, |held| held.since);
            stack.lock =
                Some(Lock { by: moment.actor.clone(), by_id: moment.actor_id.clone(), note: note.clone(), since });
            store(tx, moment, &mut stack)?;
            Ok((stack, note.as_ref().map(ToString::to_string)))
        })
        .await
    }

    /// Releases the lock: one's own as a writer, another's as an admin.
    pub async fn unlock_stack(&self, permit: &Permit, id: StackId) -> Result<Stack, Error> {
        permit.covers(id)?;
        let deed = self.on_stack("stack.unlock", id)?;
        let who = permit.who().clone();
        self.change(permit, deed, move |tx, moment| {
            let mut stack = tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            let Some(held) = stack.lock.take() else {
                return Err(Refused::conflict("the stack is not locked").into());
            };
            if !held.is_held_by(moment.who()) {
                self::permit(&who, Permission::UnlockAnother, On::Stack(id), moment.now).map_err(|refused| {
                    Refused { detail: format!("{held}; {refused}", held = held_by(&held)), ..refused }
                })?;
            }
            store(tx, moment, &mut stack)?;
            Ok((stack, Some(format!("held by {} since {}", held.by.name, held.since))))
        })
        .await
    }
}

fn held_by(held: &Lock) -> Refused {
    let note = held.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    Refused::conflict(format!("the stack is locked by {}{note} since {}", held.by.name, held.since))
}

fn store(tx: &Tx<'_>, moment: &Moment, stack: &mut Stack) -> Result<(), Error> {
    stack.version += 1;
    tx.put(t::STACK_ID_TO_STACK, stack.id.number(), stack)?;
    life::settle(tx, moment, stack.id)?;
    life::schedule(tx, moment)?;
    ring(tx, moment);
    Ok(())
}
