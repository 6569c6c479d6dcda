//! How purchases end, and what they give back.

use super::batch::{Doubt, PoolAlert, StockCrossing, View, Writes};
use super::choose::{AT_ONCE, reserve};
use super::command::{Settings, Why};
use super::model::{
    Failure, MachineKind, NEVER, Purchase, PurchaseChange, PurchaseState, SessionState, Standing, Work,
};
use crate::domain::ids::{AlertId, EventId, Ids, MachineId, PurchaseId};
use crate::domain::payment::PaymentStatus;

/// Name of the alert that purchases in a row failed on a machine.
pub const MACHINE_RESTING: &str = "MACHINE_RESTING";
/// Name of the alert that a handed-out command has no result after its time.
pub const PURCHASE_IN_DOUBT: &str = "PURCHASE_IN_DOUBT";
/// A machine's reason for a command it refused: a person was using it.
const MACHINE_BUSY: &str = "MACHINE_BUSY";

/// The product came out: its machine works and is free, and the money is taken, or there is none to take.
pub(super) fn vended(view: &mut View, id: PurchaseId, at_ms: i64, ids: &mut dyn Ids, writes: &mut Writes) {
    let Some(purchase) = view.purchases.get_mut(&id) else { return };
    let doubted = purchase.state == PurchaseState::InDoubt;
    let released = release_unit(view, id, false, at_ms, ids, writes);
    let Some(purchase) = view.purchases.get_mut(&id) else { return };
    debug_assert!(!released, "a unit that came out is not given back");
    if doubted {
        over(writes, purchase, PURCHASE_IN_DOUBT, at_ms);
    }
    let machine = purchase.machine;
    let pays = purchase.pays();
    if pays {
        purchase.state = PurchaseState::Capturing;
        purchase.work = Work::Capture;
        purchase.due_at_ms = AT_ONCE;
        purchase.attempts = 0;
    }
    forget_failures(view, machine, at_ms, writes);
    end_session(view, id, SessionState::Completed, at_ms, writes);
    touched(view, id, at_ms, writes);
    if !pays {
        complete(view, id, at_ms, writes);
    }
}

/// Dispensed, and paid where payment was asked for: it counts, whatever became of its session meanwhile.
pub(super) fn complete(view: &mut View, id: PurchaseId, at_ms: i64, writes: &mut Writes) {
    let Some(purchase) = view.purchases.get_mut(&id) else { return };
    purchase.state = PurchaseState::Completed;
    purchase.failure = None;
    finish(purchase, at_ms);
    let machine = purchase.machine;
    writes.dead_letters.push(Doubt::Done(id, at_ms));
    if let Some(pooled) = view.pool.get_mut(&machine) {
        pooled.usage = pooled.usage.saturating_add(1);
        writes.pool.insert(machine);
    }
    // Its session ended when the product came out, unless a replica of an older version saw that.
    end_session(view, id, SessionState::Completed, at_ms, writes);
    touched(view, id, at_ms, writes);
}

/// It is certain that nothing came out and nothing will: unit and machine are free, and what the gateway may hold is let go.
pub(super) fn fail(
    view: &mut View,
    id: PurchaseId,
    why: Why,
    settings: &Settings,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> u32 {
    let returned = release_unit(view, id, true, at_ms, ids, writes);
    let Some(purchase) = view.purchases.get_mut(&id) else { return 0 };
    if purchase.state == PurchaseState::InDoubt {
        over(writes, purchase, PURCHASE_IN_DOUBT, at_ms);
    }
    let Some(purchase) = view.purchases.get_mut(&id) else { return 0 };
    purchase.failure = Some(why.0);
    purchase.failure_detail = why.1;
    // Whoever works on it has lost it.
    purchase.fence = purchase.fence.saturating_add(1);
    let may_be_held = matches!(
        purchase.payment,
        PaymentStatus::Pending | PaymentStatus::Unknown | PaymentStatus::Authorised
    );
    if purchase.pays() && may_be_held {
        purchase.state = PurchaseState::Voiding;
        purchase.work = Work::Void;
        purchase.due_at_ms = AT_ONCE;
        purchase.attempts = 0;
    } else {
        purchase.state = PurchaseState::Failed;
        finish(purchase, at_ms);
    }
    let ended = if why.0 == Failure::Reset { SessionState::Reset } else { SessionState::Failed };
    let counts = is_the_machines(purchase);
    let holds = purchase.holds_machine;
    end_session(view, id, ended, at_ms, writes);
    if holds && counts {
        count_failure(view, id, settings, at_ms, ids, writes);
    }
    touched(view, id, at_ms, writes);
    u32::from(returned)
}

/// Its money is let go: final.
pub(super) fn let_go(
    view: &mut View,
    id: PurchaseId,
    payment: PaymentStatus,
    at_ms: i64,
    writes: &mut Writes,
) {
    let Some(purchase) = view.purchases.get_mut(&id) else { return };
    purchase.state = PurchaseState::Failed;
    purchase.payment = payment;
    finish(purchase, at_ms);
    writes.dead_letters.push(Doubt::Done(id, at_ms));
    touched(view, id, at_ms, writes);
}

/// What its machine said in the meantime is still to be looked at: it may tell another story.
fn finish(purchase: &mut Purchase, at_ms: i64) {
    (purchase.work, purchase.due_at_ms) =
        if purchase.heard { (Work::Dispense, AT_ONCE) } else { (Work::None, 0) };
    purchase.ended_at_ms = at_ms;
}

pub(super) fn touched(view: &mut View, id: PurchaseId, at_ms: i64, writes: &mut Writes) {
    if let Some(purchase) = view.purchases.get_mut(&id) {
        purchase.updated_at_ms = at_ms;
        writes.purchases.insert(id);
    }
}

/// Ends the session of a purchase that still has it, and frees the machine.
pub(super) fn end_session(
    view: &mut View,
    id: PurchaseId,
    ended: SessionState,
    at_ms: i64,
    writes: &mut Writes,
) {
    let Some(purchase) = view.purchases.get_mut(&id) else { return };
    let held = std::mem::take(&mut purchase.holds_machine);
    let (session, machine) = (purchase.session, purchase.machine);
    writes.purchases.insert(id);
    if held
        && let Some(session) = view.sessions.get_mut(&session)
        && session.state == SessionState::Processing
    {
        session.state = ended;
        session.ended_at_ms = at_ms;
        writes.sessions.insert(session.id);
    }
    // After a reset the machine may still be kept out of the pool by this purchase's doubt alone.
    if let Some(pooled) = view.pool.get_mut(&machine)
        && pooled.purchase == Some(id)
    {
        pooled.purchase = None;
        pooled.session = None;
        if pooled.standing != Standing::Absent {
            pooled.standing = Standing::Idle;
            pooled.free_at_ms = 0;
        }
        writes.pool.insert(machine);
    }
}

/// Whether a failure speaks against its machine. An operator's word does not, nor a gateway that says nothing, which would
/// rest every machine there is, nor a person who was using it.
fn is_the_machines(purchase: &Purchase) -> bool {
    match purchase.failure {
        None | Some(Failure::Reset | Failure::Resolved | Failure::PaymentUnknown) => false,
        Some(Failure::Refused) => purchase.failure_detail != MACHINE_BUSY,
        Some(
            Failure::PaymentDeclined
            | Failure::VendFailed
            | Failure::SoldLocally
            | Failure::Expired
            | Failure::MachineChanged,
        ) => true,
    }
}

/// A product came out: what failed before is no row of failures any more, nor what an operator was told of it.
fn forget_failures(view: &mut View, machine: MachineId, at_ms: i64, writes: &mut Writes) {
    let Some(pooled) = view.pool.get_mut(&machine).filter(|pooled| pooled.failures > 0) else { return };
    pooled.failures = 0;
    writes.pool.insert(machine);
    writes.alerts.push(PoolAlert {
        raise: None,
        kind: MACHINE_RESTING,
        machine,
        key: String::new(),
        detail: String::new(),
        purchase: None,
        at_ms,
        trace_id: String::new(),
        traceparent: String::new(),
    });
}

/// So many failures in a row, and the machine rests; each further one sends it back to rest.
fn count_failure(
    view: &mut View,
    id: PurchaseId,
    settings: &Settings,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let clock_ms = view.clock_ms;
    let Some(purchase) = view.purchases.get(&id) else { return };
    let machine = purchase.machine;
    let Some(pooled) = view.pool.get_mut(&machine) else { return };
    pooled.failures = pooled.failures.saturating_add(1);
    writes.pool.insert(machine);
    if pooled.failures < settings.rest_after || pooled.standing != Standing::Idle {
        return;
    }
    pooled.standing = Standing::Resting;
    pooled.free_at_ms = clock_ms.saturating_add(settings.rest_ms).min(NEVER - 1);
    writes.alerts.push(PoolAlert {
        raise: Some(AlertId(ids.uuid_v7())),
        kind: MACHINE_RESTING,
        machine,
        key: String::new(),
        detail: format!("{} purchases in a row failed on this machine: it rests", pooled.failures),
        purchase: None,
        at_ms,
        trace_id: purchase.trace_id.clone(),
        traceparent: purchase.traceparent.clone(),
    });
}

/// Gives back what the purchase holds, once: a unit that did not come out to central stock, and a slot's reservation.
fn release_unit(
    view: &mut View,
    id: PurchaseId,
    back: bool,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> bool {
    let Some(purchase) = view.purchases.get_mut(&id) else { return false };
    if !std::mem::take(&mut purchase.holds_unit) {
        return false;
    }
    let purchase = purchase.clone();
    match purchase.kind {
        MachineKind::Real => reserve(view, &purchase, -1, writes),
        MachineKind::Virtual if back => shift(view, &purchase, 1, at_ms, ids, writes),
        MachineKind::Virtual => {}
    }
    back
}

/// Moves central stock by one unit, with its event and the threshold it may cross.
pub(super) fn shift(
    view: &mut View,
    purchase: &Purchase,
    delta: i64,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let Some((moved, crossing)) = view.shelf.shift(purchase.product, delta) else { return };
    if let Some(crossing) = crossing {
        writes.crossings.push(StockCrossing {
            alert: AlertId(ids.uuid_v7()),
            product: purchase.product,
            crossing,
            left: moved.after,
            at_ms,
            trace_id: purchase.trace_id.clone(),
            traceparent: purchase.traceparent.clone(),
        });
    }
    writes.changes.push(PurchaseChange {
        event: EventId(ids.uuid_v7()),
        purchase: purchase.id,
        moved,
        at_ms,
        trace_id: purchase.trace_id.clone(),
        traceparent: purchase.traceparent.clone(),
    });
}

pub(super) fn over(writes: &mut Writes, purchase: &Purchase, kind: &'static str, at_ms: i64) {
    writes.alerts.push(PoolAlert {
        raise: None,
        kind,
        machine: purchase.machine,
        key: purchase.id.to_string(),
        detail: String::new(),
        purchase: Some(purchase.id),
        at_ms,
        trace_id: purchase.trace_id.clone(),
        traceparent: purchase.traceparent.clone(),
    });
}

pub(super) fn raise(
    writes: &mut Writes,
    ids: &mut dyn Ids,
    purchase: &Purchase,
    kind: &'static str,
    detail: String,
    at_ms: i64,
) {
    writes.alerts.push(PoolAlert {
        raise: Some(AlertId(ids.uuid_v7())),
        kind,
        machine: purchase.machine,
        key: purchase.id.to_string(),
        detail,
        purchase: Some(purchase.id),
        at_ms,
        trace_id: purchase.trace_id.clone(),
        traceparent: purchase.traceparent.clone(),
    });
}
