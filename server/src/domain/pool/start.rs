//! `StartWork`: the idle machine lowest in (usage, last picked, id), and leases that end by themselves.

use super::batch::{View, Writes};
use super::command::{Answer, Refusal, Settings, Start};
use super::model::{MachineKind, NEVER, Session, SessionState, Standing};
use crate::domain::ids::MachineId;
use vend_core::id::ProductId;

pub(super) fn start(view: &mut View, start: &Start, settings: &Settings, writes: &mut Writes) -> Answer {
    let key = (start.caller.clone(), start.request_id);
    if let Some(known) = view.starts.get(&key).and_then(|id| view.sessions.get(id)) {
        return if known.fingerprint == start.fingerprint {
            Answer::Started { session: known.clone(), already: true }
        } else {
            Answer::Refused(Refusal::RequestReused(known.id.0))
        };
    }
    let wants = start.pick.product;
    if let Some(product) = wants {
        match view.shelf.get(product) {
            None => return Answer::Refused(Refusal::ProductNotFound(product)),
            Some(known) if known.is_archived() => return Answer::Refused(Refusal::ProductArchived(product)),
            Some(_) => {}
        }
    }
    let Some(machine) = lowest(view, start) else {
        return Answer::Refused(Refusal::NoIdleMachine);
    };
    free(view, machine, start.at_ms, writes);
    let lease_until_ms = view.clock_ms.saturating_add(settings.lease_ms);
    let Some(pooled) = view.pool.get_mut(&machine) else {
        return Answer::Refused(Refusal::NoIdleMachine);
    };
    pooled.standing = Standing::ChooseProduct;
    pooled.session = Some(start.session);
    pooled.purchase = None;
    pooled.free_at_ms = lease_until_ms;
    // Two picks of one moment are told apart by their order.
    pooled.last_picked_ms = start.at_ms.max(pooled.last_picked_ms.saturating_add(1));
    pooled.fence = pooled.fence.saturating_add(1);
    let session = Session {
        id: start.session,
        machine,
        customer: start.customer.clone(),
        state: SessionState::ChooseProduct,
        lease_until_ms,
        purchase: None,
        caller: start.caller.clone(),
        request_id: start.request_id,
        fingerprint: start.fingerprint,
        created_at_ms: start.at_ms,
        ended_at_ms: 0,
        trace_id: start.trace_id.clone(),
    };
    writes.pool.insert(machine);
    writes.new_sessions.push(session.id);
    view.starts.insert(key, session.id);
    view.sessions.insert(session.id, session.clone());
    Answer::Started { session, already: false }
}

/// The first that is free at this point of the batch: candidates stand in the order in which they are taken.
fn lowest(view: &View, start: &Start) -> Option<MachineId> {
    let fitting = view.candidates.get(&start.pick)?;
    fitting
        .iter()
        .filter_map(|id| view.pool.get(id))
        .filter(|pooled| pooled.is_free(view.clock_ms))
        .find(|pooled| start.pick.product.is_none_or(|product| view.can_give(pooled.id, product)))
        .map(|pooled| pooled.id)
}

impl View {
    /// Whether this machine, which is loaded with what it offers, has a unit of the product that nobody was promised.
    #[must_use]
    pub fn can_give(&self, machine: MachineId, product: ProductId) -> bool {
        let Some(pooled) = self.pool.get(&machine) else { return false };
        match pooled.kind {
            MachineKind::Virtual => self.shelf.get(product).is_some_and(|product| product.stock > 0),
            MachineKind::Real => {
                let offers = self.offers.get(&machine).map_or(&[][..], Vec::as_slice);
                offers.iter().any(|offer| offer.product == product && offer.available > 0)
            }
        }
    }
}

/// Frees a machine whose lease or rest is over by the database's clock. Nothing to do is nothing done.
pub(super) fn free(view: &mut View, machine: MachineId, at_ms: i64, writes: &mut Writes) {
    let clock_ms = view.clock_ms;
    let Some(pooled) = view.pool.get_mut(&machine) else { return };
    if pooled.free_at_ms == 0 || pooled.free_at_ms == NEVER || pooled.free_at_ms > clock_ms {
        return;
    }
    pooled.standing = Standing::Idle;
    pooled.free_at_ms = 0;
    let left = pooled.session.take();
    writes.pool.insert(machine);
    if let Some(session) = left.and_then(|id| view.sessions.get_mut(&id))
        && session.state == SessionState::ChooseProduct
    {
        session.state = SessionState::Expired;
        // As it was shown before anybody noted it.
        session.ended_at_ms = session.lease_until_ms.min(at_ms);
        writes.sessions.insert(session.id);
    }
}
