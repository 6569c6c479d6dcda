//! A person's sale up to the intent: choosing, and leaving.

use super::durable::{CashlessStage, VendIntent};
use super::effect::{Display, Effect};
use super::turn::Turn;
use super::{Machine, Refusal, Selection};
use crate::record::Payment;

impl Machine {
    /// Pins slot, product, config and price. Goes straight on when it is free or the credit is enough.
    pub(super) fn select(&mut self, turn: &mut Turn<'_>, slot: u16) -> Result<(), Refusal> {
        self.check_free()?;
        self.check_selling()?;
        let planned = self.check_slot(slot)?;
        let (product, price_minor) = (planned.product, planned.price_minor);
        let config = self.durable.applied_config.ok_or(Refusal::NoConfig)?;
        if price_minor > 0 {
            self.check_change_for(price_minor)?;
        }
        let selection = Selection { transaction: turn.id(), slot, product, config, price_minor };
        self.selection = Some(selection);
        self.last_input_ms = turn.now.uptime_ms;
        if price_minor == 0 {
            self.start_vend(turn, self.intent_of(&selection, Payment::Free));
        } else if self.credit() >= price_minor {
            self.vend_for_cash(turn, &selection);
        } else {
            turn.then(Effect::Show(self.resting_display()));
        }
        Ok(())
    }

    pub(super) fn vend_for_cash(&mut self, turn: &mut Turn<'_>, selection: &Selection) {
        self.start_vend(turn, self.intent_of(selection, Payment::Cash));
    }

    pub(super) fn intent_of(&self, selection: &Selection, payment: Payment) -> VendIntent {
        VendIntent {
            transaction: selection.transaction,
            slot: selection.slot,
            product: selection.product,
            config: selection.config,
            price_minor: selection.price_minor,
            currency: self.durable.counters.currency,
            payment,
            command_number: 0,
        }
    }

    /// The customer wants out.
    pub(super) fn cancel(&mut self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        if self.durable.intent.is_some() || self.durable.payout.is_some() {
            return Err(Refusal::Busy);
        }
        if !self.in_use() {
            return Err(Refusal::Empty);
        }
        self.turn_away(turn);
        Ok(())
    }

    /// Drops a selection, voids an authorisation under way and gives credit back. A vend or payout in hand goes on.
    pub(super) fn turn_away(&mut self, turn: &mut Turn<'_>) {
        if self.durable.intent.is_some() || self.durable.payout.is_some() || !self.in_use() {
            return;
        }
        self.selection = None;
        if let Some(open) = self.durable.cashless.iter_mut().find(|c| c.stage == CashlessStage::Authorising) {
            open.stage = CashlessStage::Voiding;
            let (transaction, reference) = (open.transaction, open.reference.clone());
            turn.touch();
            turn.then(Effect::Void { transaction, reference });
        }
        if self.credit() > 0 {
            self.return_credit(turn);
        } else {
            turn.then(Effect::Show(Display::Returned { amount_minor: 0, owed_minor: 0 }));
        }
    }
}
