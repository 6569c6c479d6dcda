//! What answers of the gateway do to an order.
//!
//! A definite answer is a fact: it holds whoever brings it, and whether or not the claim it was asked under still does. What
//! is not definite only counts for who holds the claim.

use super::command::{
    AlertEnd, AlertOp, AlertRaise, Answer, DeadLetterNote, Fact, Finding, Learnt, Redrive, Refusal, Report,
    Source, View, WorkDone, Writes,
};
use super::fold::{AT_ONCE, end, note};
use super::model::{ChangeKind, DeadLetterKind, Failure, Order, Status, Work};
use crate::domain::ids::{AlertId, Ids, OrderId};
use crate::domain::payment::{PaymentStatus, Trouble, Verdict};

/// Name of the alert that an order's payment has no definite answer.
pub const ORDER_UNSETTLED: &str = "ORDER_UNSETTLED";
/// Name of the alert that a payment was approved after its order had ended without it.
pub const LATE_APPROVAL: &str = "LATE_APPROVAL";
/// Name of the alert that the gateway said two definite things about one payment.
pub const GATEWAY_CONTRADICTION: &str = "GATEWAY_CONTRADICTION";

pub(super) fn report(view: &mut View, report: &Report, ids: &mut dyn Ids, writes: &mut Writes) -> Answer {
    let clock_ms = view.clock_ms;
    let Some(order) = view.orders.get_mut(&report.order) else {
        return Answer::Refused(Refusal::OrderNotFound(report.order));
    };
    let holds = order.state.fence == report.fence && order.state.work != Work::None;
    if holds && report.attempts > 0 {
        order.state.attempts = order.state.attempts.saturating_add(report.attempts);
        writes.changed.insert(report.order);
    }
    match &report.done {
        WorkDone::Learnt(learnt) => fact(view, report.order, learnt, report.at_ms, ids, writes),
        WorkDone::Unknown { .. } if !holds => return Answer::Stale,
        WorkDone::Unknown { trouble, detail, again_in_ms } => {
            order.state.due_at_ms = clock_ms.saturating_add((*again_in_ms).max(1));
            writes.changed.insert(report.order);
            set_aside(view, report.order, *trouble, detail, report.at_ms, ids, writes);
        }
    }
    done(view, report.order)
}

pub(super) fn finding(view: &mut View, finding: &Finding, ids: &mut dyn Ids, writes: &mut Writes) -> Answer {
    if !view.orders.contains_key(&finding.order) {
        return Answer::Refused(Refusal::OrderNotFound(finding.order));
    }
    fact(view, finding.order, &finding.learnt, finding.at_ms, ids, writes);
    done(view, finding.order)
}

pub(super) fn redrive(view: &mut View, redrive: &Redrive, ids: &mut dyn Ids, writes: &mut Writes) -> Answer {
    let Some(order) = view.orders.get_mut(&redrive.order) else {
        return Answer::Refused(Refusal::OrderNotFound(redrive.order));
    };
    let state = &mut order.state;
    match redrive.kind {
        DeadLetterKind::Order if state.unsettled && state.work == Work::Query => state.work = Work::Pay,
        DeadLetterKind::Payment if state.work == Work::Refund => {}
        _ => return Answer::Refused(Refusal::NotSetAside(order.id)),
    }
    // Whoever holds it now has lost it: the redrive is a new claim.
    state.fence = state.fence.saturating_add(1);
    state.due_at_ms = AT_ONCE;
    writes.changed.insert(redrive.order);
    let (order, kind, at_ms) = (redrive.order, redrive.kind, redrive.at_ms);
    writes.dead_letters.push(DeadLetterNote::Redriving { order, kind, at_ms });
    let trace = (redrive.trace_id.clone(), redrive.traceparent.clone());
    note(view, order, ChangeKind::Redriven, Vec::new(), at_ms, trace, ids, writes);
    done(view, order)
}

fn done(view: &View, id: OrderId) -> Answer {
    view.orders
        .get(&id)
        .map_or(Answer::Refused(Refusal::OrderNotFound(id)), |order| Answer::Done(order.clone()))
}

fn trace_of(order: &Order) -> (String, String) {
    (order.trace_id.clone(), order.traceparent.clone())
}

/// Nothing is known after all attempts: the order keeps its stock, and is listed as unsettled.
fn set_aside(
    view: &mut View,
    id: OrderId,
    trouble: Trouble,
    detail: &str,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let Some(order) = view.orders.get_mut(&id) else { return };
    let trace = trace_of(order);
    let kind = match order.state.work {
        Work::Refund => DeadLetterKind::Payment,
        _ => DeadLetterKind::Order,
    };
    // Asking again what is not known yet is no news; a redrive that failed is.
    let news = order.state.work == Work::Pay;
    if kind == DeadLetterKind::Order {
        order.state.unsettled = true;
        order.state.work = Work::Query;
    }
    writes.dead_letters.push(DeadLetterNote::Open {
        id: ids.uuid_v7(),
        order: id,
        kind,
        trouble,
        detail: detail.to_owned(),
        at_ms,
        trace_id: trace.0.clone(),
    });
    if trouble == Trouble::Contradiction {
        let detail = format!("order {id}: the gateway contradicts itself: {detail}");
        raise(writes, ids, GATEWAY_CONTRADICTION, id, detail, at_ms, &trace.0);
    }
    if !news {
        return;
    }
    let attempts = order.state.attempts;
    let detail = format!("order {id}: no definite answer of the gateway after {attempts} attempts: {detail}");
    raise(writes, ids, ORDER_UNSETTLED, id, detail, at_ms, &trace.0);
    note(view, id, ChangeKind::Unsettled, Vec::new(), at_ms, trace, ids, writes);
}

/// Applies a definite answer. A repeat of what is known changes nothing.
fn fact(view: &mut View, id: OrderId, learnt: &Learnt, at_ms: i64, ids: &mut dyn Ids, writes: &mut Writes) {
    let Some(order) = view.orders.get(&id).cloned() else { return };
    if learnt.source == Source::Webhook {
        writes.facts.push(Fact { order: id, learnt: learnt.clone(), at_ms });
    }
    let wrong_amount = learnt.amount.filter(|amount| *amount != (order.currency, order.total_minor));
    if let Some((currency, minor)) = wrong_amount
        && learnt.verdict != Verdict::Declined
    {
        let (total, own) = (order.total_minor, order.currency.as_str());
        let said = currency.as_str();
        let detail = format!(
            "order {id}: the gateway spoke of {minor} {said} (minor units), the order is about {total} {own}"
        );
        return contradicts(&order, learnt, detail, at_ms, ids, writes);
    }
    match (order.state.status, learnt.verdict) {
        // Held is not yet taken: the worker goes on.
        (_, Verdict::Authorised) => {}
        (Status::Pending | Status::Processing, Verdict::Captured) => {
            paid(view, &order, learnt, at_ms, ids, writes);
        }
        (Status::Pending | Status::Processing, Verdict::Declined) => {
            let ended = (PaymentStatus::Declined, Failure::PaymentDeclined);
            failed(view, &order, learnt, ended, at_ms, ids, writes);
        }
        (Status::Pending | Status::Processing, Verdict::Voided | Verdict::Refunded) => {
            let ended = (PaymentStatus::Voided, Failure::PaymentNotTaken);
            failed(view, &order, learnt, ended, at_ms, ids, writes);
        }
        (Status::Paid, Verdict::Captured) if order.state.gateway_payment_id == learnt.gateway_payment_id => {}
        // The provider, or a person there, gave the money back: the order stays sold.
        (Status::Paid, Verdict::Refunded) if is_own(&order, learnt) => {
            refunded(view, &order, at_ms, ids, writes);
        }
        (Status::Paid, said) => {
            let detail = format!(
                "order {id} is paid by payment {}, and the gateway says {said:?} of payment {}",
                order.state.gateway_payment_id, learnt.gateway_payment_id
            );
            contradicts(&order, learnt, detail, at_ms, ids, writes);
        }
        (Status::Failed | Status::Cancelled, Verdict::Captured) => {
            late_approval(view, &order, learnt, at_ms, ids, writes);
        }
        (Status::Failed | Status::Cancelled, Verdict::Refunded | Verdict::Voided) => {
            given_back(view, &order, learnt, at_ms, ids, writes);
        }
        (Status::Failed | Status::Cancelled, Verdict::Declined) => {}
    }
}

fn paid(view: &mut View, order: &Order, learnt: &Learnt, at_ms: i64, ids: &mut dyn Ids, writes: &mut Writes) {
    let trace = trace_of(order);
    begin_if_pending(view, order, at_ms, ids, writes);
    let Some(now) = view.orders.get_mut(&order.id) else { return };
    let state = &mut now.state;
    state.status = Status::Paid;
    state.payment = if order.total_minor == 0 { PaymentStatus::NotRequired } else { PaymentStatus::Captured };
    state.gateway_payment_id.clone_from(&learnt.gateway_payment_id);
    state.work = Work::None;
    state.due_at_ms = 0;
    state.unsettled = false;
    state.ended_at_ms = at_ms;
    writes.changed.insert(order.id);
    settled(order, at_ms, writes);
    note(view, order.id, ChangeKind::Paid, Vec::new(), at_ms, trace, ids, writes);
}

fn failed(
    view: &mut View,
    order: &Order,
    learnt: &Learnt,
    ended: (PaymentStatus, Failure),
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    begin_if_pending(view, order, at_ms, ids, writes);
    settled(order, at_ms, writes);
    end(view, order.id, ChangeKind::Failed, at_ms, trace_of(order), ids, writes, |state| {
        state.status = Status::Failed;
        state.payment = ended.0;
        state.failure = Some(ended.1);
        state.failure_detail.clone_from(&learnt.detail);
        state.gateway_payment_id.clone_from(&learnt.gateway_payment_id);
    });
}

fn is_own(order: &Order, learnt: &Learnt) -> bool {
    let money = matches!(order.state.payment, PaymentStatus::Captured | PaymentStatus::Refunded);
    money && order.state.gateway_payment_id == learnt.gateway_payment_id
}

fn refunded(view: &mut View, order: &Order, at_ms: i64, ids: &mut dyn Ids, writes: &mut Writes) {
    if order.state.payment == PaymentStatus::Refunded {
        return;
    }
    if let Some(now) = view.orders.get_mut(&order.id) {
        now.state.payment = PaymentStatus::Refunded;
    }
    writes.changed.insert(order.id);
    note(view, order.id, ChangeKind::Refund, Vec::new(), at_ms, trace_of(order), ids, writes);
}

/// An answer about an order that this server has not asked about (it was restored from a backup): it passes through
/// PROCESSING all the same.
fn begin_if_pending(view: &mut View, order: &Order, at_ms: i64, ids: &mut dyn Ids, writes: &mut Writes) {
    if order.state.status != Status::Pending {
        return;
    }
    if let Some(now) = view.orders.get_mut(&order.id) {
        now.state.status = Status::Processing;
        now.state.payment = PaymentStatus::Unknown;
    }
    note(view, order.id, ChangeKind::Processing, Vec::new(), at_ms, trace_of(order), ids, writes);
}

/// A definite answer came to an order that was set aside.
fn settled(order: &Order, at_ms: i64, writes: &mut Writes) {
    if order.state.unsettled {
        let kind = DeadLetterKind::Order;
        writes.dead_letters.push(DeadLetterNote::Done { order: order.id, kind, at_ms });
        writes.raised.push(AlertOp::End(AlertEnd {
            kind: ORDER_UNSETTLED,
            key: order.id.to_string(),
            at_ms,
            trace_id: order.trace_id.clone(),
        }));
    }
}

/// Money came after the order had ended without it: it is given back.
fn late_approval(
    view: &mut View,
    order: &Order,
    learnt: &Learnt,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let same = order.state.gateway_payment_id == learnt.gateway_payment_id;
    match order.state.payment {
        PaymentStatus::RefundPending | PaymentStatus::Refunded if same => return,
        PaymentStatus::RefundPending => {
            let detail = format!(
                "order {}: payment {} is being given back, and the gateway says payment {} was taken as well",
                order.id, order.state.gateway_payment_id, learnt.gateway_payment_id
            );
            return contradicts(order, learnt, detail, at_ms, ids, writes);
        }
        _ => {}
    }
    let trace = trace_of(order);
    if learnt.source == Source::Worker {
        writes.facts.push(Fact { order: order.id, learnt: learnt.clone(), at_ms });
    }
    if let Some(now) = view.orders.get_mut(&order.id) {
        let state = &mut now.state;
        state.payment = PaymentStatus::RefundPending;
        state.gateway_payment_id.clone_from(&learnt.gateway_payment_id);
        state.work = Work::Refund;
        state.due_at_ms = AT_ONCE;
        state.fence = state.fence.saturating_add(1);
    }
    writes.changed.insert(order.id);
    let (id, status) = (order.id, order.state.status.name());
    let detail = format!(
        "order {id} is {status}; payment {} came all the same and is given back",
        learnt.gateway_payment_id
    );
    raise(writes, ids, LATE_APPROVAL, id, detail, at_ms, &trace.0);
    note(view, id, ChangeKind::Refund, Vec::new(), at_ms, trace, ids, writes);
}

fn given_back(
    view: &mut View,
    order: &Order,
    learnt: &Learnt,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    if order.state.payment != PaymentStatus::RefundPending {
        return;
    }
    let trace = trace_of(order);
    if let Some(now) = view.orders.get_mut(&order.id) {
        let state = &mut now.state;
        state.payment = match learnt.verdict {
            Verdict::Voided => PaymentStatus::Voided,
            _ => PaymentStatus::Refunded,
        };
        state.work = Work::None;
        state.due_at_ms = 0;
    }
    writes.changed.insert(order.id);
    let kind = DeadLetterKind::Payment;
    writes.dead_letters.push(DeadLetterNote::Done { order: order.id, kind, at_ms });
    writes.raised.push(AlertOp::End(AlertEnd {
        kind: LATE_APPROVAL,
        key: order.id.to_string(),
        at_ms,
        trace_id: trace.0.clone(),
    }));
    note(view, order.id, ChangeKind::Refund, Vec::new(), at_ms, trace, ids, writes);
}

/// What can't be true beside what is known: noted, shown to a person, and nothing is moved on the strength of it.
fn contradicts(
    order: &Order,
    learnt: &Learnt,
    detail: String,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    if learnt.source == Source::Worker {
        writes.facts.push(Fact { order: order.id, learnt: learnt.clone(), at_ms });
    }
    raise(writes, ids, GATEWAY_CONTRADICTION, order.id, detail, at_ms, &order.trace_id);
}

fn raise(
    writes: &mut Writes,
    ids: &mut dyn Ids,
    kind: &'static str,
    order: OrderId,
    detail: String,
    at_ms: i64,
    trace_id: &str,
) {
    writes.raised.push(AlertOp::Raise(AlertRaise {
        id: AlertId(ids.uuid_v7()),
        kind,
        key: order.to_string(),
        detail,
        product: None,
        order: Some(order),
        at_ms,
        trace_id: trace_id.to_owned(),
    }));
}
