//! Cash: coins and bills in, credit, change, and everything that goes back.

use super::change::{give_back, make_change};
use super::durable::PayoutIntent;
use super::effect::{Display, Effect};
use super::turn::Turn;
use super::{Machine, Refusal};
use crate::id::TransactionId;
use crate::money::{Minor, Purse, count_of, put, take, worth};
use crate::record::{Body, CashIn, Settled, Settlement};

/// Where an accepted piece will fall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Falls {
    IntoTube,
    IntoBox,
}

impl Machine {
    /// A piece is taken only if it can be given back: as the refund of everything inside, and as change if it makes
    /// the credit sufficient.
    pub(super) fn check_insert(&self, denomination: Minor) -> Result<Falls, Refusal> {
        self.check_free()?;
        self.check_selling()?;
        let cash = &self.config().ok_or(Refusal::NoConfig)?.cash;
        if !cash.accepted.contains(&denomination) {
            return Err(Refusal::NotAccepted(denomination));
        }
        let credit_after = self.credit().saturating_add(denomination);
        if credit_after > cash.max_credit_minor {
            return Err(Refusal::CreditLimit(cash.max_credit_minor));
        }
        let mut tubes = self.payable();
        let room = cash.tubes.iter().find(|t| t.denomination == denomination).map_or(0, |t| t.capacity);
        let falls = if count_of(&self.durable.tubes, denomination) < room {
            put(&mut tubes, denomination, 1);
            Falls::IntoTube
        } else {
            Falls::IntoBox
        };
        let mut credit = self.durable.credit.clone();
        put(&mut credit, denomination, 1);
        if worth(&give_back(&tubes, &credit)) < credit_after {
            return Err(Refusal::ExactChangeOnly);
        }
        if let Some(selection) = &self.selection {
            check_change(&tubes, credit_after.saturating_sub(selection.price_minor))?;
        }
        Ok(falls)
    }

    /// A coin is durable before it shows as credit; the one that makes the credit sufficient carries the intent.
    pub(super) fn insert(&mut self, turn: &mut Turn<'_>, denomination: Minor) -> Result<(), Refusal> {
        match self.check_insert(denomination)? {
            Falls::IntoTube => put(&mut self.durable.tubes, denomination, 1),
            Falls::IntoBox => self.durable.box_minor = self.durable.box_minor.saturating_add(denomination),
        }
        put(&mut self.durable.credit, denomination, 1);
        self.last_input_ms = turn.now.uptime_ms;
        turn.touch();
        turn.then(Effect::Show(Display::Credit {
            credit_minor: self.credit(),
            selected: self.selection.map(|s| (s.slot, s.price_minor)),
        }));
        if let Some(selection) = self.selection.filter(|s| self.credit() >= s.price_minor) {
            self.vend_for_cash(turn, &selection);
        }
        Ok(())
    }

    /// Change for the credit inside could be paid, if the credit is enough for this price.
    pub(super) fn check_change_for(&self, price_minor: Minor) -> Result<(), Refusal> {
        check_change(&self.payable(), self.credit().saturating_sub(price_minor))
    }

    /// Coins that can be paid out: those in a tube the config in force knows.
    pub(super) fn payable(&self) -> Purse {
        let tubes = self.config().map_or(&[][..], |c| &c.cash.tubes);
        let known = |denomination| tubes.iter().any(|t| t.denomination == denomination);
        self.durable.tubes.iter().copied().filter(|p| known(p.denomination)).collect()
    }

    /// The coins to give all credit back.
    pub(super) fn refund_of_credit(&self) -> Purse {
        give_back(&self.payable(), &self.durable.credit)
    }

    /// The coins to pay `amount`.
    pub(super) fn change_of(&self, amount: Minor) -> Purse {
        make_change(&self.payable(), amount)
    }

    /// Gives back what went in and was not spent.
    pub(super) fn return_credit(&mut self, turn: &mut Turn<'_>) {
        let inserted_minor = self.credit();
        if inserted_minor == 0 {
            return;
        }
        let transaction = turn.id();
        let currency = self.durable.counters.currency;
        let coins = self.refund_of_credit();
        let amount_minor = worth(&coins);
        let owed_minor = inserted_minor - amount_minor;
        self.durable.credit.clear();
        turn.write(self, Body::CashIn(CashIn { transaction, amount_minor: 0, inserted_minor, currency }));
        self.write_owed(turn, transaction, owed_minor);
        self.pay_out(turn, transaction, coins);
        turn.then(Effect::Show(Display::Returned { amount_minor, owed_minor }));
    }

    /// Books an amount that was meant to be paid and is not.
    pub(super) fn write_owed(&mut self, turn: &mut Turn<'_>, vend: TransactionId, amount_minor: Minor) {
        if amount_minor > 0 {
            self.write_settlement(turn, vend, Settled::Owed, amount_minor);
        }
    }

    pub(super) fn write_settlement(
        &mut self,
        turn: &mut Turn<'_>,
        vend: TransactionId,
        what: Settled,
        amount_minor: Minor,
    ) {
        let settlement_id = turn.id();
        let currency = self.durable.counters.currency;
        turn.write(self, Body::Settlement(Settlement { settlement_id, vend, what, amount_minor, currency }));
    }

    /// Promises coins to the payout motors. They leave the books here: whatever happens next, they are not paid twice.
    pub(super) fn pay_out(&mut self, turn: &mut Turn<'_>, transaction: TransactionId, coins: Purse) {
        if coins.is_empty() {
            return;
        }
        take(&mut self.durable.tubes, &coins);
        self.durable.payout = Some(PayoutIntent { transaction, coins: coins.clone() });
        self.busy_since_ms = turn.now.uptime_ms;
        turn.touch();
        turn.then(Effect::PayOut { transaction, coins });
    }

    /// Coins that did not leave are in their tubes again, and owed.
    pub(super) fn payout_result(
        &mut self,
        turn: &mut Turn<'_>,
        transaction: TransactionId,
        paid: &Purse,
    ) -> Result<(), Refusal> {
        let intent =
            self.durable.payout.take_if(|p| p.transaction == transaction).ok_or(Refusal::NotAsked)?;
        let mut unpaid = Purse::new();
        for asked in &intent.coins {
            let count = asked.count.saturating_sub(count_of(paid, asked.denomination));
            put(&mut unpaid, asked.denomination, count);
            put(&mut self.durable.tubes, asked.denomination, count);
        }
        self.write_owed(turn, transaction, worth(&unpaid));
        self.last_input_ms = turn.now.uptime_ms;
        turn.touch();
        turn.then(Effect::Show(self.resting_display()));
        Ok(())
    }

    /// Nobody will ever know how much of a payout left the machine. It stays booked as paid and is never repeated.
    pub(super) fn give_up_payout(&mut self, turn: &mut Turn<'_>) {
        if let Some(payout) = self.durable.payout.take() {
            self.write_settlement(turn, payout.transaction, Settled::PayoutUnknown, worth(&payout.coins));
        }
    }
}

fn check_change(tubes: &Purse, change: Minor) -> Result<(), Refusal> {
    if change <= 0 || worth(&make_change(tubes, change)) == change {
        Ok(())
    } else {
        Err(Refusal::ExactChangeOnly)
    }
}
