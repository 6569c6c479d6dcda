//! The device: carries out what the machine decides, in order.
//!
//! [`Device::handle`] takes one input, gives it to [`vend_core::machine::Machine`], carries the effects out one after
//! the other and feeds every answer back in, until nothing is left to do. The first effect is the commit; when the journal
//! does not take it, nothing after it happens and the machine is as it was.
//!
//! It is blocking code, like the motors and the medium it drives. [`crate::unit`] runs it beside the sync agent.

mod error;
mod journal;
mod power;
#[cfg(test)]
mod tests;

pub use error::DeviceError;
pub use journal::SharedJournal;
pub use power::{CutPoint, Power};

use crate::context::Context;
use crate::hardware::{Authorised, Hardware, PaymentTerminal};
use crate::journal::{Committed, EpochOrder, JournalError, Room};
use std::collections::VecDeque;
use vend_core::id::Epoch;
use vend_core::machine::{Commit, Display, Effect, Input, Machine, Motor, PowerUp, Refusal};
use vend_core::money::Purse;
use vend_core::record::Record;

/// Most inputs that may follow from one: a vend needs three, a boot up to one per open cashless sale.
const MAX_FOLLOWING: usize = 128;

/// What a device is made of.
pub struct Parts {
    /// Time, ids.
    pub context: Context,
    /// Shared with the sync agent.
    pub journal: SharedJournal,
    /// Motors and coins.
    pub hardware: Box<dyn Hardware>,
    /// Card reader.
    pub terminal: Box<dyn PaymentTerminal>,
    /// Firmware version, at most 64 bytes.
    pub firmware: String,
    /// [`Power::steady`], unless a simulation holds the plug.
    pub power: Power,
}

/// Something that happened, told as it happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// These records are durable, and can't be lost any more.
    Committed {
        /// The journal's answer.
        committed: Committed,
        /// The records, in order, before telemetry was left out.
        records: Vec<Record>,
    },
    /// Show this.
    Show(Display),
    /// A motor answered.
    Dispensed {
        /// Slot.
        slot: u16,
        /// What it said.
        motor: Motor,
    },
    /// These pieces left the machine.
    PaidOut(Purse),
    /// The machine did not take the input; with money: it goes back.
    Refused(Refusal),
}

/// Where events go.
pub type Sink<'a> = dyn FnMut(Event) + 'a;

/// One machine, running.
pub struct Device {
    context: Context,
    journal: SharedJournal,
    hardware: Box<dyn Hardware>,
    terminal: Box<dyn PaymentTerminal>,
    power: Power,
    machine: Machine,
    epoch: Epoch,
    last_seq: u64,
    shown: Display,
    low_on_room: bool,
    /// Answers of the hardware that the journal had no room for; told again at each tick.
    unbooked: VecDeque<Input>,
}

impl Device {
    /// Boots a machine from what its journal holds, and settles what the last power cut left open.
    ///
    /// # Errors
    /// When the journal does not take the boot record.
    pub fn boot(parts: Parts, sink: &mut Sink<'_>) -> Result<Self, DeviceError> {
        let Parts { context, journal, hardware, terminal, firmware, power } = parts;
        let recovered = journal.with(|j| j.recovered().clone());
        if let Some(salvage) = &recovered.salvage {
            tracing::warn!(?salvage, "the journal was damaged and has been salvaged");
        }
        let power_up = PowerUp {
            boot: context.boot(),
            epoch: recovered.epoch,
            firmware,
            parent: recovered.parent,
            slots: hardware.slots(),
        };
        let now = context.now();
        let (machine, effects) =
            Machine::boot(recovered.stored, power_up, now, &mut || context.transaction_id());
        let mut device = Self {
            context,
            journal,
            hardware,
            terminal,
            power,
            machine,
            epoch: recovered.epoch,
            last_seq: recovered.last_seq,
            shown: Display::OutOfService,
            low_on_room: false,
            unbooked: VecDeque::new(),
        };
        let mut following = VecDeque::new();
        device.carry_out(effects, &mut following, sink)?;
        device.run(following, sink)?;
        Ok(device)
    }

    /// Takes one input and everything that follows from it.
    ///
    /// A [`Refusal`] is an event, not an error.
    ///
    /// # Errors
    /// When the journal's medium fails, or the power is cut: drop this device, open the journal again, boot.
    pub fn handle(&mut self, input: Input, sink: &mut Sink<'_>) -> Result<(), DeviceError> {
        let mut inputs = VecDeque::new();
        if input == Input::Tick {
            inputs.append(&mut self.unbooked);
        }
        inputs.push_back(input);
        self.run(inputs, sink)
    }

    /// Obeys the server's order to open a new epoch; an order about an epoch that is past is ignored.
    ///
    /// # Errors
    /// As [`Device::handle`].
    pub fn open_epoch(&mut self, order: &EpochOrder, sink: &mut Sink<'_>) -> Result<(), DeviceError> {
        let fresh = Epoch(self.context.random16());
        let Some(parent) = self.journal.with(|j| j.open_epoch(order, fresh))? else { return Ok(()) };
        tracing::warn!(reason = ?order.reason, last_common_seq = order.last_common_seq, "opening a new epoch");
        self.handle(Input::EpochOpened { epoch: fresh, parent }, sink)
    }

    /// The machine, to be looked at.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The epoch written into.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last record whose effect is in the machine's state.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// What was last shown.
    #[must_use]
    pub fn shown(&self) -> Display {
        self.shown
    }

    fn run(&mut self, mut inputs: VecDeque<Input>, sink: &mut Sink<'_>) -> Result<(), DeviceError> {
        for _ in 0..MAX_FOLLOWING {
            let Some(input) = inputs.pop_front() else { break };
            let before = self.machine.clone();
            let now = self.context.now();
            let context = &self.context;
            match self.machine.handle(now, input.clone(), &mut || context.transaction_id()) {
                Err(refusal) => sink(Event::Refused(refusal)),
                Ok(effects) => match self.carry_out(effects, &mut inputs, sink) {
                    Ok(()) => {}
                    Err(DeviceError::Journal(JournalError::Full(why))) => {
                        self.machine = before;
                        self.no_room(why, input, &mut inputs, sink);
                    }
                    Err(error) => return Err(error),
                },
            }
            self.watch_room(&mut inputs);
        }
        self.unbooked.append(&mut inputs);
        Ok(())
    }

    /// The effects in order; answers go to `following`. Only the commit, which comes first, can fail.
    fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        following: &mut VecDeque<Input>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DeviceError> {
        for effect in effects {
            self.power.before(&effect)?;
            match effect {
                Effect::Commit(commit) => self.commit(*commit, sink)?,
                Effect::Show(display) => {
                    self.shown = display;
                    sink(Event::Show(display));
                }
                Effect::Dispense { transaction, slot } => {
                    let motor = self.hardware.dispense(transaction, slot);
                    self.power.after(CutPoint::AfterMotor)?;
                    sink(Event::Dispensed { slot, motor });
                    following.push_back(Input::DispenseResult { transaction, motor });
                }
                Effect::PayOut { transaction, coins } => {
                    let paid = self.hardware.pay_out(transaction, &coins);
                    self.power.after(CutPoint::AfterPayout)?;
                    sink(Event::PaidOut(paid.clone()));
                    following.push_back(Input::PayoutResult { transaction, paid });
                }
                Effect::Authorise { transaction, amount_minor, offline_allowed } => {
                    let answer = self.terminal.authorise(transaction, amount_minor, offline_allowed);
                    following.push_back(match answer {
                        Authorised::Approved { reference, offline } => {
                            Input::CashlessApproved { transaction, reference, offline }
                        }
                        Authorised::Declined => Input::CashlessDeclined { transaction },
                    });
                }
                Effect::Settle { transaction, reference, amount_minor } => {
                    let result = self.terminal.settle(transaction, &reference, amount_minor);
                    following.push_back(Input::CashlessSettled { transaction, result });
                }
                Effect::Void { transaction, reference } => {
                    let result = self.terminal.void(transaction, &reference);
                    following.push_back(Input::CashlessSettled { transaction, result });
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, commit: Commit, sink: &mut Sink<'_>) -> Result<(), DeviceError> {
        let committed = self.journal.with(|j| j.commit(&commit))?;
        self.epoch = committed.epoch;
        self.last_seq = committed.last_seq;
        if !commit.records.is_empty() {
            sink(Event::Committed { committed, records: commit.records });
        }
        Ok(())
    }

    /// The journal had no room for what followed from `input`, and nothing of it happened. What a person did is refused;
    /// what the hardware has done stays done, and is told again when there may be room.
    fn no_room(&mut self, why: &str, input: Input, inputs: &mut VecDeque<Input>, sink: &mut Sink<'_>) {
        tracing::error!(why, "the journal is full");
        match input {
            Input::DispenseResult { .. }
            | Input::PayoutResult { .. }
            | Input::CashlessApproved { .. }
            | Input::CashlessDeclined { .. }
            | Input::CashlessSettled { .. } => self.unbooked.push_back(input),
            _ => sink(Event::Refused(Refusal::JournalFull)),
        }
        if !self.low_on_room {
            self.low_on_room = true;
            inputs.push_back(Input::JournalFull);
        }
    }

    fn watch_room(&mut self, inputs: &mut VecDeque<Input>) {
        let low = self.journal.with(|j| j.room()) != Room::Plenty;
        if low != self.low_on_room {
            self.low_on_room = low;
            inputs.push_back(if low { Input::JournalFull } else { Input::JournalRoom });
        }
    }
}
