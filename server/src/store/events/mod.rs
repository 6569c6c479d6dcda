//! The event log: written in the commits that cause the events, numbered in the order of those commits.
//!
//! **Architecture Invariant**: positions come from a head row per shard that is locked by the last statement before the
//! commit. A reader that has seen a position has therefore seen, or can see, every lower one; a serial number drawn earlier
//! could become visible after a higher one was read.

mod alert_body;
mod body;
mod happening;
pub mod read;
mod stock_body;

pub use alert_body::AlertBody;
pub use body::OrderBody;
pub use happening::{Happening, Origin, write};
pub use stock_body::StockBody;

use super::bulk::{Bulk, Kind};
use super::engine::Engine;
use super::value::int;
use super::{StoreError, Tx};
use crate::domain::ids::{EventId, MachineId};
use Kind::{Bytes, Int, Text};
use vend_core::id::Epoch;

/// The shard Syncs write to.
pub const SYNC_SHARD: i64 = 0;
/// The shard of orders, central stock and alerts about no machine.
pub const ORDER_SHARD: i64 = 1;
/// `events.kind` of a range of records that a Sync brought.
pub const KIND_RECORDS: i64 = 1;
/// `events.kind` of what happened to an order, with the central stock it moved: [`OrderBody`].
pub const KIND_ORDER: i64 = 2;
/// `events.kind` of central stock that changed outside any order: [`StockBody`]; the subject is the product.
pub const KIND_STOCK: i64 = 3;
/// `events.kind` of what happened to an alert: [`AlertBody`]; the subject is the alert, the machine its own.
pub const KIND_ALERT: i64 = 4;
/// `events.kind` of one record that counts since its dead letter was redriven. Written apart from [`KIND_RECORDS`], so that
/// a range's expansion never changes after it was read.
pub const KIND_REDRIVEN: i64 = 5;

/// An event before it has its position.
#[derive(Clone, Copy, Debug)]
pub struct NewEvent<'a> {
    /// Tells repeats.
    pub id: EventId,
    /// What happened; the numbers are the store's own.
    pub kind: i64,
    /// The machine concerned.
    pub machine: Option<MachineId>,
    /// The epoch of the records concerned.
    pub epoch: Option<Epoch>,
    /// First record concerned; 0 when none.
    pub first_seq: u64,
    /// Last record concerned; 0 when none.
    pub last_seq: u64,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace id of the call that caused it.
    pub trace_id: &'a str,
    /// W3C traceparent of that call; empty when it had none.
    pub traceparent: &'a str,
    /// What it is about besides a machine: an order, a product, an alert.
    pub subject: Option<&'a [u8; 16]>,
    /// Whose order it is about.
    pub customer: Option<&'a str>,
    /// What the kind needs besides.
    pub body: Option<&'a [u8]>,
}

const COLUMNS: [Kind; 14] =
    [Int, Int, Bytes, Int, Bytes, Bytes, Int, Int, Int, Text, Text, Bytes, Text, Bytes];

static ON_SQLITE: Bulk = Bulk::new(
    "INSERT INTO events (shard, position, event_id, kind, machine_id, epoch, first_seq, last_seq, at_ms, trace_id, \
     traceparent, subject, customer_id, body)",
    &COLUMNS,
    "",
);

/// Takes the positions and writes the events in one round trip: the head is locked for that long and the commit.
static ON_POSTGRES: Bulk = Bulk::new(
    "WITH input (shard, ordinal, event_id, kind, machine_id, epoch, first_seq, last_seq, at_ms, trace_id, \
     traceparent, subject, customer_id, body) AS (",
    &COLUMNS,
    "), head AS (UPDATE event_heads SET position = position + (SELECT COUNT(*) FROM input) \
       WHERE shard = (SELECT MIN(shard) FROM input) RETURNING position - (SELECT COUNT(*) FROM input) AS base) \
     INSERT INTO events (shard, position, event_id, kind, machine_id, epoch, first_seq, last_seq, at_ms, trace_id, \
     traceparent, subject, customer_id, body) \
     SELECT i.shard, head.base + i.ordinal, i.event_id, i.kind, i.machine_id, i.epoch, i.first_seq, i.last_seq, i.at_ms, \
     i.trace_id, i.traceparent, i.subject, i.customer_id, i.body FROM input i CROSS JOIN head",
);

/// Writes events to a shard, in order. Must be the last statement of its transaction.
pub async fn append(tx: &mut Tx, shard: i64, events: &[NewEvent<'_>]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    tx.note_events();
    let count = int(events.len() as u64)?;
    let (bulk, base) = match tx.engine() {
        Engine::Postgres => (&ON_POSTGRES, 0),
        Engine::Sqlite => {
            let sql = "UPDATE event_heads SET position = position + $2 WHERE shard = $1 RETURNING position";
            let row = tx.one(sql, &[shard.into(), count.into()]).await?;
            (&ON_SQLITE, row.columns().int()? - count)
        }
    };
    let mut rows = bulk.rows(events.len());
    for (event, number) in events.iter().zip(base + 1..) {
        rows.push([
            shard.into(),
            number.into(),
            event.id.as_bytes().into(),
            event.kind.into(),
            event.machine.as_ref().map(MachineId::as_bytes).into(),
            event.epoch.as_ref().map(|e| &e.0).into(),
            int(event.first_seq)?.into(),
            int(event.last_seq)?.into(),
            event.at_ms.into(),
            event.trace_id.into(),
            event.traceparent.into(),
            event.subject.into(),
            super::Arg::OptText(event.customer),
            super::Arg::OptBytes(event.body),
        ]);
    }
    if rows.write(tx).await? != events.len() as u64 {
        return Err(StoreError::corrupt(format!("event shard {shard} has no head")));
    }
    Ok(())
}
