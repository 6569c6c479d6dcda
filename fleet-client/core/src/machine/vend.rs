//! The vend itself: intent, motor, outcome.

use super::durable::{CashlessStage, VendIntent};
use super::effect::{Display, Effect};
use super::input::Motor;
use super::turn::Turn;
use super::{Machine, Refusal};
use crate::id::TransactionId;
use crate::money::{Minor, Purse, worth};
use crate::record::{Body, CommandResult, Fault, Payment, Settled, UnknownPolicy, Vend, VendOutcome};
use alloc::string::String;

/// Motor failures in a row after which a slot is not sold from until somebody has looked at it.
pub const SLOT_FAULT_AFTER: u8 = 2;
/// Code of the fault record that says a slot is not sold from, and of the one that says it is again.
pub const SLOT_FAULT_CODE: &str = "SLOT_OUT_OF_ORDER";

impl Machine {
    /// Write before the motor: the intent is in the commit that precedes the dispense effect.
    pub(super) fn start_vend(&mut self, turn: &mut Turn<'_>, intent: VendIntent) {
        let (transaction, slot) = (intent.transaction, intent.slot);
        self.selection = None;
        self.durable.intent = Some(intent);
        self.busy_since_ms = turn.now.uptime_ms;
        turn.touch();
        turn.then(Effect::Show(Display::Dispensing { slot }));
        turn.then(Effect::Dispense { transaction, slot });
    }

    pub(super) fn dispense_result(
        &mut self,
        turn: &mut Turn<'_>,
        transaction: TransactionId,
        motor: Motor,
    ) -> Result<(), Refusal> {
        let intent =
            self.durable.intent.take_if(|i| i.transaction == transaction).ok_or(Refusal::NotAsked)?;
        let outcome = match motor {
            Motor::Success => VendOutcome::Success,
            Motor::Failure => VendOutcome::Failure,
        };
        self.last_input_ms = turn.now.uptime_ms;
        self.end_vend(turn, intent, outcome);
        Ok(())
    }

    /// The one place a vend ends: its record, its money, its unit, in one commit.
    pub(super) fn end_vend(&mut self, turn: &mut Turn<'_>, intent: VendIntent, outcome: VendOutcome) {
        let money = self.settle_cash(&intent, outcome);
        let (transaction, slot, price_minor) = (intent.transaction, intent.slot, intent.price_minor);
        let command_number = intent.command_number;
        let payout_intent_minor = worth(&money.coins);
        let cashless = matches!(intent.payment, Payment::Cashless { .. });
        turn.write(
            self,
            Body::Vend(Vend {
                transaction,
                slot,
                product: intent.product,
                config: intent.config,
                price_minor,
                currency: intent.currency,
                payment: intent.payment,
                outcome,
                cash_in_minor: money.cash_in_minor,
                payout_intent_minor,
                owed_minor: money.owed_minor,
                command_number,
            }),
        );
        if command_number > 0 {
            turn.write(self, Body::CommandResult(result_of(command_number, outcome)));
        }
        self.count_unit(turn, slot, outcome);
        self.judge_config(outcome);
        self.pay_out(turn, transaction, money.coins);
        if cashless {
            self.settle_cashless(turn, transaction, outcome);
        }
        let owed_minor = money.owed_minor;
        turn.then(Effect::Show(match outcome {
            VendOutcome::Success => Display::Vended { change_minor: payout_intent_minor, owed_minor },
            VendOutcome::Failure | VendOutcome::Unknown(_) => {
                Display::VendFailed { refund_minor: payout_intent_minor, owed_minor }
            }
        }));
    }

    /// Decides over the credit of a cash vend: change for what was sold or kept, all of it back otherwise.
    fn settle_cash(&mut self, intent: &VendIntent, outcome: VendOutcome) -> CashOutcome {
        if intent.payment != Payment::Cash {
            return CashOutcome { cash_in_minor: 0, coins: Purse::new(), owed_minor: 0 };
        }
        let cash_in_minor = self.credit();
        let (coins, due) = match outcome {
            VendOutcome::Failure | VendOutcome::Unknown(UnknownPolicy::Refund) => {
                (self.refund_of_credit(), cash_in_minor)
            }
            VendOutcome::Success | VendOutcome::Unknown(UnknownPolicy::Keep | UnknownPolicy::Ask) => {
                let change = cash_in_minor.saturating_sub(intent.price_minor).max(0);
                (self.change_of(change), change)
            }
        };
        if outcome != VendOutcome::Success {
            self.durable.kept_minor = self.durable.kept_minor.saturating_add(cash_in_minor - due);
        }
        self.durable.credit.clear();
        let owed_minor = due - worth(&coins);
        CashOutcome { cash_in_minor, coins, owed_minor }
    }

    /// A unit that may have fallen is gone. A motor that fails in a row takes its slot out.
    fn count_unit(&mut self, turn: &mut Turn<'_>, slot: u16, outcome: VendOutcome) {
        let Some(level) = self.level_mut(slot) else { return };
        match outcome {
            VendOutcome::Success => {
                level.units = level.units.saturating_sub(1);
                level.failures = 0;
                self.set_slot_fault(turn, slot, false, "a vend succeeded");
            }
            VendOutcome::Unknown(_) => level.units = level.units.saturating_sub(1),
            VendOutcome::Failure => {
                level.failures = level.failures.saturating_add(1);
                if level.failures >= SLOT_FAULT_AFTER {
                    self.set_slot_fault(turn, slot, true, "failed vends in a row");
                }
            }
        }
    }

    /// Takes a slot out or in, and writes it down when that is news: one code, so that the end finds its beginning.
    pub(super) fn set_slot_fault(&mut self, turn: &mut Turn<'_>, slot: u16, faulted: bool, why: &str) {
        let Some(level) = self.level_mut(slot) else { return };
        if level.faulted == faulted {
            return;
        }
        level.faulted = faulted;
        if !faulted {
            level.failures = 0;
        }
        let (code, detail) = (SLOT_FAULT_CODE.into(), why.into());
        let fault = Fault { code, slot: Some(slot), detail, cleared: !faulted };
        turn.write(self, Body::Fault(fault));
    }

    fn settle_cashless(&mut self, turn: &mut Turn<'_>, transaction: TransactionId, outcome: VendOutcome) {
        let Some(at) = self.durable.cashless.iter().position(|c| c.transaction == transaction) else {
            return;
        };
        let open = &mut self.durable.cashless[at];
        let (amount_minor, reference) = (open.amount_minor, open.reference.clone());
        match outcome {
            VendOutcome::Success | VendOutcome::Unknown(UnknownPolicy::Keep) => {
                open.stage = CashlessStage::Capturing;
                turn.then(Effect::Settle { transaction, reference, amount_minor });
            }
            VendOutcome::Failure | VendOutcome::Unknown(UnknownPolicy::Refund) => {
                open.stage = CashlessStage::Voiding;
                turn.then(Effect::Void { transaction, reference });
            }
            VendOutcome::Unknown(UnknownPolicy::Ask) => {
                self.durable.cashless.remove(at);
                self.write_settlement(turn, transaction, Settled::CashlessUnknown, amount_minor);
            }
        }
    }

    pub(super) fn unknown_policy(&self) -> UnknownPolicy {
        self.config().map_or(UnknownPolicy::default(), |c| c.unknown_policy)
    }
}

struct CashOutcome {
    cash_in_minor: Minor,
    coins: Purse,
    owed_minor: Minor,
}

fn result_of(number: u64, outcome: VendOutcome) -> CommandResult {
    let reason = match outcome {
        VendOutcome::Success => "",
        VendOutcome::Failure => "VEND_FAILED",
        VendOutcome::Unknown(_) => "OUTCOME_UNKNOWN",
    };
    CommandResult { number, done: outcome == VendOutcome::Success, reason: String::from(reason) }
}
