//! Cashless: authorise, vend, settle or void; and the budget of what may be sold without the network.

use super::durable::{CashlessStage, MAX_OPEN_CASHLESS, OpenCashless};
use super::effect::{Display, Effect};
use super::input::CashlessResult;
use super::turn::Turn;
use super::{Machine, Refusal, cut};
use crate::id::TransactionId;
use crate::money::Minor;
use crate::record::{Payment, Settled};
use crate::time::{ClockQuality, Now};
use alloc::string::String;

impl Machine {
    /// The request is durable before the terminal is asked, so a cut leaves something to void.
    pub(super) fn present_card(&mut self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        self.check_free()?;
        self.check_selling()?;
        let selection = self.selection.ok_or(Refusal::NoSelection)?;
        if self.credit() > 0 {
            return Err(Refusal::CashInside);
        }
        if self.durable.cashless.len() >= MAX_OPEN_CASHLESS {
            return Err(Refusal::CashlessBacklog);
        }
        let amount_minor = selection.price_minor;
        let offline_allowed = self.offline_allowed(turn.now, amount_minor);
        if !self.online && !offline_allowed {
            return Err(Refusal::OfflineBudget);
        }
        let transaction = selection.transaction;
        self.durable.cashless.push(OpenCashless {
            transaction,
            amount_minor,
            reference: String::new(),
            offline: false,
            stage: CashlessStage::Authorising,
        });
        self.last_input_ms = turn.now.uptime_ms;
        turn.touch();
        turn.then(Effect::Show(Display::Authorising { amount_minor }));
        turn.then(Effect::Authorise { transaction, amount_minor, offline_allowed });
        Ok(())
    }

    pub(super) fn approved(
        &mut self,
        turn: &mut Turn<'_>,
        transaction: TransactionId,
        reference: &str,
        offline: bool,
    ) -> Result<(), Refusal> {
        let at = self.asked(transaction, &[CashlessStage::Authorising])?;
        let selection = self.selection.filter(|s| s.transaction == transaction).ok_or(Refusal::NotAsked)?;
        let reference = cut(reference, 64);
        let within = !offline || self.offline_allowed(turn.now, selection.price_minor);
        self.last_input_ms = turn.now.uptime_ms;
        let open = &mut self.durable.cashless[at];
        open.reference.clone_from(&reference);
        open.offline = offline;
        if within {
            open.stage = CashlessStage::Approved;
            self.start_vend(turn, self.intent_of(&selection, Payment::Cashless { reference, offline }));
        } else {
            open.stage = CashlessStage::Voiding;
            self.renew_selection(turn);
            turn.touch();
            turn.then(Effect::Void { transaction, reference });
            turn.then(Effect::Show(Display::Declined));
        }
        Ok(())
    }

    /// The choice stays, so that it can be paid in another way.
    pub(super) fn declined(
        &mut self,
        turn: &mut Turn<'_>,
        transaction: TransactionId,
    ) -> Result<(), Refusal> {
        let at = self.asked(transaction, &[CashlessStage::Authorising])?;
        self.durable.cashless.remove(at);
        self.renew_selection(turn);
        self.last_input_ms = turn.now.uptime_ms;
        turn.touch();
        turn.then(Effect::Show(Display::Declined));
        Ok(())
    }

    /// The terminal is asked for a transaction once: the next try at the same choice is a new one.
    fn renew_selection(&mut self, turn: &mut Turn<'_>) {
        if let Some(selection) = &mut self.selection {
            selection.transaction = turn.id();
        }
    }

    pub(super) fn cashless_settled(
        &mut self,
        turn: &mut Turn<'_>,
        transaction: TransactionId,
        result: CashlessResult,
    ) -> Result<(), Refusal> {
        let at = self.asked(transaction, &[CashlessStage::Capturing, CashlessStage::Voiding])?;
        if self.journal_full {
            // Asked again when there is room to write the answer down.
            return Err(Refusal::JournalFull);
        }
        if result == CashlessResult::Later {
            self.ask_again = true;
            return Ok(());
        }
        let open = self.durable.cashless.remove(at);
        let what = match (result, open.stage) {
            (CashlessResult::Done, CashlessStage::Capturing) => Settled::Captured,
            (CashlessResult::Done, _) => Settled::Voided,
            (CashlessResult::Unknown | CashlessResult::Later, _) => Settled::CashlessUnknown,
        };
        self.write_settlement(turn, transaction, what, open.amount_minor);
        Ok(())
    }

    /// Asks the terminal again for everything it has not yet captured or voided.
    pub(super) fn ask_terminal_again(&mut self, turn: &mut Turn<'_>) {
        self.ask_again = false;
        for open in &self.durable.cashless {
            let (transaction, reference) = (open.transaction, open.reference.clone());
            match open.stage {
                CashlessStage::Capturing => {
                    turn.then(Effect::Settle { transaction, reference, amount_minor: open.amount_minor });
                }
                CashlessStage::Voiding => turn.then(Effect::Void { transaction, reference }),
                CashlessStage::Authorising | CashlessStage::Approved => {}
            }
        }
    }

    fn asked(&self, transaction: TransactionId, stages: &[CashlessStage]) -> Result<usize, Refusal> {
        let open = |c: &OpenCashless| c.transaction == transaction && stages.contains(&c.stage);
        self.durable.cashless.iter().position(open).ok_or(Refusal::NotAsked)
    }

    /// One more offline sale of this amount is within the budget: per sale, total, count and age.
    fn offline_allowed(&self, now: Now, amount_minor: Minor) -> bool {
        let Some(budget) = self.config().map(|c| c.offline_cashless) else { return false };
        let unsettled = || self.durable.cashless.iter().filter(|c| c.offline);
        let total = unsettled().fold(amount_minor, |sum, c| sum.saturating_add(c.amount_minor));
        amount_minor <= budget.per_sale_minor
            && total <= budget.total_minor
            && unsettled().count() < usize::try_from(budget.count).unwrap_or(usize::MAX)
            && self.contact_age_ms(now).is_some_and(|age| age <= budget.age_ms)
    }

    /// Milliseconds since the server was last heard; `None` when that can't be said, which counts as too long.
    fn contact_age_ms(&self, now: Now) -> Option<u64> {
        if let Some(at) = self.last_contact_ms {
            return Some(now.uptime_ms.saturating_sub(at));
        }
        let wall = self.durable.last_contact_wall_ms.filter(|_| now.clock != ClockQuality::Unset)?;
        u64::try_from(now.wall_ms.checked_sub(wall)?).ok()
    }
}
