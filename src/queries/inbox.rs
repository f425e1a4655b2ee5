//! Messages to people, as far as a reader may see them.

use crate::{
    auth::Who,
    domain::limits,
    store::{
        Flow, Order, Rows,
        record::{Audience, Message},
        tables as t,
    },
};

use super::{Queries, Result, sees};

/// A message that its reader has not dismissed.
#[derive(Clone, Debug)]
pub struct MessageRow {
    pub seq: u64,
    pub message: Message,
    pub read: bool,
}

/// [`crate::store::record::Mark::Dismissed`] as it is kept.
const DISMISSED: u8 = crate::store::record::Mark::Dismissed as u8;

impl Queries {
    /// The inbox of somebody, the newest first.
    pub fn messages(&self, who: &Who) -> Result<Vec<MessageRow>> {
        let (view, now) = (self.view()?, self.now());
        let mut rows = Vec::new();
        let Some(user) = who.user() else { return Ok(rows) };
        view.walk(t::SEQ_TO_MESSAGE, 0..=u64::MAX, Order::Down, |seq, message: Message| {
            let old = now - message.at > limits::MESSAGE_AGE;
            let mark = view.number(t::MESSAGE_USER_TO_MARK, (seq, user.number()))?.unwrap_or(0);
            let visible = match message.audience {
                Audience::Stack(stack) => sees(who, stack),
                Audience::Admins => who.admin,
            };
            if visible && !old && mark < DISMISSED {
                rows.push(MessageRow { seq, message, read: mark > 0 });
            }
            Ok(if rows.len() < limits::MESSAGES_SHOWN { Flow::Continue(()) } else { Flow::Break(()) })
        })?;
        Ok(rows)
    }
}
