//! Writing what a batch leaves behind.

use super::alerts;
use super::rows::lines_out;
use crate::domain::order::{DeadLetterNote, Order, View, Writes};
use crate::store::bulk::{Bulk, Kind};
use crate::store::events::{self, NewEvent, OrderBody};
use crate::store::{StoreError, Tx, stock};
use Kind::{Bool, Bytes, Int, Text};

/// What is not named here is the same for every new order: the columns' defaults, and PENDING, its payment PENDING, to be
/// paid, by whoever comes first.
static NEW: Bulk = Bulk::new(
    "WITH input (id, customer, its_key, fingerprint, currency, total, lines, units, at_ms, trace_id, traceparent) AS (",
    &[Bytes, Text, Text, Bytes, Text, Int, Text, Int, Int, Text, Text],
    ") INSERT INTO orders (order_id, customer_id, idempotency_key, fingerprint, currency, total_minor, lines, \
     open_units, created_at_ms, updated_at_ms, trace_id, traceparent, status, payment, work, due_at_ms) \
     SELECT id, customer, its_key, fingerprint, currency, total, lines, units, at_ms, at_ms, trace_id, traceparent, 1, 2, 1, 1 \
     FROM input",
);

static CHANGED: Bulk = Bulk::new(
    "WITH input (id, status, payment, gateway_payment_id, failure, failure_detail, unsettled, attempts, work, due_at_ms, \
     fence, updated_at_ms, ended_at_ms) AS (",
    &[Bytes, Int, Int, Text, Int, Text, Bool, Int, Int, Int, Int, Int, Int],
    ") UPDATE orders SET status = input.status, payment = input.payment, \
     gateway_payment_id = input.gateway_payment_id, failure = input.failure, failure_detail = input.failure_detail, \
     unsettled = input.unsettled, attempts = input.attempts, work = input.work, due_at_ms = input.due_at_ms, \
     fence = input.fence, updated_at_ms = input.updated_at_ms, ended_at_ms = input.ended_at_ms, \
     open_units = CASE WHEN input.status > 2 THEN 0 ELSE orders.open_units END FROM input WHERE orders.order_id = input.id",
);

/// A repeat of a fact changes nothing.
static FACTS: Bulk = Bulk::new(
    "INSERT INTO payment_facts (order_id, gateway_payment_id, status, source, detail, learnt_at_ms)",
    &[Bytes, Text, Int, Int, Text, Int],
    "ON CONFLICT (order_id, gateway_payment_id, status) DO NOTHING",
);

/// Whether a batch left nothing to be written: its transaction is rolled back then, which costs no flush.
#[must_use]
pub fn is_nothing(view: &View, writes: &Writes) -> bool {
    let Writes { new, changed, changes, raised, dead_letters, facts } = writes;
    new.is_empty()
        && changed.is_empty()
        && changes.is_empty()
        && raised.is_empty()
        && dead_letters.is_empty()
        && facts.is_empty()
        && view.shelf.changed().next().is_none()
}

/// Writes all that a batch decided; events are numbered last. `Taken(OrderKey)`: a key was used before, by an order that
/// [`super::load`] was not asked for or that was made since. Nothing of the batch is kept then.
pub async fn write(tx: &mut Tx, view: &View, writes: &Writes) -> Result<(), StoreError> {
    stock::write(tx, &view.shelf).await?;
    write_new(tx, view, writes).await?;
    write_changed(tx, writes.changed.iter().filter_map(|id| view.orders.get(id))).await?;
    write_facts(tx, writes).await?;
    for note in &writes.dead_letters {
        write_dead_letter(tx, note).await?;
    }
    let happened = alerts::apply(tx, &writes.raised).await?;
    let bodies: Vec<Vec<u8>> = writes.changes.iter().map(OrderBody::write).collect::<Result<_, _>>()?;
    let mut list: Vec<NewEvent<'_>> = writes
        .changes
        .iter()
        .zip(&bodies)
        .map(|(change, body)| NewEvent {
            id: change.event,
            kind: events::KIND_ORDER,
            machine: None,
            epoch: None,
            first_seq: 0,
            last_seq: 0,
            at_ms: change.at_ms,
            trace_id: &change.trace_id,
            traceparent: &change.traceparent,
            subject: Some(change.order.as_bytes()),
            customer: Some(&change.customer),
            body: Some(body),
        })
        .collect();
    list.extend(happened.iter().map(events::Happening::event));
    events::append(tx, events::ORDER_SHARD, &list).await
}

/// By customer and key: two batches that have two keys in common then wait for each other in one direction.
async fn write_new(tx: &mut Tx, view: &View, writes: &Writes) -> Result<(), StoreError> {
    let mut new = Vec::with_capacity(writes.new.len());
    for order in writes.new.iter().filter_map(|id| view.orders.get(id)) {
        new.push((order, lines_out(&order.lines)?));
    }
    new.sort_unstable_by(|(a, _), (b, _)| (&a.customer, &a.key).cmp(&(&b.customer, &b.key)));
    let mut rows = NEW.rows(new.len());
    for (order, lines) in &new {
        rows.push([
            order.id.as_bytes().into(),
            (&order.customer).into(),
            (&order.key).into(),
            (&order.fingerprint).into(),
            order.currency.as_str().into(),
            order.total_minor.into(),
            lines.into(),
            order.lines.iter().map(|line| i64::from(line.quantity)).sum::<i64>().into(),
            order.created_at_ms.into(),
            (&order.trace_id).into(),
            (&order.traceparent).into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

/// Writes what may change of orders that are locked.
pub(super) async fn write_changed<'o>(
    tx: &mut Tx,
    orders: impl Iterator<Item = &'o Order>,
) -> Result<(), StoreError> {
    let mut rows = CHANGED.rows(0);
    for Order { id, state, .. } in orders {
        rows.push([
            id.as_bytes().into(),
            (state.status as i64).into(),
            (state.payment as i64).into(),
            (&state.gateway_payment_id).into(),
            state.failure.map_or(0, |failure| failure as i64).into(),
            (&state.failure_detail).into(),
            state.unsettled.into(),
            state.attempts.into(),
            (state.work as i64).into(),
            state.due_at_ms.into(),
            state.fence.into(),
            state.updated_at_ms.into(),
            state.ended_at_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

async fn write_facts(tx: &mut Tx, writes: &Writes) -> Result<(), StoreError> {
    let mut rows = FACTS.rows(writes.facts.len());
    for fact in &writes.facts {
        rows.push([
            fact.order.as_bytes().into(),
            (&fact.learnt.gateway_payment_id).into(),
            (fact.learnt.verdict as i64).into(),
            (fact.learnt.source as i64).into(),
            (&fact.learnt.detail).into(),
            fact.at_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

/// Rare, and in order: one may be opened and done in one batch.
async fn write_dead_letter(tx: &mut Tx, note: &DeadLetterNote) -> Result<(), StoreError> {
    match note {
        DeadLetterNote::Open { id, order, kind, trouble, detail, at_ms, trace_id } => {
            let sql = "INSERT INTO order_dead_letters (dead_letter_id, order_id, kind, state, reason, detail, \
                       created_at_ms, updated_at_ms, trace_id) VALUES ($1, $2, $3, 1, $4, $5, $6, $6, $7) \
                       ON CONFLICT (order_id, kind) DO UPDATE SET state = 1, reason = excluded.reason, \
                       detail = excluded.detail, updated_at_ms = excluded.updated_at_ms";
            let args = [
                id.into(),
                order.as_bytes().into(),
                (*kind as i64).into(),
                trouble.reason().into(),
                detail.into(),
                (*at_ms).into(),
                trace_id.into(),
            ];
            tx.execute(sql, &args).await?;
        }
        DeadLetterNote::Redriving { order, kind, at_ms } => {
            let sql = "UPDATE order_dead_letters SET state = 2, redrives = redrives + 1, updated_at_ms = $3 \
                       WHERE order_id = $1 AND kind = $2";
            tx.execute(sql, &[order.as_bytes().into(), (*kind as i64).into(), (*at_ms).into()]).await?;
        }
        DeadLetterNote::Done { order, kind, at_ms } => {
            let sql = "UPDATE order_dead_letters SET state = 3, updated_at_ms = $3 \
                       WHERE order_id = $1 AND kind = $2 AND state <> 3";
            tx.execute(sql, &[order.as_bytes().into(), (*kind as i64).into(), (*at_ms).into()]).await?;
        }
    }
    Ok(())
}
