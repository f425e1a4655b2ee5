//! Lists: `{items, next}`.

use std::fmt::Display;

use serde::Serialize;
use utoipa::ToSchema;

use super::Answer;
use crate::{
    domain::{Refused, limits},
    queries::{Cursor, Page},
};

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    pub items: Vec<T>,
    /// What to send as `cursor` for the part behind this one.
    pub next: Option<String>,
}

/// How many, and from where on.
#[derive(Debug)]
pub(super) struct Paging {
    pub limit: usize,
    cursor: Option<String>,
}

impl Paging {
    pub(super) fn new(limit: Option<usize>, cursor: Option<String>) -> Answer<Self> {
        let limit = limit.unwrap_or(limits::PAGE_ROWS);
        if !(1..=limits::LIST_MAX).contains(&limit) {
            return Err(Refused::field("limit", format!("is {limit}; 1 to {} are allowed", limits::LIST_MAX)).into());
        }
        Ok(Self { limit, cursor })
    }

    /// The cursor of a list that the store pages.
    pub(super) fn cursor(&self) -> Answer<Option<Cursor>> {
        Ok(self.cursor.as_deref().map(str::parse).transpose()?)
    }

    /// The key of the last item of the part before.
    fn after(&self) -> Answer<Option<String>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let key = hex::decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(Some(key.ok_or_else(|| Refused::field("cursor", "is not one that this list gave out"))?))
    }
}

impl<T> List<T> {
    /// A part that the store paged.
    pub(super) fn of_page<R>(page: Page<R>, show: impl FnMut(R) -> Answer<T>) -> Answer<Self> {
        let next = page.next.as_ref().map(ToString::to_string);
        Ok(Self { items: page.items.into_iter().map(show).collect::<Answer<_>>()?, next })
    }

    /// A part of a short list, in the order of its keys, which are all different.
    pub(super) fn by_key<R, K: Display>(
        rows: Vec<R>,
        paging: &Paging,
        key: impl Fn(&R) -> K,
        show: impl FnMut(R) -> Answer<T>,
    ) -> Answer<Self> {
        let after = paging.after()?;
        let mut rows: Vec<(String, R)> = rows.into_iter().map(|row| (key(&row).to_string(), row)).collect();
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows.retain(|(key, _)| after.as_ref().is_none_or(|after| key > after));
        let more = rows.len() > paging.limit;
        rows.truncate(paging.limit);
        let next = rows.last().filter(|_| more).map(|(key, _)| hex::encode(key));
        Ok(Self { items: rows.into_iter().map(|(_, row)| row).map(show).collect::<Answer<_>>()?, next })
    }
}

/// A key that puts the newest first.
pub(super) fn newest_first(number: u128) -> String {
    format!("{:032x}", u128::MAX - number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_read_in_parts_shows_every_item_once() {
        let rows: Vec<u32> = (0..25).map(|n| n * 7 % 25).collect();
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let paging = Paging::new(Some(10), cursor).unwrap();
            let part = List::by_key(rows.clone(), &paging, |n| format!("{n:03}"), Ok).unwrap();
            seen.extend(part.items);
            cursor = part.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
    }

    #[test]
    fn limits_and_cursors_that_are_none_are_refused() {
        assert!(Paging::new(Some(0), None).is_err());
        assert!(Paging::new(Some(201), None).is_err());
        let bad = Paging::new(None, Some("zz".to_owned())).unwrap();
        assert!(bad.after().is_err() && bad.cursor().is_err());
    }
}
