//! Lifetime and since-reset totals, after EVA-DTS (VA1/VA2, CA2/CA3/CA4, DA2, VA3): the machine's own checksum.
//!
//! [`apply`] is the one definition of what a record does to them. The machine counts with it and the server checks
//! with it: `lifetime_after(n) == apply(lifetime_after(n - 1), body n)`; a record that carries no totals changes none.
//! An epoch starts from what its first record (a boot) carries.
//!
//! | record | changes |
//! |---|---|
//! | vend, success | `vends` and `vends_minor`, and those of its payment; a free or test vend only `free_vends` / `test_vends` |
//! | vend, failure | `failed_vends` |
//! | vend, unknown | `unknown_vends` |
//! | vend, any outcome | `cash_in` + `cash_in_minor`, `cash_out` + `payout_intent_minor`, `owed` + `owed_minor` |
//! | cash in | `cash_in` + `inserted_minor`, `cash_out` + (`inserted_minor` - `amount_minor`) |
//! | cash in, both amounts zero | a new currency begins: all monetary totals restart at zero, counts go on |
//! | settlement `Owed` | the amount was booked as paid and was not: `cash_out` - amount, `owed` + amount |
//! | settlement `PaidOut` | the amount was owed and is paid: `cash_out` + amount, `owed` - amount |
//! | settlement, other | nothing: an unknown payout stays booked as paid; cashless money is not cash |
//! | refill | `cash_loaded` + worth of `tubes_loaded` |
//! | cash collected | `cash_collected` + `box_minor` + `tubes_minor`; since-reset totals restart after it |
//! | boot, audit, fault, config verdict, command result | nothing |
//!
//! A machine that changes its currency writes that empty cash-in record, in the new currency: the restart has a place in
//! the journal, and can be followed without knowing what the currency was before.

use crate::money::{Currency, Minor, worth};
use crate::record::{Body, CashIn, Payment, Settled, Settlement, Vend, VendOutcome};

/// One set of totals. Every money and vend record carries the lifetime set as it is after that record, so the server
/// can name the first record at which its own sum and the machine's part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Totals {
    /// Paid vends with success (VA102-like): count.
    pub vends: u64,
    /// Paid vends with success: value, minor units.
    pub vends_minor: Minor,
    /// Of those, paid in cash: count.
    pub cash_vends: u64,
    /// Of those, paid in cash: value, minor units.
    pub cash_vends_minor: Minor,
    /// Of those, paid cashless: count.
    pub cashless_vends: u64,
    /// Of those, paid cashless: value, minor units.
    pub cashless_vends_minor: Minor,
    /// Of those, paid by remote credit: count.
    pub remote_vends: u64,
    /// Of those, paid by remote credit: value, minor units.
    pub remote_vends_minor: Minor,
    /// Free vends (price zero) with success: count.
    pub free_vends: u64,
    /// Test vends (operator) with success: count.
    pub test_vends: u64,
    /// Vends whose motor reported failure: count.
    pub failed_vends: u64,
    /// Vends found at boot with an intent and no outcome: count.
    pub unknown_vends: u64,
    /// Cash taken in (coins and bills), minor units.
    pub cash_in_minor: Minor,
    /// Cash paid out (change, returns, refunds), minor units.
    pub cash_out_minor: Minor,
    /// Cash collected from box and tubes, minor units.
    pub cash_collected_minor: Minor,
    /// Cash loaded into the tubes by an operator, minor units.
    pub cash_loaded_minor: Minor,
    /// Owed to customers: refunds and change that could not be paid out, minor units.
    pub owed_minor: Minor,
}

/// Totals for the machine's life and since the last reset (an operator's collection).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Whose minor units these are; [`Currency::NONE`] before the first config. A change restarts the monetary totals.
    pub currency: Currency,
    /// Since the machine was made.
    pub lifetime: Totals,
    /// Since the last reset.
    pub since_reset: Totals,
}

impl Totals {
    /// Zeroes the monetary totals; counts stay.
    pub fn restart_money(&mut self) {
        *self = Self {
            vends_minor: 0,
            cash_vends_minor: 0,
            cashless_vends_minor: 0,
            remote_vends_minor: 0,
            cash_in_minor: 0,
            cash_out_minor: 0,
            cash_collected_minor: 0,
            cash_loaded_minor: 0,
            owed_minor: 0,
            ..*self
        };
    }
}

/// The currency a record's amounts are in, for the records that name one.
#[must_use]
pub fn currency_of(body: &Body) -> Option<Currency> {
    match body {
        Body::Vend(v) => Some(v.currency),
        Body::Settlement(s) => Some(s.currency),
        Body::CashIn(c) => Some(c.currency),
        Body::CashCollected(c) => Some(c.currency),
        Body::Boot(_)
        | Body::Refill(_)
        | Body::Audit(_)
        | Body::Fault(_)
        | Body::ConfigVerdict(_)
        | Body::CommandResult(_) => None,
    }
}

/// Carries totals over one record, and the currency they are in with them as far as records name it.
pub fn advance(currency: &mut Currency, totals: &mut Totals, body: &Body) {
    *currency = currency_of(body).unwrap_or(*currency);
    apply(totals, body);
}

/// Carries totals over one record. All sums saturate. See the module's table.
pub fn apply(totals: &mut Totals, body: &Body) {
    match body {
        Body::Vend(v) => apply_vend(totals, v),
        Body::Settlement(s) => apply_settlement(totals, s),
        Body::CashIn(CashIn { amount_minor: 0, inserted_minor: 0, .. }) => totals.restart_money(),
        Body::CashIn(CashIn { amount_minor, inserted_minor, .. }) => {
            add(&mut totals.cash_in_minor, *inserted_minor);
            add(&mut totals.cash_out_minor, inserted_minor.saturating_sub(*amount_minor));
        }
        Body::Refill(r) => add(&mut totals.cash_loaded_minor, worth(&r.tubes_loaded)),
        Body::CashCollected(c) => {
            add(&mut totals.cash_collected_minor, c.box_minor.saturating_add(c.tubes_minor));
        }
        Body::Boot(_) | Body::Audit(_) | Body::Fault(_) | Body::ConfigVerdict(_) | Body::CommandResult(_) => {
        }
    }
}

fn apply_vend(totals: &mut Totals, v: &Vend) {
    add(&mut totals.cash_in_minor, v.cash_in_minor);
    add(&mut totals.cash_out_minor, v.payout_intent_minor);
    add(&mut totals.owed_minor, v.owed_minor);
    match v.outcome {
        VendOutcome::Failure => count(&mut totals.failed_vends),
        VendOutcome::Unknown(_) => count(&mut totals.unknown_vends),
        VendOutcome::Success => {
            let (vends, vends_minor) = match v.payment {
                Payment::Free => return count(&mut totals.free_vends),
                Payment::Test => return count(&mut totals.test_vends),
                Payment::Cash => (&mut totals.cash_vends, &mut totals.cash_vends_minor),
                Payment::Cashless { .. } => (&mut totals.cashless_vends, &mut totals.cashless_vends_minor),
                Payment::Remote => (&mut totals.remote_vends, &mut totals.remote_vends_minor),
            };
            count(vends);
            add(vends_minor, v.price_minor);
            count(&mut totals.vends);
            add(&mut totals.vends_minor, v.price_minor);
        }
    }
}

fn apply_settlement(totals: &mut Totals, s: &Settlement) {
    let to_owed = match s.what {
        Settled::Owed => s.amount_minor,
        Settled::PaidOut => s.amount_minor.saturating_neg(),
        Settled::PayoutUnknown | Settled::Captured | Settled::Voided | Settled::CashlessUnknown => 0,
    };
    add(&mut totals.owed_minor, to_owed);
    add(&mut totals.cash_out_minor, to_owed.saturating_neg());
}

fn add(total: &mut Minor, amount: Minor) {
    *total = total.saturating_add(amount);
}

fn count(total: &mut u64) {
    *total = total.saturating_add(1);
}
