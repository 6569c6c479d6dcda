//! The rows of machines in the pool, sessions and purchases. Each list of columns stands beside the function that reads it.

use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::payment::PaymentStatus;
use crate::domain::pool::{
    Failure, MachineKind, Mode, Pooled, Purchase, PurchaseState, Session, SessionState, Standing, Work,
};
use crate::store::bulk::Kind::{self, Bool, Bytes, Int, Text};
use crate::store::{Columns, StoreError};
use vend_core::id::ProductId;
use vend_core::money::Currency;

macro_rules! pool_columns {
    () => {
        "p.machine_id, p.kind, p.state, p.session_id, p.purchase_id, p.usage_count, p.last_picked_ms, p.failures, \
         p.free_at_ms, p.connected_until_ms, p.fit, p.fence, p.group_name, p.delay_ms"
    };
}

macro_rules! session_columns {
    () => {
        "s.session_id, s.machine_id, s.customer_id, s.state, s.lease_until_ms, s.purchase_id, s.caller, s.request_id, \
         s.fingerprint, s.created_at_ms, s.ended_at_ms, s.trace_id"
    };
}

macro_rules! purchase_columns {
    () => {
        "u.purchase_id, u.session_id, u.machine_id, u.kind, u.customer_id, u.product_id, u.slot, u.currency, \
         u.price_minor, u.mode, u.payment, u.gateway_payment_id, u.state, u.failure, u.failure_detail, u.holds_unit, \
         u.holds_machine, u.command_number, u.heard, u.reservation_end_ms, u.work, u.due_at_ms, u.fence, u.attempts, \
         u.caller, u.request_id, u.fingerprint, u.created_at_ms, u.updated_at_ms, u.ended_at_ms, u.trace_id, \
         u.traceparent"
    };
}

pub(in crate::store) use {pool_columns, purchase_columns, session_columns};

pub(super) const POOL_KINDS: [Kind; 14] =
    [Bytes, Int, Int, Bytes, Bytes, Int, Int, Int, Int, Int, Bool, Int, Text, Int];

pub(super) const SESSION_KINDS: [Kind; 12] =
    [Bytes, Bytes, Text, Int, Int, Bytes, Text, Bytes, Bytes, Int, Int, Text];

/// `session_columns!`, then `pool_columns!`.
pub(super) const SESSION_AND_POOL_KINDS: [Kind; 26] = {
    let mut kinds = [Int; SESSION_KINDS.len() + POOL_KINDS.len()];
    let (sessions, pool) = kinds.split_at_mut(SESSION_KINDS.len());
    sessions.copy_from_slice(&SESSION_KINDS);
    pool.copy_from_slice(&POOL_KINDS);
    kinds
};

pub(super) const PURCHASE_KINDS: [Kind; 32] = [
    Bytes, Bytes, Bytes, Int, Text, Bytes, Int, Text, Int, Int, Int, Text, Int, Int, Text, Bool, Bool, Int,
    Bool, Int, Int, Int, Int, Int, Text, Bytes, Bytes, Int, Int, Int, Text, Text,
];

/// Reads `pool_columns!`.
pub(in crate::store) fn pooled(c: &mut Columns<'_>) -> Result<Pooled, StoreError> {
    Ok(Pooled {
        id: MachineId(c.uuid()?),
        kind: MachineKind::from_number(c.int()?).ok_or_else(|| c.damaged("not a kind"))?,
        standing: Standing::from_number(c.int()?).ok_or_else(|| c.damaged("not a standing"))?,
        session: c.opt_uuid()?.map(SessionId),
        purchase: c.opt_uuid()?.map(PurchaseId),
        usage: c.int()?,
        last_picked_ms: c.int()?,
        failures: c.int()?,
        free_at_ms: c.int()?,
        connected_until_ms: c.int()?,
        fit: c.bool()?,
        fence: c.int()?,
        group: c.text()?.to_owned(),
        delay_ms: c.int()?,
    })
}

/// Reads `session_columns!`.
pub(in crate::store) fn session(c: &mut Columns<'_>) -> Result<Session, StoreError> {
    Ok(Session {
        id: SessionId(c.uuid()?),
        machine: MachineId(c.uuid()?),
        customer: c.text()?.to_owned(),
        state: SessionState::from_number(c.int()?).ok_or_else(|| c.damaged("not a session's state"))?,
        lease_until_ms: c.int()?,
        purchase: c.opt_uuid()?.map(PurchaseId),
        caller: c.text()?.to_owned(),
        request_id: c.uuid()?,
        fingerprint: c.array()?,
        created_at_ms: c.int()?,
        ended_at_ms: c.int()?,
        trace_id: c.text()?.to_owned(),
    })
}

/// Reads `purchase_columns!`.
pub(in crate::store) fn purchase(c: &mut Columns<'_>) -> Result<Purchase, StoreError> {
    Ok(Purchase {
        id: PurchaseId(c.uuid()?),
        session: SessionId(c.uuid()?),
        machine: MachineId(c.uuid()?),
        kind: MachineKind::from_number(c.int()?).ok_or_else(|| c.damaged("not a kind"))?,
        customer: c.text()?.to_owned(),
        product: ProductId(c.array()?),
        slot: c.number()?,
        currency: Currency::parse(c.text()?).ok_or_else(|| c.damaged("not a currency"))?,
        price_minor: c.int()?,
        mode: Mode::from_number(c.int()?).ok_or_else(|| c.damaged("not a mode of payment"))?,
        payment: PaymentStatus::from_number(c.int()?).ok_or_else(|| c.damaged("not a payment status"))?,
        gateway_payment_id: c.text()?.to_owned(),
        state: PurchaseState::from_number(c.int()?).ok_or_else(|| c.damaged("not a purchase's state"))?,
        failure: match c.int()? {
            0 => None,
            number => Some(Failure::from_number(number).ok_or_else(|| c.damaged("not a failure"))?),
        },
        failure_detail: c.text()?.to_owned(),
        holds_unit: c.bool()?,
        holds_machine: c.bool()?,
        command_number: c.number()?,
        heard: c.bool()?,
        reservation_end_ms: c.int()?,
        work: Work::from_number(c.int()?).ok_or_else(|| c.damaged("not a kind of work"))?,
        due_at_ms: c.int()?,
        fence: c.int()?,
        attempts: c.number()?,
        caller: c.text()?.to_owned(),
        request_id: c.uuid()?,
        fingerprint: c.array()?,
        created_at_ms: c.int()?,
        updated_at_ms: c.int()?,
        ended_at_ms: c.int()?,
        trace_id: c.text()?.to_owned(),
        traceparent: c.text()?.to_owned(),
    })
}
