//! Webhooks, and what was delivered to them.

use crate::{
    domain::Slug,
    store::{
        Flow, Order, Rows,
        record::{Webhook, WebhookDelivery},
        tables as t,
    },
};

use super::{Cursor, Page, Queries, Result, not_found};

impl Queries {
    /// Every webhook, by id. For admins.
    pub fn webhooks(&self) -> Result<Vec<Webhook>> {
        Ok(self.view()?.all(t::ID_TO_WEBHOOK, ""..="\u{10ffff}")?)
    }

    /// One webhook. For admins.
    pub fn webhook(&self, id: &Slug) -> Result<Webhook> {
        let found = self.view()?.get(t::ID_TO_WEBHOOK, id.as_str())?;
        found.ok_or_else(|| not_found(format_args!("the webhook `{id}`")))
    }

    /// What was, and is to be, delivered to a webhook, the newest first. For admins.
    pub fn webhook_deliveries(
        &self,
        id: &Slug,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<WebhookDelivery>> {
        let below = cursor.map(|cursor| cursor.below(id)).transpose()?.unwrap_or(u64::MAX);
        let mut items = Vec::new();
        let range = (id.as_str(), 0)..(id.as_str(), below);
        self.view()?.walk(t::WEBHOOK_SEQ_TO_DELIVERY, range, Order::Down, |_, row: WebhookDelivery| {
            items.push(row);
            Ok(if items.len() <= limit { Flow::Continue(()) } else { Flow::Break(()) })
        })?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|row| Cursor::new(row.seq, id));
        Ok(Page { items, next })
    }
}
