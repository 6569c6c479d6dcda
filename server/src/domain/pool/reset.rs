//! `ResetMachine`: ends the named session from any state. A late job can neither complete nor count.

use super::batch::{View, Writes};
use super::command::{Answer, Refusal, Reset, Settings};
use super::end::{end_session, fail, touched};
use super::model::{Failure, MachineKind, PurchaseState, SessionState, Standing};
use super::start::free;
use crate::domain::ids::Ids;

pub(super) fn reset(
    view: &mut View,
    reset: &Reset,
    settings: &Settings,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> Answer {
    if !view.pool.contains_key(&reset.machine) {
        return Answer::Refused(Refusal::MachineNotFound(reset.machine));
    }
    free(view, reset.machine, reset.at_ms, writes);
    let of_machine = view.sessions.get(&reset.session).filter(|session| session.machine == reset.machine);
    if of_machine.is_none() {
        return Answer::Refused(Refusal::SessionNotFound(reset.session));
    }
    let pooled = view.pool.get(&reset.machine);
    let present = pooled.and_then(|pooled| pooled.session);
    if present != Some(reset.session) {
        // A doubt outlives the session it began in.
        let in_doubt = pooled.is_some_and(|pooled| pooled.standing == Standing::InDoubt);
        return Answer::Refused(match present {
            None if !in_doubt => Refusal::AlreadyIdle(reset.machine),
            other => Refusal::SessionEnded(reset.session, other),
        });
    }
    let purchase = view.sessions.get(&reset.session).and_then(|session| session.purchase);
    let units_returned = match purchase {
        None => {
            end_choosing(view, reset, writes);
            0
        }
        Some(id) => end_purchase(view, id, reset, settings, ids, writes),
    };
    match (view.sessions.get(&reset.session), view.pool.get(&reset.machine)) {
        (Some(session), Some(pooled)) => {
            Answer::Reset { session: session.clone(), standing: pooled.standing, units_returned }
        }
        _ => Answer::Refused(Refusal::MachineNotFound(reset.machine)),
    }
}

fn end_choosing(view: &mut View, reset: &Reset, writes: &mut Writes) {
    if let Some(session) = view.sessions.get_mut(&reset.session) {
        session.state = SessionState::Reset;
        session.lease_until_ms = 0;
        session.ended_at_ms = reset.at_ms;
        writes.sessions.insert(session.id);
    }
    if let Some(pooled) = view.pool.get_mut(&reset.machine) {
        pooled.session = None;
        pooled.standing = Standing::Idle;
        pooled.free_at_ms = 0;
        writes.pool.insert(reset.machine);
    }
}

fn end_purchase(
    view: &mut View,
    id: crate::domain::ids::PurchaseId,
    reset: &Reset,
    settings: &Settings,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> u32 {
    let Some(purchase) = view.purchases.get(&id).cloned() else { return 0 };
    match purchase.state {
        PurchaseState::Reserved | PurchaseState::Authorising | PurchaseState::Dispensing => {
            if purchase.kind == MachineKind::Real && purchase.command_number > 0 {
                // Never yet in a Sync answer: it never reaches the machine.
                writes.expired.push((purchase.machine, purchase.command_number));
            }
            let why = (Failure::Reset, reset.note.clone());
            fail(view, id, why, settings, reset.at_ms, ids, writes)
        }
        // The session ends, the doubt does not: unit, payment and machine stay held.
        PurchaseState::InDoubt => {
            if let Some(purchase) = view.purchases.get_mut(&id) {
                purchase.holds_machine = false;
            }
            if let Some(session) = view.sessions.get_mut(&reset.session) {
                session.state = SessionState::Reset;
                session.ended_at_ms = reset.at_ms;
                writes.sessions.insert(session.id);
            }
            if let Some(pooled) = view.pool.get_mut(&reset.machine) {
                pooled.session = None;
                pooled.standing = Standing::InDoubt;
                writes.pool.insert(reset.machine);
            }
            touched(view, id, reset.at_ms, writes);
            0
        }
        // It came out, or it is certain that it did not: only money is still being settled, which needs no machine.
        PurchaseState::Capturing
        | PurchaseState::Voiding
        | PurchaseState::Completed
        | PurchaseState::Failed => {
            end_session(view, id, SessionState::Reset, reset.at_ms, writes);
            0
        }
    }
}
