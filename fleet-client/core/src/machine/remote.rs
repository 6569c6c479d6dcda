//! Numbered commands. A number is journalled once, with its result or with the intent, and never carried out again.

use super::durable::VendIntent;
use super::effect::Effect;
use super::input::{Command, Order};
use super::turn::Turn;
use super::{Machine, Refusal};
use crate::money::MAX_AMOUNT_MINOR;
use crate::record::{Body, CommandResult, Payment};
use alloc::string::String;

impl Machine {
    /// A command that can't be carried out is journalled with its reason; that is not a refused input.
    pub(super) fn command(&mut self, turn: &mut Turn<'_>, command: &Command) -> Result<(), Refusal> {
        let number = command.number;
        if number <= self.durable.commands_through {
            return Err(Refusal::OldCommand(self.durable.commands_through));
        }
        if self.journal_full {
            return Err(Refusal::JournalFull);
        }
        let reason = match self.check_bound(turn, command).and_then(|()| self.prepare(&command.order)) {
            Ok(Some(mut intent)) => {
                intent.command_number = number;
                self.durable.commands_through = number;
                self.start_vend(turn, intent);
                return Ok(());
            }
            Ok(None) => "",
            Err(reason) => reason,
        };
        self.durable.commands_through = number;
        let done = reason.is_empty();
        turn.write(self, Body::CommandResult(CommandResult { number, done, reason: String::from(reason) }));
        if done {
            self.durable.out_of_service = command.order == Order::OutOfService;
            if self.durable.out_of_service {
                self.turn_away(turn);
            }
            turn.then(Effect::Show(self.resting_display()));
        }
        Ok(())
    }

    /// The epoch, boot and time it was meant for.
    fn check_bound(&self, turn: &Turn<'_>, command: &Command) -> Result<(), &'static str> {
        if command.epoch != self.power_up.epoch {
            Err("WRONG_EPOCH")
        } else if command.boot.is_some_and(|boot| boot != self.power_up.boot) {
            Err("WRONG_BOOT")
        } else if command.expires_uptime_ms.is_some_and(|at| turn.now.uptime_ms > at) {
            Err("EXPIRED")
        } else {
            Ok(())
        }
    }

    /// The vend an order asks for, if it asks for one. The person who stands there goes first.
    fn prepare(&self, order: &Order) -> Result<Option<VendIntent>, &'static str> {
        let Order::Dispense { transaction, slot, product, price_minor, currency } = *order else {
            return Ok(None);
        };
        self.check_idle().map_err(|_| "MACHINE_BUSY")?;
        let config = self.durable.applied_config.ok_or("NO_CONFIG")?;
        self.check_selling().map_err(reason)?;
        let planned = self.check_slot(slot).map_err(reason)?;
        if planned.product != product {
            return Err("WRONG_PRODUCT");
        }
        if currency != self.durable.counters.currency {
            return Err("WRONG_CURRENCY");
        }
        if !(0..=MAX_AMOUNT_MINOR).contains(&price_minor) {
            return Err("BAD_PRICE");
        }
        let payment = Payment::Remote;
        Ok(Some(VendIntent {
            transaction,
            slot,
            product,
            config,
            price_minor,
            currency,
            payment,
            command_number: 0,
        }))
    }
}

fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::SlotEmpty(_) | Refusal::SoldOut => "SLOT_EMPTY",
        Refusal::SlotFaulted(_) => "SLOT_FAULTED",
        Refusal::UnknownSlot(_) => "UNKNOWN_SLOT",
        Refusal::NoConfig => "NO_CONFIG",
        _ => "OUT_OF_SERVICE",
    }
}
