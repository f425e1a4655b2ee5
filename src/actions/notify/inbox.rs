//! Messages to people: kept for two weeks, as many as there may be, and marked by each reader.

use crate::{
    auth::Permit,
    domain::{Refused, StackId, UserId, limits},
    store::{
        Error, Fault, Flow, Order, Rows, Tx,
        record::{Audience, Mark, Message},
        tables as t,
    },
};

use crate::actions::{Actions, Moment, missing, ring};

/// Puts a message into the inbox. One of a topic that is there already changes nothing.
pub(in crate::actions) fn put(tx: &Tx<'_>, moment: &Moment, message: Message) -> Result<(), Error> {
    let (mut known, mut kept) = (false, 0);
    let mut over = Vec::new();
    tx.walk(t::SEQ_TO_MESSAGE, 0..=u64::MAX, Order::Down, |seq, row: Message| {
        kept += 1;
        if kept >= limits::MESSAGES || moment.now - row.at > limits::MESSAGE_AGE {
            over.push(seq);
        } else {
            known |= row.topic.is_some() && row.topic == message.topic;
        }
        Ok(Flow::Continue(()))
    })?;
    for seq in over {
        forget(tx, seq)?;
    }
    if !known {
        tx.put(t::SEQ_TO_MESSAGE, tx.next("message")?, &message)?;
        ring(tx, moment);
    }
    Ok(())
}

fn forget(tx: &Tx<'_>, seq: u64) -> Result<(), Fault> {
    tx.remove(t::SEQ_TO_MESSAGE, seq)?;
    let mut users = Vec::new();
    tx.walk_numbers(t::MESSAGE_USER_TO_MARK, (seq, 0)..=(seq, u128::MAX), Order::Up, |(_, user), _| {
        users.push(user);
        Ok(Flow::Continue(()))
    })?;
    for user in users {
        tx.remove_number(t::MESSAGE_USER_TO_MARK, (seq, user))?;
    }
    Ok(())
}

impl Actions {
    /// The stack whose people a message is for; none: it is for admins. What the permit to mark it is about.
    pub fn audience_of(&self, seq: u64) -> Result<Option<StackId>, Error> {
        match self.store.read()?.get(t::SEQ_TO_MESSAGE, seq)?.map(|message| message.audience) {
            Some(Audience::Stack(stack)) => Ok(Some(stack)),
            Some(Audience::Admins) => Ok(None),
            None => Err(missing("the message")),
        }
    }

    /// Notes what somebody did with a message. That is theirs alone, so the audit log has none of it. The
    /// permit must be about what the message is about.
    pub async fn mark_message(&self, permit: &Permit, seq: u64, mark: Mark) -> Result<(), Error> {
        let user = permit.who().user().ok_or_else(|| Refused::forbidden("only people have an inbox"))?;
        if let Some(stack) = self.audience_of(seq)? {
            permit.covers(stack)?;
        }
        let permit = permit.clone();
        self.system(move |tx, moment| {
            permit.still_holds(tx, moment.now)??;
            if tx.get(t::SEQ_TO_MESSAGE, seq)?.is_some() {
                note(tx, seq, user, mark)?;
                ring(tx, moment);
            }
            Ok(())
        })
        .await
    }
}

fn note(tx: &Tx<'_>, seq: u64, user: UserId, mark: Mark) -> Result<(), Fault> {
    let key = (seq, user.number());
    let before = tx.number(t::MESSAGE_USER_TO_MARK, key)?.unwrap_or(0);
    tx.set_number(t::MESSAGE_USER_TO_MARK, key, before.max(mark as u8))
}
