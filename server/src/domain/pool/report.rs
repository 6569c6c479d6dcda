//! What came of a purchase's work. Everything but a machine's own word needs the fence of the claim.

use super::batch::{Doubt, View, Writes};
use super::choose::{AT_ONCE, dispense};
use super::command::{Answer, JobDone, Refusal, Report, Resolution, Resolve, Said, Settings};
use super::end::{PURCHASE_IN_DOUBT, complete, fail, let_go, over, raise, touched, vended};
use super::model::{Failure, MachineKind, Pooled, Purchase, PurchaseState, Standing, Work};
use crate::domain::ids::{Ids, PurchaseId};
use crate::domain::order::GATEWAY_CONTRADICTION;
use crate::domain::payment::{PaymentStatus, Trouble};
use crate::domain::sync::AlertKind;

/// Name of the alert that a vend came for a purchase that had ended otherwise: it counts as a sale.
pub const LATE_VEND: &str = "LATE_VEND";
/// Name of the alert that a purchase was given back because the machine had sold the unit itself.
pub const SOLD_LOCALLY: &str = "SOLD_LOCALLY";

pub(super) fn report(
    view: &mut View,
    report: &Report,
    settings: &Settings,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> Answer {
    let clock_ms = view.clock_ms;
    let Some(purchase) = view.purchases.get_mut(&report.purchase) else {
        return Answer::Refused(Refusal::PurchaseNotFound(report.purchase));
    };
    if purchase.fence != report.fence || purchase.work == Work::None {
        return Answer::Stale;
    }
    purchase.attempts = purchase.attempts.saturating_add(report.attempts);
    let (id, at_ms, state) = (purchase.id, report.at_ms, purchase.state);
    match (&report.done, state) {
        (JobDone::Authorised(name), PurchaseState::Authorising) => {
            purchase.payment = PaymentStatus::Authorised;
            purchase.gateway_payment_id.clone_from(name);
            dispense(view, id, settings, at_ms, writes);
            touched(view, id, at_ms, writes);
        }
        (JobDone::Declined(words), PurchaseState::Authorising) => {
            purchase.payment = PaymentStatus::Declined;
            let why = (Failure::PaymentDeclined, words.clone());
            fail(view, id, why, settings, at_ms, ids, writes);
        }
        // Nothing is dispensed on a guess; what the gateway may hold is let go.
        (JobDone::Unknown { detail, .. }, PurchaseState::Authorising) => {
            purchase.payment = PaymentStatus::Unknown;
            let why = (Failure::PaymentUnknown, detail.clone());
            fail(view, id, why, settings, at_ms, ids, writes);
        }
        (JobDone::Captured(name), PurchaseState::Capturing) => {
            purchase.payment = PaymentStatus::Captured;
            if !name.is_empty() {
                purchase.gateway_payment_id.clone_from(name);
            }
            complete(view, id, at_ms, writes);
        }
        (JobDone::Voided, PurchaseState::Voiding) => {
            let_go(view, id, PaymentStatus::Voided, at_ms, writes);
        }
        (JobDone::Declined(_), PurchaseState::Voiding) => {
            let_go(view, id, PaymentStatus::Declined, at_ms, writes);
        }
        (JobDone::Refunded, PurchaseState::Voiding) => {
            let_go(view, id, PaymentStatus::Refunded, at_ms, writes);
        }
        (
            JobDone::Unknown { trouble, detail, again_in_ms },
            PurchaseState::Capturing | PurchaseState::Voiding,
        ) => {
            purchase.due_at_ms = clock_ms.saturating_add((*again_in_ms).max(1));
            set_aside(view, id, *trouble, detail, at_ms, ids, writes);
        }
        (JobDone::Elapsed, PurchaseState::Dispensing) => elapsed(view, id, settings, at_ms, ids, writes),
        (JobDone::Elapsed, PurchaseState::InDoubt) => {
            still_in_doubt(view, id, "the machine has not said what became of it", at_ms, ids, writes);
        }
        (JobDone::Said(said), _) => self::said(view, id, said, settings, at_ms, ids, writes),
        _ => return Answer::Stale,
    }
    done(view, id)
}

fn done(view: &View, id: PurchaseId) -> Answer {
    match view.purchases.get(&id) {
        Some(purchase) => Answer::Done(purchase.clone()),
        None => Answer::Refused(Refusal::PurchaseNotFound(id)),
    }
}

/// A worker takes due work for `lease_ms`.
pub fn claim(view: &mut View, id: PurchaseId, lease_ms: i64, writes: &mut Writes) -> Option<Purchase> {
    let clock_ms = view.clock_ms;
    let purchase = view.purchases.get_mut(&id)?;
    if purchase.work == Work::None || purchase.due_at_ms == 0 || purchase.due_at_ms > clock_ms {
        return None;
    }
    purchase.fence = purchase.fence.saturating_add(1);
    purchase.due_at_ms = clock_ms.saturating_add(lease_ms);
    if purchase.state == PurchaseState::Authorising {
        // From here on the gateway may have been asked at any moment.
        purchase.payment = PaymentStatus::Unknown;
    }
    writes.purchases.insert(id);
    Some(purchase.clone())
}

/// Money that is being settled is asked after at once, whoever asks now. Whether there was any.
pub fn redrive(view: &mut View, id: PurchaseId, at_ms: i64, writes: &mut Writes) -> bool {
    let Some(purchase) = view.purchases.get_mut(&id) else { return false };
    if !matches!(purchase.state, PurchaseState::Capturing | PurchaseState::Voiding) {
        return false;
    }
    purchase.due_at_ms = AT_ONCE;
    touched(view, id, at_ms, writes);
    true
}

/// The gateway has news of a payment, of which nothing is believed: it is asked. At once where the money was set aside; where a
/// worker may be asking just now, once that must be over, `asks_for_ms` from now: asking beside it would only void its answer.
/// Whether that is any sooner.
pub fn notice(
    view: &mut View,
    id: PurchaseId,
    is_set_aside: bool,
    asks_for_ms: i64,
    writes: &mut Writes,
) -> bool {
    let clock_ms = view.clock_ms;
    let Some(purchase) = view.purchases.get_mut(&id) else { return false };
    let in_question = match purchase.state {
        PurchaseState::Capturing | PurchaseState::Voiding => true,
        PurchaseState::Authorising => purchase.payment == PaymentStatus::Unknown,
        _ => false,
    };
    let due_at_ms = if is_set_aside { AT_ONCE } else { clock_ms.saturating_add(asks_for_ms) };
    if !in_question || purchase.due_at_ms <= due_at_ms {
        return false;
    }
    purchase.due_at_ms = due_at_ms;
    writes.purchases.insert(id);
    true
}

/// The command is in a Sync answer: from here on only the machine, or an operator, knows. The worker that sees the
/// reservation lapse has lost it.
pub fn hand_out(
    purchase: &mut Purchase,
    pooled: &mut Pooled,
    look_again_in_ms: i64,
    clock_ms: i64,
    at_ms: i64,
) {
    if purchase.state != PurchaseState::Dispensing || purchase.kind != MachineKind::Real {
        return;
    }
    purchase.state = PurchaseState::InDoubt;
    purchase.fence = purchase.fence.saturating_add(1);
    purchase.work = Work::Dispense;
    purchase.due_at_ms = clock_ms.saturating_add(look_again_in_ms);
    purchase.updated_at_ms = at_ms;
    if pooled.purchase == Some(purchase.id) {
        pooled.standing = Standing::InDoubt;
    }
}

/// The machine's journal says what became of the command: a worker is to look at once, whatever the purchase is by now. Money
/// that is being settled is settled first.
pub fn hear(purchase: &mut Purchase, at_ms: i64) {
    purchase.heard = true;
    purchase.updated_at_ms = at_ms;
    if matches!(purchase.state, PurchaseState::Capturing | PurchaseState::Voiding) {
        return;
    }
    purchase.fence = purchase.fence.saturating_add(1);
    purchase.work = Work::Dispense;
    purchase.due_at_ms = AT_ONCE;
}

fn elapsed(
    view: &mut View,
    id: PurchaseId,
    settings: &Settings,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let Some(purchase) = view.purchases.get(&id).cloned() else { return };
    if purchase.kind == MachineKind::Virtual {
        return vended(view, id, at_ms, ids, writes);
    }
    // It was in no answer, or it would be in doubt: it never reaches the machine now.
    if purchase.command_number > 0 {
        writes.expired.push((purchase.machine, purchase.command_number));
    }
    let words = "the machine did not fetch the command in time".to_owned();
    fail(view, id, (Failure::Expired, words), settings, at_ms, ids, writes);
}

fn still_in_doubt(
    view: &mut View,
    id: PurchaseId,
    words: &str,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let Some(purchase) = view.purchases.get_mut(&id) else { return };
    // The machine's next word, or an operator's, makes it due again.
    purchase.due_at_ms = 0;
    let purchase = purchase.clone();
    writes.doubtful.push((purchase.machine, purchase.command_number));
    let detail = format!("purchase {id}: command {} was handed out and {words}", purchase.command_number);
    raise(writes, ids, &purchase, PURCHASE_IN_DOUBT, detail, at_ms);
    touched(view, id, at_ms, writes);
}

fn said(
    view: &mut View,
    id: PurchaseId,
    said: &Said,
    settings: &Settings,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let Some(purchase) = view.purchases.get_mut(&id) else { return };
    purchase.heard = false;
    let purchase = purchase.clone();
    let open = matches!(purchase.state, PurchaseState::InDoubt | PurchaseState::Dispensing);
    if !open {
        return late(view, &purchase, said, at_ms, ids, writes);
    }
    match said {
        Said::Vended => {
            if !purchase.holds_machine {
                let detail = format!(
                    "purchase {id}: its session was reset, and its machine has dispensed: it counts as a sale"
                );
                raise(writes, ids, &purchase, LATE_VEND, detail, at_ms);
            }
            vended(view, id, at_ms, ids, writes);
        }
        // Nobody knows but who stands there: an operator says.
        Said::Unknown => {
            let words = "the machine can't tell whether the product came out";
            still_in_doubt(view, id, words, at_ms, ids, writes);
        }
        Said::Failed(words) => {
            fail(view, id, (Failure::VendFailed, words.clone()), settings, at_ms, ids, writes);
        }
        Said::Changed => {
            let words = "the machine restarted before it carried the command out".to_owned();
            fail(view, id, (Failure::MachineChanged, words), settings, at_ms, ids, writes);
        }
        Said::Refused(reason) => {
            let failure = match reason.as_str() {
                "SLOT_EMPTY" => Failure::SoldLocally,
                "WRONG_EPOCH" | "WRONG_BOOT" => Failure::MachineChanged,
                "EXPIRED" => Failure::Expired,
                _ => Failure::Refused,
            };
            if failure == Failure::SoldLocally {
                let detail = format!(
                    "purchase {id}: the machine had sold the last unit of slot {} itself; the purchase is given back",
                    purchase.slot
                );
                raise(writes, ids, &purchase, SOLD_LOCALLY, detail, at_ms);
            }
            fail(view, id, (failure, reason.clone()), settings, at_ms, ids, writes);
        }
    }
}

/// The machine speaks of a purchase that has ended, or whose money is being settled. Its records count; a person is told
/// when they tell another story.
fn late(
    view: &mut View,
    purchase: &Purchase,
    said: &Said,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let came_out = matches!(purchase.state, PurchaseState::Completed | PurchaseState::Capturing);
    let differs = match said {
        Said::Vended => !came_out,
        Said::Failed(_) | Said::Refused(_) | Said::Changed => came_out,
        Said::Unknown => false,
    };
    if differs {
        let (id, state) = (purchase.id, purchase.state.name());
        let detail = match said {
            Said::Vended => {
                format!("purchase {id} is {state}, and its machine has dispensed: it counts as a sale")
            }
            _ => format!("purchase {id} is {state}, and its machine has not dispensed"),
        };
        raise(writes, ids, purchase, LATE_VEND, detail, at_ms);
    }
    if let Some(now) = view.purchases.get_mut(&purchase.id)
        && now.state.is_final()
    {
        now.work = Work::None;
        now.due_at_ms = 0;
    }
    touched(view, purchase.id, at_ms, writes);
}

/// Its money can't be settled now: asked again later, shown to a person. Its machine has been free since it was certain what
/// came out.
fn set_aside(
    view: &mut View,
    id: PurchaseId,
    trouble: Trouble,
    detail: &str,
    at_ms: i64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let Some(purchase) = view.purchases.get(&id).cloned() else { return };
    writes.dead_letters.push(Doubt::Open {
        id: ids.uuid_v7(),
        purchase: id,
        trouble,
        detail: detail.to_owned(),
        at_ms,
        trace_id: purchase.trace_id.clone(),
    });
    // They end with the dead letter.
    if trouble == Trouble::Contradiction {
        let words = format!("purchase {id}: the gateway contradicts itself: {detail}");
        raise(writes, ids, &purchase, GATEWAY_CONTRADICTION, words, at_ms);
    }
    let state = purchase.state.name();
    let words = format!("purchase {id} is {state}: no definite answer of the gateway: {detail}");
    raise(writes, ids, &purchase, AlertKind::DeadLetter.as_str(), words, at_ms);
    touched(view, id, at_ms, writes);
}

pub(super) fn resolve(
    view: &mut View,
    resolve: &Resolve,
    settings: &Settings,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> Answer {
    let Some(purchase) = view.purchases.get(&resolve.purchase).cloned() else {
        return Answer::Refused(Refusal::PurchaseNotFound(resolve.purchase));
    };
    if purchase.state != PurchaseState::InDoubt {
        return Answer::Refused(Refusal::NotInDoubt(purchase.id, purchase.state.name()));
    }
    let (id, at_ms) = (purchase.id, resolve.at_ms);
    over(writes, &purchase, PURCHASE_IN_DOUBT, at_ms);
    match resolve.resolution {
        Resolution::Dispensed => {
            if let Some(purchase) = view.purchases.get_mut(&id) {
                purchase.fence = purchase.fence.saturating_add(1);
                purchase.failure_detail.clone_from(&resolve.note);
            }
            vended(view, id, at_ms, ids, writes);
        }
        Resolution::NotDispensed => {
            let why = (Failure::Resolved, resolve.note.clone());
            fail(view, id, why, settings, at_ms, ids, writes);
        }
    }
    debug_assert!(view.purchases[&id].due_at_ms != AT_ONCE || view.purchases[&id].work != Work::None);
    done(view, id)
}
