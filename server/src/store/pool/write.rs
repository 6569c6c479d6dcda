//! Writing what a batch leaves behind.

use super::{alerts, commands, letters};
use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::pool::{View, Writes};
use crate::domain::stock::StockCause;
use crate::store::bulk::{Bulk, Kind};
use crate::store::events::{self, NewEvent, StockBody};
use crate::store::{StoreError, Tx, int, stock};
use Kind::{Bool, Bytes, Int, Text};

/// What a real machine says of itself, and what an operator sets, is written elsewhere.
static POOL: Bulk = Bulk::new(
    "WITH input (id, state, session_id, purchase_id, usage_count, last_picked_ms, failures, free_at_ms, fence) AS (",
    &[Bytes, Int, Bytes, Bytes, Int, Int, Int, Int, Int],
    ") UPDATE pool SET state = input.state, session_id = input.session_id, purchase_id = input.purchase_id, \
     usage_count = input.usage_count, last_picked_ms = input.last_picked_ms, failures = input.failures, \
     free_at_ms = input.free_at_ms, fence = input.fence FROM input WHERE pool.machine_id = input.id",
);

static NEW_SESSIONS: Bulk = Bulk::new(
    "INSERT INTO sessions (session_id, machine_id, customer_id, state, lease_until_ms, purchase_id, caller, request_id, \
     fingerprint, created_at_ms, ended_at_ms, trace_id)",
    &[Bytes, Bytes, Text, Int, Int, Bytes, Text, Bytes, Bytes, Int, Int, Text],
    "",
);

static SESSIONS: Bulk = Bulk::new(
    "WITH input (id, state, lease_until_ms, purchase_id, ended_at_ms) AS (",
    &[Bytes, Int, Int, Bytes, Int],
    ") UPDATE sessions SET state = input.state, lease_until_ms = input.lease_until_ms, \
     purchase_id = input.purchase_id, ended_at_ms = input.ended_at_ms FROM input WHERE sessions.session_id = input.id",
);

static NEW_PURCHASES: Bulk = Bulk::new(
    "INSERT INTO purchases (purchase_id, session_id, machine_id, kind, customer_id, product_id, slot, currency, \
     price_minor, mode, payment, gateway_payment_id, state, failure, failure_detail, holds_unit, holds_machine, \
     command_number, heard, reservation_end_ms, work, due_at_ms, fence, attempts, caller, request_id, fingerprint, \
     created_at_ms, updated_at_ms, ended_at_ms, trace_id, traceparent)",
    &[
        Bytes, Bytes, Bytes, Int, Text, Bytes, Int, Text, Int, Int, Int, Text, Int, Int, Text, Bool, Bool,
        Int, Bool, Int, Int, Int, Int, Int, Text, Bytes, Bytes, Int, Int, Int, Text, Text,
    ],
    "",
);

static PURCHASES: Bulk = Bulk::new(
    "WITH input (id, payment, gateway_payment_id, state, failure, failure_detail, holds_unit, holds_machine, \
     command_number, heard, reservation_end_ms, work, due_at_ms, fence, attempts, updated_at_ms, ended_at_ms) AS (",
    &[Bytes, Int, Text, Int, Int, Text, Bool, Bool, Int, Bool, Int, Int, Int, Int, Int, Int, Int],
    ") UPDATE purchases SET payment = input.payment, gateway_payment_id = input.gateway_payment_id, \
     state = input.state, failure = input.failure, failure_detail = input.failure_detail, \
     holds_unit = input.holds_unit, holds_machine = input.holds_machine, command_number = input.command_number, \
     heard = input.heard, reservation_end_ms = input.reservation_end_ms, work = input.work, \
     due_at_ms = input.due_at_ms, fence = input.fence, attempts = input.attempts, \
     updated_at_ms = input.updated_at_ms, ended_at_ms = input.ended_at_ms \
     FROM input WHERE purchases.purchase_id = input.id",
);

/// Each slot once; locked by its machine's hot row.
static RESERVED: Bulk = Bulk::new(
    "WITH input (machine_id, slot, units) AS (",
    &[Bytes, Int, Int],
    ") UPDATE slots SET reserved = slots.reserved + input.units FROM input \
     WHERE slots.machine_id = input.machine_id AND slots.slot = input.slot",
);

/// Whether a batch left nothing to be written: its transaction is rolled back then, which costs no flush.
#[must_use]
pub fn is_nothing(writes: &Writes) -> bool {
    *writes == Writes::default()
}

/// Writes all that a batch decided; events are numbered last. `Taken(PoolRequest)`: a request id was used before, since
/// this batch looked. Nothing of the batch is kept then.
pub async fn write(tx: &mut Tx, view: &View, writes: &Writes) -> Result<(), StoreError> {
    commands::write(tx, view, writes).await?;
    write_pool(tx, view, writes).await?;
    write_sessions(tx, view, writes).await?;
    write_purchases(tx, view, writes).await?;
    let mut rows = RESERVED.rows(writes.reserved.len());
    for ((machine, slot), units) in writes.reserved.iter().filter(|(_, units)| **units != 0) {
        rows.push([machine.as_bytes().into(), (*slot).into(), (*units).into()]);
    }
    rows.write(tx).await?;
    let settled = letters::write(tx, view, &writes.dead_letters).await?;
    stock::write(tx, &view.shelf).await?;
    let happened = alerts::apply(tx, view, writes, &settled).await?;
    let mut moved = Vec::with_capacity(writes.changes.len());
    for change in &writes.changes {
        let cause = if change.moved.delta < 0 {
            StockCause::Purchased(change.purchase)
        } else {
            StockCause::GivenBack(change.purchase)
        };
        moved.push((change, StockBody::write(&change.moved, &cause)?));
    }
    let moved = moved.iter().map(|(change, body)| NewEvent {
        id: change.event,
        kind: events::KIND_STOCK,
        machine: None,
        epoch: None,
        first_seq: 0,
        last_seq: 0,
        at_ms: change.at_ms,
        trace_id: &change.trace_id,
        traceparent: &change.traceparent,
        subject: Some(&change.moved.product.0),
        customer: None,
        body: Some(body),
    });
    let of = |shard| {
        happened.iter().filter(move |happening| happening.shard() == shard).map(events::Happening::event)
    };
    let about_machines: Vec<NewEvent<'_>> = of(events::SYNC_SHARD).collect();
    events::append(tx, events::SYNC_SHARD, &about_machines).await?;
    let others: Vec<NewEvent<'_>> = moved.chain(of(events::ORDER_SHARD)).collect();
    events::append(tx, events::ORDER_SHARD, &others).await
}

pub(super) async fn write_pool(tx: &mut Tx, view: &View, writes: &Writes) -> Result<(), StoreError> {
    let mut rows = POOL.rows(writes.pool.len());
    let mut count = 0;
    for pooled in writes.pool.iter().filter_map(|id| view.pool.get(id)) {
        count += 1;
        rows.push([
            pooled.id.as_bytes().into(),
            (pooled.standing as i64).into(),
            pooled.session.as_ref().map(SessionId::as_bytes).into(),
            pooled.purchase.as_ref().map(PurchaseId::as_bytes).into(),
            pooled.usage.into(),
            pooled.last_picked_ms.into(),
            pooled.failures.into(),
            pooled.free_at_ms.into(),
            pooled.fence.into(),
        ]);
    }
    if rows.write(tx).await? != count {
        return Err(StoreError::corrupt("a machine of the pool that was locked is gone"));
    }
    Ok(())
}

/// New ones by caller and request id: two batches that have two of them in common then wait in one direction.
async fn write_sessions(tx: &mut Tx, view: &View, writes: &Writes) -> Result<(), StoreError> {
    let mut new: Vec<_> = writes.new_sessions.iter().filter_map(|id| view.sessions.get(id)).collect();
    new.sort_unstable_by(|a, b| (&a.caller, a.request_id).cmp(&(&b.caller, b.request_id)));
    let mut rows = NEW_SESSIONS.rows(new.len());
    for session in &new {
        rows.push([
            session.id.as_bytes().into(),
            session.machine.as_bytes().into(),
            (&session.customer).into(),
            (session.state as i64).into(),
            session.lease_until_ms.into(),
            session.purchase.as_ref().map(PurchaseId::as_bytes).into(),
            (&session.caller).into(),
            (&session.request_id).into(),
            (&session.fingerprint).into(),
            session.created_at_ms.into(),
            session.ended_at_ms.into(),
            (&session.trace_id).into(),
        ]);
    }
    rows.write(tx).await?;
    let mut rows = SESSIONS.rows(0);
    let changed = writes.sessions.iter().filter(|id| !writes.new_sessions.contains(id));
    for session in changed.filter_map(|id| view.sessions.get(id)) {
        rows.push([
            session.id.as_bytes().into(),
            (session.state as i64).into(),
            session.lease_until_ms.into(),
            session.purchase.as_ref().map(PurchaseId::as_bytes).into(),
            session.ended_at_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

pub(super) async fn write_purchases(tx: &mut Tx, view: &View, writes: &Writes) -> Result<(), StoreError> {
    let mut new: Vec<_> = writes.new_purchases.iter().filter_map(|id| view.purchases.get(id)).collect();
    new.sort_unstable_by(|a, b| (&a.caller, a.request_id).cmp(&(&b.caller, b.request_id)));
    let mut rows = NEW_PURCHASES.rows(new.len());
    for purchase in &new {
        rows.push([
            purchase.id.as_bytes().into(),
            purchase.session.as_bytes().into(),
            purchase.machine.as_bytes().into(),
            (purchase.kind as i64).into(),
            (&purchase.customer).into(),
            (&purchase.product.0).into(),
            purchase.slot.into(),
            purchase.currency.as_str().into(),
            purchase.price_minor.into(),
            (purchase.mode as i64).into(),
            (purchase.payment as i64).into(),
            (&purchase.gateway_payment_id).into(),
            (purchase.state as i64).into(),
            purchase.failure.map_or(0, |failure| failure as i64).into(),
            (&purchase.failure_detail).into(),
            purchase.holds_unit.into(),
            purchase.holds_machine.into(),
            int(purchase.command_number)?.into(),
            purchase.heard.into(),
            purchase.reservation_end_ms.into(),
            (purchase.work as i64).into(),
            purchase.due_at_ms.into(),
            purchase.fence.into(),
            purchase.attempts.into(),
            (&purchase.caller).into(),
            (&purchase.request_id).into(),
            (&purchase.fingerprint).into(),
            purchase.created_at_ms.into(),
            purchase.updated_at_ms.into(),
            purchase.ended_at_ms.into(),
            (&purchase.trace_id).into(),
            (&purchase.traceparent).into(),
        ]);
    }
    rows.write(tx).await?;
    let mut rows = PURCHASES.rows(0);
    let changed = writes.purchases.iter().filter(|id| !writes.new_purchases.contains(id));
    for purchase in changed.filter_map(|id| view.purchases.get(id)) {
        rows.push([
            purchase.id.as_bytes().into(),
            (purchase.payment as i64).into(),
            (&purchase.gateway_payment_id).into(),
            (purchase.state as i64).into(),
            purchase.failure.map_or(0, |failure| failure as i64).into(),
            (&purchase.failure_detail).into(),
            purchase.holds_unit.into(),
            purchase.holds_machine.into(),
            int(purchase.command_number)?.into(),
            purchase.heard.into(),
            purchase.reservation_end_ms.into(),
            (purchase.work as i64).into(),
            purchase.due_at_ms.into(),
            purchase.fence.into(),
            purchase.attempts.into(),
            purchase.updated_at_ms.into(),
            purchase.ended_at_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

/// The machines that this batch set free.
pub fn freed<'w>(view: &'w View, writes: &'w Writes) -> impl Iterator<Item = MachineId> + 'w {
    let free = |id: &&MachineId| view.pool.get(*id).is_some_and(|pooled| pooled.free_at_ms == 0);
    writes.pool.iter().filter(free).copied()
}
