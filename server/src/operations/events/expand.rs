//! From rows of the log to events.
//!
//! To add a kind of row: its number and body in `store::events`, an arm in [`expand`], what it may hold in [`row_filter`].

use crate::domain::event::{
    AppliedRecord, Category, Event, EventData, EventFilter, EventName, Place, StockMover, is_told,
};
use crate::domain::fleet::StoredRecord;
use crate::domain::ids::{AlertId, OrderId};
use crate::domain::order::Order;
use crate::store::events::read::{EventRow, Range, RowFilter, page, records};
use crate::store::events::{
    AlertBody, KIND_ALERT, KIND_ORDER, KIND_RECORDS, KIND_REDRIVEN, KIND_STOCK, ORDER_SHARD, OrderBody,
    SYNC_SHARD, StockBody,
};
use crate::store::{Session, StoreError, orders};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use vend_core::id::{Epoch, ProductId};

/// Rows read at a time.
const ROWS_PER_PAGE: usize = 256;
/// Records expanded at a time: a range may hold more, and is then read in pieces.
const RECORDS_PER_PAGE: u64 = 2_048;
/// Positions looked at in one statement when a filter may leave out most of them.
const POSITIONS_PER_PAGE: i64 = 10_000;

/// A page of a shard's events.
#[derive(Debug)]
pub(super) struct Expanded {
    /// In order; a filter for rows only leaves out, so these may hold more than what is meant.
    pub(super) events: Vec<Arc<Event>>,
    /// All events up to here were looked at.
    pub(super) through: Place,
}

/// The shards in which events that a filter means can be.
pub(super) fn shards(filter: &EventFilter) -> Vec<i64> {
    let mut shards = Vec::with_capacity(2);
    let in_sync = [Category::Sale, Category::Inventory, Category::Alert];
    if in_sync.into_iter().any(|category| filter.may_take(category)) {
        shards.push(SYNC_SHARD);
    }
    // What is about a machine goes where its Syncs do.
    let in_orders = [Category::Order, Category::Inventory, Category::Alert];
    if filter.machine.is_none() && in_orders.into_iter().any(|category| filter.may_take(category)) {
        shards.push(ORDER_SHARD);
    }
    shards
}

/// What of a filter is cheap in the database.
pub(super) fn row_filter(filter: &EventFilter) -> RowFilter {
    let all = Category::ALL.into_iter().all(|category| filter.may_take(category));
    let kinds = (!all).then(|| {
        let kinds = [
            (KIND_ORDER, [Category::Order, Category::Inventory].as_slice()),
            (KIND_STOCK, &[Category::Inventory]),
            (KIND_RECORDS, &[Category::Sale, Category::Inventory]),
            (KIND_REDRIVEN, &[Category::Sale, Category::Inventory]),
            (KIND_ALERT, &[Category::Alert]),
        ];
        let meant = kinds.iter().filter(|(_, holds)| holds.iter().any(|category| filter.may_take(*category)));
        meant.map(|(kind, _)| *kind).collect()
    });
    RowFilter {
        kinds,
        machine: filter.machine,
        subject: filter.order.map(|order| *order.as_bytes()),
        customer: filter.customer.clone(),
    }
}

/// Reads and expands the events of a shard behind `after` up to position `head`, a bounded number of them.
pub(super) async fn read_page(
    session: &mut Session,
    shard: i64,
    after: Place,
    head: i64,
    filter: &RowFilter,
) -> Result<Expanded, StoreError> {
    let from = after.next_position();
    let last = head.min(from.saturating_add(POSITIONS_PER_PAGE));
    let mut rows = page(session, shard, (from, last), filter, ROWS_PER_PAGE).await?;
    let mut through = Place::behind(last);
    if rows.len() == ROWS_PER_PAGE
        && let Some(row) = rows.last()
    {
        through = Place::behind(row.position);
    }
    let ranges = cut(&mut rows, after, &mut through);
    let records = read_records(session, &ranges).await?;
    let orders = read_orders(session, &rows).await?;
    let mut events = Vec::new();
    for row in &rows {
        let applied = records.get(&row.position).map(Vec::as_slice).unwrap_or_default();
        let data = match expand(row, applied, &orders) {
            Ok(data) => data,
            // One damaged row must not end every stream for ever.
            Err(error @ (StoreError::Corrupt(_) | StoreError::Data(_))) => {
                tracing::error!(shard, position = row.position, %error, "an event can't be read and is left out");
                continue;
            }
            Err(error) => return Err(error),
        };
        // The rest of a range that was cut is still to come.
        let is_whole = through >= Place::behind(row.position);
        let count = data.len();
        for (index, (number, data)) in data.into_iter().enumerate() {
            let place = Place { position: row.position, within: number.unwrap_or(0) };
            let is_last = is_whole && index + 1 == count;
            events.push(Arc::new(Event {
                name: EventName { id: row.id, number },
                shard,
                place,
                after: if is_last { Place::behind(row.position) } else { place },
                at_ms: row.at_ms,
                trace_id: row.trace_id.clone(),
                traceparent: row.traceparent.clone(),
                data,
            }));
        }
    }
    events.retain(|event| event.place > after);
    Ok(Expanded { events, through })
}

/// The ranges of records of these rows, by position. Rows behind the bound of records are dropped, a range that crosses it
/// is cut, and `through` is set to what is left.
fn cut(rows: &mut Vec<EventRow>, after: Place, through: &mut Place) -> Vec<(i64, Range)> {
    let mut left = RECORDS_PER_PAGE;
    let mut ranges = Vec::new();
    for index in 0..rows.len() {
        let row = &rows[index];
        if ![KIND_RECORDS, KIND_REDRIVEN].contains(&row.kind) {
            continue;
        }
        let (Some(machine), Some(chain)) = (row.machine, row.chain) else { continue };
        let is_begun = row.position == after.position;
        let first_seq =
            if is_begun { row.first_seq.max(after.within.saturating_add(1)) } else { row.first_seq };
        if left == 0 {
            let before = index.checked_sub(1).map(|index| rows[index].position);
            *through = Place::behind(before.unwrap_or(row.position.saturating_sub(1)));
            rows.truncate(index);
            break;
        }
        let last_seq = row.last_seq.min(first_seq.saturating_add(left - 1));
        ranges.push((row.position, Range { machine, chain, first_seq, last_seq, kind: row.kind }));
        if last_seq < row.last_seq {
            *through = Place { position: row.position, within: last_seq };
            rows.truncate(index + 1);
            break;
        }
        left = left.saturating_sub(last_seq.saturating_sub(first_seq).saturating_add(1));
    }
    ranges
}

type Found = (Epoch, StoredRecord);

async fn read_records(
    session: &mut Session,
    ranges: &[(i64, Range)],
) -> Result<HashMap<i64, Vec<Found>>, StoreError> {
    let asked: Vec<Range> = ranges.iter().map(|(_, range)| *range).collect();
    let mut found: HashMap<i64, Vec<Found>> = HashMap::new();
    for (index, epoch, stored) in records(session, &asked).await? {
        if let Some((position, _)) = ranges.get(index) {
            found.entry(*position).or_default().push((epoch, stored));
        }
    }
    Ok(found)
}

async fn read_orders(
    session: &mut Session,
    rows: &[EventRow],
) -> Result<HashMap<OrderId, Order>, StoreError> {
    let ids = rows.iter().filter(|row| row.kind == KIND_ORDER).filter_map(|row| row.subject);
    let ids: HashSet<OrderId> = ids.map(|id| OrderId(uuid::Uuid::from_bytes(id))).collect();
    let ids: Vec<OrderId> = ids.into_iter().collect();
    let found = orders::find_many(session, &ids).await?;
    Ok(found.into_iter().map(|order| (order.id, order)).collect())
}

/// What a row tells, numbered when it may tell several things.
fn expand(
    row: &EventRow,
    applied: &[Found],
    orders: &HashMap<OrderId, Order>,
) -> Result<Vec<(Option<u64>, EventData)>, StoreError> {
    match row.kind {
        KIND_ORDER => expand_order(row, orders),
        KIND_RECORDS | KIND_REDRIVEN => Ok(expand_records(row, applied)),
        KIND_STOCK => {
            let product = ProductId(subject(row)?);
            let (moved, cause) = StockBody::read(&row.body, product, row.at_ms)?;
            Ok(vec![(None, EventData::Stock { moved, mover: StockMover::Catalogue(cause) })])
        }
        KIND_ALERT => {
            let id = AlertId(uuid::Uuid::from_bytes(subject(row)?));
            let (change, alert) = AlertBody::read(&row.body, id, row.machine)?;
            Ok(vec![(None, EventData::Alert { change, alert: Box::new(alert) })])
        }
        kind => {
            // Written by a newer server: it tells of it, this one can't.
            tracing::warn!(kind, event = %row.id, "an event of an unknown kind is left out");
            Ok(Vec::new())
        }
    }
}

fn subject(row: &EventRow) -> Result<[u8; 16], StoreError> {
    row.subject.ok_or_else(|| StoreError::corrupt("an event without what it is about"))
}

fn expand_order(
    row: &EventRow,
    orders: &HashMap<OrderId, Order>,
) -> Result<Vec<(Option<u64>, EventData)>, StoreError> {
    let id = OrderId(uuid::Uuid::from_bytes(subject(row)?));
    let order = orders.get(&id).ok_or_else(|| StoreError::corrupt("an event about no order"))?;
    let (change, state, moves) = OrderBody::read(&row.body, row.at_ms)?;
    // As it was right after the event; the row is as it is now.
    let order = Box::new(Order { state, ..order.clone() });
    let mut data = vec![(Some(0), EventData::Order { change, order })];
    for (number, moved) in (1..).zip(moves) {
        data.push((Some(number), EventData::Stock { moved, mover: StockMover::Order(id, change) }));
    }
    Ok(data)
}

fn expand_records(row: &EventRow, applied: &[Found]) -> Vec<(Option<u64>, EventData)> {
    let mut data = Vec::with_capacity(applied.len());
    for (epoch, stored) in applied {
        match vendfleet_wire::decode(stored.kind, stored.schema, &stored.body) {
            Ok(record) if is_told(&record.body) => {
                let applied = AppliedRecord { stored: stored.clone(), epoch: *epoch, record };
                data.push((Some(stored.seq), EventData::Record(Box::new(applied))));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(event = %row.id, seq = stored.seq, %error, "a counted record can't be read");
            }
        }
    }
    data
}
