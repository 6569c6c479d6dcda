//! Power-up: what the cut left open is settled once, in one commit, and nothing is done twice.

use super::Machine;
use super::durable::CashlessStage;
use super::effect::Effect;
use super::turn::Turn;
use crate::record::{Body, Boot, ParentEpoch, VendOutcome};

impl Machine {
    /// The boot record, then in order: the payout whose result is lost, the vend whose outcome is lost (its refund is
    /// the payout in hand from here on), cashless money that nobody will vend for.
    pub(super) fn power_up(&mut self, turn: &mut Turn<'_>) {
        self.durable.boot_count = self.durable.boot_count.saturating_add(1);
        self.write_boot(turn, self.power_up.parent);
        self.give_up_payout(turn);
        if let Some(intent) = self.durable.intent.take() {
            let outcome = VendOutcome::Unknown(self.unknown_policy());
            self.end_vend(turn, intent, outcome);
        }
        for open in &mut self.durable.cashless {
            if matches!(open.stage, CashlessStage::Authorising | CashlessStage::Approved) {
                open.stage = CashlessStage::Voiding;
            }
        }
        self.ask_terminal_again(turn);
        if let Some(probation) = &mut self.durable.probation {
            probation.short_boots = probation.short_boots.saturating_add(1);
        }
        turn.then(Effect::Show(self.resting_display()));
    }

    pub(super) fn write_boot(&mut self, turn: &mut Turn<'_>, parent: Option<ParentEpoch>) {
        let firmware = super::cut(&self.power_up.firmware, 64);
        turn.write(self, Body::Boot(Boot { firmware, boot_count: self.durable.boot_count, parent }));
    }
}
