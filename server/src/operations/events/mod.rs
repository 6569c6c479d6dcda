//! Streams of what happened, read from the event log.
//!
//! One task per replica, the tail ([`EventLog::follow`]), reads each new row once, as soon as it is committed here and every
//! poll interval for what others committed, and hands its events to every [`Reader`] that is close behind. A reader that
//! is further behind reads the database a page at a time until it meets the tail. Order and completeness come from the log
//! alone: positions rise in the order of commits, and a reader drops what is not behind its own cursor.
//!
//! - [`EventLog::open`]: a reader, for a stream.
//! - [`read_after`]: bounded pages from a cursor, for whoever keeps a cursor of its own.
//! - **Architecture Invariant**: nothing here waits for a reader. A queue that is full is taken away; its reader goes on from
//!   the database.

mod expand;
mod pages;
mod reader;
mod tail;

pub use pages::{EventPage, now, oldest, read_after};
pub use reader::{Delivery, Happened, Reader, Start};
pub use tail::EventLog;

use crate::config::EventsConfig;
use crate::domain::event::Cursor;
use crate::domain::ids::Incarnation;
use crate::error::{ApiError, Reason};
use crate::store::events::read::Head;
use std::time::Duration;

/// What an operator can set of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventSettings {
    /// How often what other replicas committed is looked for.
    pub poll: Duration,
    /// Events kept for one reader that is close behind.
    pub buffer_events: usize,
    /// A reader is told that it is alive when nothing else came for so long.
    pub heartbeat: Duration,
    /// A reader that takes nothing for so long while something waits is ended.
    pub slow_consumer: Duration,
}

impl From<&EventsConfig> for EventSettings {
    fn from(config: &EventsConfig) -> Self {
        Self {
            poll: Duration::from_millis(config.poll_ms),
            buffer_events: config.buffer_events,
            heartbeat: Duration::from_millis(config.heartbeat_ms),
            slow_consumer: Duration::from_millis(config.slow_consumer_ms),
        }
    }
}

/// A cursor must be of this life of the data, and point at what is there: CURSOR_LOST otherwise. Only `read` shards can be
/// too old: what isn't read is not missed.
fn check(cursor: &Cursor, incarnation: Incarnation, heads: &[Head], read: &[i64]) -> Result<(), ApiError> {
    if cursor.incarnation != incarnation {
        return Err(lost(
            incarnation,
            "INCARNATION",
            "the cursor belongs to another life of the server's data",
        ));
    }
    for (shard, place) in &cursor.places {
        let head = heads.iter().find(|head| head.shard == *shard);
        if head.is_none_or(|head| place.position > head.position) {
            return Err(lost(incarnation, "FUTURE", "the cursor points at what has not happened"));
        }
    }
    for head in heads.iter().filter(|head| read.contains(&head.shard)) {
        // All that was written at the last position trimmed is gone with it.
        if cursor.place(head.shard).next_position() <= head.trimmed_through {
            return Err(lost(incarnation, "TOO_OLD", "events behind the cursor are no longer kept"));
        }
    }
    Ok(())
}

fn lost(incarnation: Incarnation, cause: &'static str, message: &str) -> ApiError {
    ApiError::new(Reason::CursorLost, message).with("server_incarnation", incarnation).with("cause", cause)
}

/// Whoever takes nothing while something waits.
#[must_use]
pub fn slow_consumer(buffer_events: usize) -> ApiError {
    ApiError::new(
        Reason::SlowConsumer,
        "the stream is read too slowly; open it again from the last cursor received",
    )
    .with("buffer_events", buffer_events)
}
