//! The log in bounded pages, for whoever keeps a cursor of its own.

use super::check;
use super::expand::read_page;
use crate::domain::event::{Cursor, Event, Place};
use crate::error::ApiError;
use crate::store::Store;
use crate::store::events::read::{Head, RowFilter, heads};
use std::sync::Arc;

/// A page of events.
#[derive(Debug)]
pub struct EventPage {
    /// Those of a shard in the order of their commits. A few thousand at most.
    pub events: Vec<Arc<Event>>,
    /// Where to go on once all of them are dealt with.
    pub cursor: Cursor,
    /// More is there already.
    pub has_more: bool,
}

/// Before the oldest event still kept.
///
/// # Errors
/// The database can't be read.
pub async fn oldest(store: &Store) -> Result<Cursor, ApiError> {
    let (incarnation, heads) = heads(&mut store.read().await?).await?;
    let places = heads.iter().map(|head| (head.shard, Place::behind(head.trimmed_through)));
    Ok(Cursor { incarnation, places: places.collect() })
}

/// Behind everything that is committed now.
///
/// # Errors
/// The database can't be read.
pub async fn now(store: &Store) -> Result<Cursor, ApiError> {
    let (incarnation, heads) = heads(&mut store.read().await?).await?;
    let places = heads.iter().map(|head| (head.shard, Place::behind(head.position)));
    Ok(Cursor { incarnation, places: places.collect() })
}

/// The events behind a cursor, of every shard in turn, a bounded number of them. An event's own cursor is the page's with
/// the event's `after` at its shard: events of one page come shard by shard.
///
/// # Errors
/// CURSOR_LOST; the database can't be read.
pub async fn read_after(store: &Store, cursor: &Cursor) -> Result<EventPage, ApiError> {
    let mut session = store.read().await?;
    let (incarnation, at) = heads(&mut session).await?;
    let mut page = EventPage { events: Vec::new(), cursor: cursor.clone(), has_more: false };
    for Head { shard, position, .. } in &at {
        let after = cursor.place(*shard);
        if after >= Place::behind(*position) {
            continue;
        }
        let expanded = read_page(&mut session, *shard, after, *position, &RowFilter::default()).await?;
        page.has_more |= expanded.through < Place::behind(*position);
        page.cursor.raise(*shard, expanded.through);
        page.events.extend(expanded.events);
    }
    // After the reads: what was trimmed while they ran may be missing from them.
    let (_, at) = heads(&mut session).await?;
    let shards: Vec<i64> = at.iter().map(|head| head.shard).collect();
    check(cursor, incarnation, &at, &shards)?;
    Ok(page)
}
