//! The decision over one command. What it changes is in the view and in the writes; a refusal changes neither.

use super::command::{
    AlertEnd, AlertOp, AlertRaise, Answer, Cancel, Command, Create, OpenOrders, Refusal, View, Writes,
};
use super::model::{Change, ChangeKind, Line, Order, State, Status, Work};
use super::request::NewOrder;
use super::settle;
use crate::domain::fleet::LOW_STOCK;
use crate::domain::ids::{AlertId, EventId, Ids, OrderId};
use crate::domain::payment::PaymentStatus;
use crate::domain::stock::{Crossing, Shelf, StockMove};
use std::sync::Arc;
use uuid::Uuid;
use vend_core::id::ProductId;

/// May be taken by a worker at once. Not a time: clocks of servers differ.
pub(super) const AT_ONCE: i64 = 1;

/// Decides one command on the view, after all that came before it in the batch.
pub fn fold(view: &mut View, command: &Command, ids: &mut dyn Ids, writes: &mut Writes) -> Answer {
    match command {
        Command::Create(create) => self::create(view, create, ids, writes),
        Command::Cancel(cancel) => self::cancel(view, cancel, ids, writes),
        Command::Report(report) => settle::report(view, report, ids, writes),
        Command::Finding(finding) => settle::finding(view, finding, ids, writes),
        Command::Redrive(redrive) => settle::redrive(view, redrive, ids, writes),
    }
}

/// A worker takes a due order for `lease_ms`: its fence rises, and a PENDING one becomes PROCESSING.
pub fn claim(
    view: &mut View,
    id: OrderId,
    lease_ms: i64,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> Option<Order> {
    let clock_ms = view.clock_ms;
    let order = view.orders.get_mut(&id)?;
    let state = &mut order.state;
    if state.work == Work::None || state.due_at_ms == 0 || state.due_at_ms > clock_ms {
        return None;
    }
    state.fence = state.fence.saturating_add(1);
    state.due_at_ms = clock_ms.saturating_add(lease_ms);
    let begins = state.status == Status::Pending;
    if begins {
        state.status = Status::Processing;
        // From here on the gateway may have been asked at any moment.
        state.payment = PaymentStatus::Unknown;
    }
    let order = order.clone();
    writes.changed.insert(id);
    if begins {
        let trace = (order.trace_id.clone(), order.traceparent.clone());
        note(view, id, ChangeKind::Processing, Vec::new(), at_ms, trace, ids, writes);
        return view.orders.get(&id).cloned();
    }
    Some(order)
}

fn create(view: &mut View, create: &Create, ids: &mut dyn Ids, writes: &mut Writes) -> Answer {
    let new = &create.new;
    let key = (new.customer.clone(), new.key.clone());
    if let Some(known) = view.keys.get(&key).and_then(|id| view.orders.get(id)) {
        return repeated(known, new);
    }
    let (lines, currency) = match priced(&view.shelf, create) {
        Ok(priced) => priced,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let total_minor = lines.iter().fold(0, |sum: i64, line| sum.saturating_add(line.total_minor()));
    if let Err(refusal) = as_expected(new, currency, total_minor) {
        return Answer::Refused(refusal);
    }
    // Where there is nothing to pay the order ends at once.
    let is_free = total_minor == 0;
    if !is_free && let Err(refusal) = opened(view, &new.customer, &lines) {
        return Answer::Refused(refusal);
    }
    let order = Order {
        id: create.id,
        customer: key.0.clone(),
        key: key.1.clone(),
        fingerprint: new.fingerprint,
        currency,
        total_minor,
        lines: lines.into(),
        created_at_ms: create.at_ms,
        trace_id: create.trace_id.clone(),
        traceparent: create.traceparent.clone(),
        state: State {
            status: Status::Pending,
            payment: if is_free { PaymentStatus::NotRequired } else { PaymentStatus::Pending },
            gateway_payment_id: String::new(),
            failure: None,
            failure_detail: String::new(),
            unsettled: false,
            attempts: 0,
            work: Work::Pay,
            due_at_ms: AT_ONCE,
            fence: 0,
            updated_at_ms: create.at_ms,
            ended_at_ms: 0,
        },
    };
    let trace = (create.trace_id.clone(), create.traceparent.clone());
    let moves = shift_all(view, &order.lines, -1, create.at_ms, &trace.0, ids, writes);
    view.keys.insert(key, order.id);
    view.orders.insert(order.id, order.clone());
    writes.new.push(order.id);
    note(view, order.id, ChangeKind::Created, moves, create.at_ms, trace.clone(), ids, writes);
    if is_free {
        pay_nothing(view, order.id, create.at_ms, &trace, ids, writes);
    }
    Answer::Created(view.orders.get(&create.id).cloned().unwrap_or(order))
}

/// An order with nothing to pay is PAID in the commit that makes it, and no gateway hears of it. Its events are those of any other.
fn pay_nothing(
    view: &mut View,
    id: OrderId,
    at_ms: i64,
    trace: &(String, String),
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    writes.changed.insert(id);
    for (status, kind) in [(Status::Processing, ChangeKind::Processing), (Status::Paid, ChangeKind::Paid)] {
        let Some(order) = view.orders.get_mut(&id) else { return };
        let state = &mut order.state;
        state.status = status;
        if status == Status::Paid {
            state.work = Work::None;
            state.due_at_ms = 0;
            state.ended_at_ms = at_ms;
        }
        note(view, id, kind, Vec::new(), at_ms, trace.clone(), ids, writes);
    }
}

/// Whether the total is what the customer was shown, if the caller says what that was.
fn as_expected(
    new: &NewOrder,
    currency: vend_core::money::Currency,
    total_minor: vend_core::money::Minor,
) -> Result<(), Refusal> {
    match new.expected_total {
        Some((expected, _)) if expected != currency => {
            Err(Refusal::ExpectedCurrency { expected, actual: currency })
        }
        Some((_, expected)) if expected != total_minor => {
            Err(Refusal::TotalChanged { expected, actual: total_minor, currency })
        }
        _ => Ok(()),
    }
}

/// Counts an order among those its customer has open, if it may have one more.
fn opened(view: &mut View, customer: &str, lines: &[Line]) -> Result<(), Refusal> {
    let most = view.most_open;
    if most == OpenOrders::UNLIMITED {
        return Ok(());
    }
    let open = view.open.entry(customer.to_owned()).or_insert(OpenOrders::NONE);
    let units = lines.iter().fold(open.units, |sum, line| sum.saturating_add(line.quantity.into()));
    if open.orders >= most.orders {
        return Err(Refusal::TooManyOpen { limit: "orders.open_per_customer", most: most.orders });
    }
    if units > most.units {
        return Err(Refusal::TooManyOpen { limit: "orders.held_units_per_customer", most: most.units });
    }
    *open = OpenOrders { orders: open.orders + 1, units };
    Ok(())
}

/// What a request is answered with whose key made this order before.
pub fn repeated(known: &Order, new: &NewOrder) -> Answer {
    if known.fingerprint == new.fingerprint {
        Answer::Existing(known.clone())
    } else {
        Answer::Refused(Refusal::KeyReused { key: new.key.clone(), order: known.id })
    }
}

/// The lines with what the catalogue says of their products now, if all of them can be had.
fn priced(shelf: &Shelf, create: &Create) -> Result<(Vec<Line>, vend_core::money::Currency), Refusal> {
    let mut lines = Vec::with_capacity(create.new.lines.len());
    let mut currency = None;
    for asked in &create.new.lines {
        let product = shelf.get(asked.product).ok_or(Refusal::ProductNotFound(asked.product))?;
        if product.is_archived() {
            return Err(Refusal::ProductArchived(asked.product));
        }
        let expected = *currency.get_or_insert(product.currency);
        if product.currency != expected {
            return Err(Refusal::CurrencyMismatch { expected, actual: product.currency });
        }
        if product.stock < i64::from(asked.quantity) {
            return Err(Refusal::InsufficientStock {
                product: asked.product,
                requested: asked.quantity,
                available: product.stock,
            });
        }
        lines.push(Line {
            product: product.id,
            sku: product.sku.clone(),
            name: product.name.clone(),
            unit_price_minor: product.price_minor,
            quantity: asked.quantity,
        });
    }
    // A request without lines is refused at the edge.
    let currency = currency.unwrap_or(vend_core::money::Currency::NONE);
    Ok((lines, currency))
}

fn cancel(view: &mut View, cancel: &Cancel, ids: &mut dyn Ids, writes: &mut Writes) -> Answer {
    let found = view.orders.get(&cancel.order);
    let theirs = found.filter(|order| cancel.customer.as_ref().is_none_or(|whose| *whose == order.customer));
    let Some(order) = theirs.cloned() else {
        return Answer::Refused(Refusal::OrderNotFound(cancel.order));
    };
    match order.state.status {
        Status::Cancelled => return Answer::Cancelled { order, already: true },
        status @ (Status::Processing | Status::Paid | Status::Failed) => {
            return Answer::Refused(Refusal::NotCancellable { order: order.id, status });
        }
        Status::Pending => {}
    }
    let trace = (cancel.trace_id.clone(), cancel.traceparent.clone());
    end(view, order.id, ChangeKind::Cancelled, cancel.at_ms, trace, ids, writes, |state| {
        state.status = Status::Cancelled;
    });
    match view.orders.get(&order.id).cloned() {
        Some(order) => Answer::Cancelled { order, already: false },
        None => Answer::Refused(Refusal::OrderNotFound(cancel.order)),
    }
}

/// Ends an order that gives its stock back, in this commit.
#[expect(clippy::too_many_arguments, reason = "one place for what every such end has in common")]
pub(super) fn end(
    view: &mut View,
    id: OrderId,
    kind: ChangeKind,
    at_ms: i64,
    trace: (String, String),
    ids: &mut dyn Ids,
    writes: &mut Writes,
    set: impl FnOnce(&mut State),
) {
    let Some(order) = view.orders.get_mut(&id) else { return };
    let state = &mut order.state;
    set(state);
    state.work = Work::None;
    state.due_at_ms = 0;
    state.unsettled = false;
    state.ended_at_ms = at_ms;
    let lines = Arc::clone(&order.lines);
    writes.changed.insert(id);
    let moves = shift_all(view, &lines, 1, at_ms, &trace.0, ids, writes);
    note(view, id, kind, moves, at_ms, trace, ids, writes);
}

/// Moves the stock of every line by its quantity times `sign`, and says which thresholds that crossed.
fn shift_all(
    view: &mut View,
    lines: &[Line],
    sign: i64,
    at_ms: i64,
    trace_id: &str,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> Vec<StockMove> {
    let mut moves = Vec::with_capacity(lines.len());
    for line in lines {
        let Some((moved, crossing)) = view.shelf.shift(line.product, sign * i64::from(line.quantity)) else {
            continue;
        };
        moves.push(moved);
        if let Some(crossing) = crossing {
            writes.raised.push(low_stock(&view.shelf, line.product, crossing, at_ms, trace_id, ids));
        }
    }
    moves
}

fn low_stock(
    shelf: &Shelf,
    product: ProductId,
    crossing: Crossing,
    at_ms: i64,
    trace_id: &str,
    ids: &mut dyn Ids,
) -> AlertOp {
    let key = Uuid::from_bytes(product.0).to_string();
    let trace_id = trace_id.to_owned();
    match (crossing, shelf.get(product)) {
        (Crossing::Fell, Some(p)) => AlertOp::Raise(AlertRaise {
            id: AlertId(ids.uuid_v7()),
            kind: LOW_STOCK,
            key,
            detail: format!(
                "{} ({}): {} units left, the threshold is {}",
                p.name, p.sku, p.stock, p.low_stock_threshold
            ),
            product: Some(product),
            order: None,
            at_ms,
            trace_id,
        }),
        _ => AlertOp::End(AlertEnd { kind: LOW_STOCK, key, at_ms, trace_id }),
    }
}

/// Notes an event about an order as it is at this point of the batch.
#[expect(clippy::too_many_arguments, reason = "an event has that many facts")]
pub(super) fn note(
    view: &mut View,
    id: OrderId,
    kind: ChangeKind,
    moves: Vec<StockMove>,
    at_ms: i64,
    trace: (String, String),
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let Some(order) = view.orders.get_mut(&id) else { return };
    order.state.updated_at_ms = at_ms;
    writes.changes.push(Change {
        event: EventId(ids.uuid_v7()),
        order: id,
        customer: order.customer.clone(),
        kind,
        state: order.state.clone(),
        moves,
        at_ms,
        trace_id: trace.0,
        traceparent: trace.1,
    });
}
