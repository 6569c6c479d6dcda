//! `ChooseProduct`: one unit, the purchase and its job, in one commit.

use super::batch::{Bound, NewCommand, Offer, View, Writes};
use super::command::{Answer, Choose, Refusal, Settings};
use super::end::shift;
use super::model::{
    MachineKind, Mode, NEVER, Pooled, Purchase, PurchaseState, Session, SessionState, Standing, Work,
};
use crate::domain::ids::{Ids, PurchaseId};
use crate::domain::payment::PaymentStatus;
use vend_core::id::ProductId;
use vend_core::money::{Currency, Minor};

/// May be taken by a worker at once. Not a time: clocks of servers differ.
pub(super) const AT_ONCE: i64 = 1;

/// What is bought, where it lies and what it costs.
struct Chosen {
    slot: u16,
    currency: Currency,
    price_minor: Minor,
}

pub(super) fn choose(
    view: &mut View,
    choose: &Choose,
    settings: &Settings,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> Answer {
    let key = (choose.caller.clone(), choose.request_id);
    if let Some(known) = view.chooses.get(&key).and_then(|id| view.purchases.get(id)) {
        if known.fingerprint != choose.fingerprint {
            return Answer::Refused(Refusal::RequestReused(known.id.0));
        }
        return match view.sessions.get(&known.session) {
            Some(session) => {
                Answer::Chosen { purchase: known.clone(), session: session.clone(), already: true }
            }
            None => Answer::Refused(Refusal::SessionNotFound(known.session)),
        };
    }
    let decided = check(view, choose);
    let (session, pooled, chosen) = match decided {
        Ok(decided) => decided,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let purchase = made(choose, &session, &pooled, &chosen);
    match pooled.kind {
        MachineKind::Virtual => shift(view, &purchase, -1, choose.at_ms, ids, writes),
        MachineKind::Real => reserve(view, &purchase, 1, writes),
    }
    if let Some(pooled) = view.pool.get_mut(&pooled.id) {
        pooled.standing = Standing::Processing;
        pooled.purchase = Some(purchase.id);
        pooled.free_at_ms = NEVER;
    }
    let mut session = session;
    session.state = SessionState::Processing;
    session.lease_until_ms = 0;
    session.purchase = Some(purchase.id);
    writes.pool.insert(pooled.id);
    writes.sessions.insert(session.id);
    writes.new_purchases.push(purchase.id);
    view.chooses.insert(key, purchase.id);
    view.sessions.insert(session.id, session.clone());
    view.purchases.insert(purchase.id, purchase.clone());
    if purchase.state == PurchaseState::Dispensing {
        dispense(view, purchase.id, settings, choose.at_ms, writes);
    }
    let purchase = view.purchases.get(&purchase.id).cloned().unwrap_or(purchase);
    Answer::Chosen { purchase, session, already: false }
}

fn check(view: &View, choose: &Choose) -> Result<(Session, Pooled, Chosen), Refusal> {
    let session = view.sessions.get(&choose.session).ok_or(Refusal::SessionNotFound(choose.session))?;
    if choose.on.is_none() {
        return Err(Refusal::TokenMismatch(session.id));
    }
    let pooled = view.pool.get(&session.machine).ok_or(Refusal::MachineNotFound(session.machine))?;
    match session.state {
        SessionState::ChooseProduct => {}
        SessionState::Processing => return Err(Refusal::NotInState(pooled.id, pooled.standing)),
        SessionState::Expired => return Err(Refusal::SessionExpired(session.id, session.lease_until_ms)),
        SessionState::Completed | SessionState::Failed | SessionState::Reset => {
            return Err(Refusal::SessionEnded(session.id, pooled.session));
        }
    }
    if session.lease_until_ms <= view.clock_ms || pooled.session != Some(session.id) {
        return Err(Refusal::SessionExpired(session.id, session.lease_until_ms));
    }
    let chosen = match pooled.kind {
        MachineKind::Virtual => from_shelf(view, choose.product)?,
        MachineKind::Real => from_slot(view, pooled, choose.product)?,
    };
    if let Some(expected) = choose.expected_price {
        if expected.0 != chosen.currency {
            return Err(Refusal::CurrencyMismatch { expected: expected.0, actual: chosen.currency });
        }
        if expected.1 != chosen.price_minor {
            let actual = (chosen.currency, chosen.price_minor);
            return Err(Refusal::PriceChanged { product: choose.product, expected, actual });
        }
    }
    Ok((session.clone(), pooled.clone(), chosen))
}

fn on_sale(view: &View, id: ProductId) -> Result<&crate::domain::catalog::Product, Refusal> {
    let product = view.shelf.get(id).ok_or(Refusal::ProductNotFound(id))?;
    if product.is_archived() { Err(Refusal::ProductArchived(id)) } else { Ok(product) }
}

fn from_shelf(view: &View, id: ProductId) -> Result<Chosen, Refusal> {
    let product = on_sale(view, id)?;
    if product.stock < 1 {
        return Err(Refusal::InsufficientStock(id));
    }
    Ok(Chosen { slot: 0, currency: product.currency, price_minor: product.price_minor })
}

/// The machine's own config is what counts: its price is what its display shows.
fn from_slot(view: &View, pooled: &Pooled, id: ProductId) -> Result<Chosen, Refusal> {
    on_sale(view, id)?;
    let bound = view.bound.get(&pooled.id);
    if bound.is_some_and(|bound| bound.cloned) {
        return Err(Refusal::Cloned(pooled.id));
    }
    if bound.is_none() || !pooled.is_present(view.clock_ms) {
        return Err(Refusal::Unreachable(pooled.id, bound.map_or(0, |bound| bound.last_sync_ms)));
    }
    let offers = view.offers.get(&pooled.id).map_or(&[][..], Vec::as_slice);
    let slots = offers.iter().filter(|offer| offer.product == id);
    // The fullest slot, and of equals the first: the one least likely to be sold out by whoever stands there.
    let best = slots.max_by_key(|offer| (offer.available, std::cmp::Reverse(offer.slot)));
    let offer: &Offer = best.ok_or(Refusal::ProductNotInMachine(pooled.id, id))?;
    if offer.available < 1 {
        return Err(Refusal::InsufficientStock(id));
    }
    Ok(Chosen { slot: offer.slot, currency: offer.currency, price_minor: offer.price_minor })
}

fn made(choose: &Choose, session: &Session, pooled: &Pooled, chosen: &Chosen) -> Purchase {
    let pays = choose.mode == Mode::Gateway && chosen.price_minor > 0;
    let (state, payment) = first(pays);
    Purchase {
        id: choose.purchase,
        session: session.id,
        machine: pooled.id,
        kind: pooled.kind,
        customer: session.customer.clone(),
        product: choose.product,
        slot: chosen.slot,
        currency: chosen.currency,
        price_minor: chosen.price_minor,
        mode: choose.mode,
        payment,
        gateway_payment_id: String::new(),
        state,
        failure: None,
        failure_detail: String::new(),
        holds_unit: true,
        holds_machine: true,
        command_number: 0,
        heard: false,
        reservation_end_ms: 0,
        work: if pays { Work::Authorise } else { Work::Dispense },
        due_at_ms: AT_ONCE,
        fence: 0,
        attempts: 0,
        caller: choose.caller.clone(),
        request_id: choose.request_id,
        fingerprint: choose.fingerprint,
        created_at_ms: choose.at_ms,
        updated_at_ms: choose.at_ms,
        ended_at_ms: 0,
        trace_id: choose.trace_id.clone(),
        traceparent: choose.traceparent.clone(),
    }
}

fn first(pays: bool) -> (PurchaseState, PaymentStatus) {
    if pays {
        (PurchaseState::Authorising, PaymentStatus::Pending)
    } else {
        (PurchaseState::Dispensing, PaymentStatus::NotRequired)
    }
}

impl Purchase {
    /// As it was right after the commit that made it: what a repeated call is answered with.
    #[must_use]
    pub fn as_made(&self) -> Self {
        let (state, payment) = first(self.pays());
        // With the authorisation, where there is one.
        let (command_number, reservation_end_ms) =
            if self.pays() { (0, 0) } else { (self.command_number, self.reservation_end_ms) };
        Self {
            state,
            payment,
            command_number,
            reservation_end_ms,
            gateway_payment_id: String::new(),
            failure: None,
            failure_detail: String::new(),
            updated_at_ms: self.created_at_ms,
            ended_at_ms: 0,
            ..self.clone()
        }
    }
}

/// Begins the dispensing: a virtual machine's delay, or a numbered command to a real one. A real machine that is gone since
/// is left to the lapse of the reservation.
pub(super) fn dispense(
    view: &mut View,
    id: PurchaseId,
    settings: &Settings,
    at_ms: i64,
    writes: &mut Writes,
) {
    let clock_ms = view.clock_ms;
    let Some(purchase) = view.purchases.get_mut(&id) else { return };
    purchase.state = PurchaseState::Dispensing;
    purchase.work = Work::Dispense;
    purchase.attempts = 0;
    let Some(pooled) = view.pool.get(&purchase.machine) else { return };
    if purchase.kind == MachineKind::Virtual {
        purchase.due_at_ms = clock_ms.saturating_add(pooled.delay_ms.max(0)).max(AT_ONCE);
        return;
    }
    purchase.due_at_ms = clock_ms.saturating_add(settings.reservation_ms);
    purchase.reservation_end_ms = purchase.due_at_ms;
    let Some(bound) = view.bound.get_mut(&purchase.machine).filter(|bound| !bound.cloned) else { return };
    bound.last_command = bound.last_command.saturating_add(1);
    purchase.command_number = bound.last_command;
    writes.commands.push(command(purchase, bound, settings, at_ms));
}

fn command(purchase: &Purchase, bound: &Bound, settings: &Settings, at_ms: i64) -> NewCommand {
    NewCommand {
        machine: purchase.machine,
        number: bound.last_command,
        epoch: bound.epoch,
        boot: bound.boot,
        expires_uptime_ms: bound.uptime_ms.saturating_add(settings.reservation_ms.unsigned_abs()),
        purchase: purchase.id,
        at_ms,
        expires_at_ms: purchase.reservation_end_ms,
    }
}

/// Takes (+1) or releases (-1) the slot's reservation.
pub(super) fn reserve(view: &mut View, purchase: &Purchase, by: i64, writes: &mut Writes) {
    *writes.reserved.entry((purchase.machine, purchase.slot)).or_default() += by;
    let offers = view.offers.get_mut(&purchase.machine);
    if let Some(offer) = offers.and_then(|offers| offers.iter_mut().find(|offer| offer.slot == purchase.slot))
    {
        offer.available = offer.available.saturating_sub(by);
    }
}
