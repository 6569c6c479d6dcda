//! The state machine: what it remembers, what it takes, what it answers with.

mod books;
mod boot;
mod cash;
mod cashless;
mod change;
mod configure;
mod durable;
mod effect;
mod input;
mod link;
mod refusal;
mod remote;
mod sale;
mod service;
mod state;
mod tick;
mod turn;
mod vend;

pub use books::Books;
pub use configure::{PROBATION_FAILED_VENDS, PROBATION_SHORT_BOOTS, PROBATION_UPTIME_MS};
pub use durable::{
    CashlessStage, Configs, Durable, MAX_OPEN_CASHLESS, OpenCashless, PayoutIntent, Probation, SlotLevel,
    Stored, VendIntent,
};
pub use effect::{Commit, Display, Effect};
pub use input::{CashlessResult, Command, Input, Motor, Order, SlotUnits};
pub use link::{RESERVED_PER_BOOT, RESERVED_RECORDS};
pub use refusal::Refusal;
pub use service::MAX_SLOTS_PER_RECORD;
pub use state::{OutOfService, Selection, State, View};
pub use tick::{MOTOR_TIMEOUT_MS, PAYOUT_TIMEOUT_MS};
pub use vend::{SLOT_FAULT_AFTER, SLOT_FAULT_CODE};

use crate::id::{BootId, Epoch, TransactionId};
use crate::record::ParentEpoch;
use crate::time::Now;
use alloc::string::String;
use alloc::vec::Vec;
use turn::Turn;

/// Makes a fresh UUIDv7 at each call; the core has no randomness of its own.
pub type Ids<'a> = dyn FnMut() -> TransactionId + 'a;

/// What is true of this power-up and this hardware.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PowerUp {
    /// This boot, random.
    pub boot: BootId,
    /// The journal's epoch; commands bound to another are refused.
    pub epoch: Epoch,
    /// Firmware version; cut to 64 bytes.
    pub firmware: String,
    /// Set when the journal's epoch is new and follows another.
    pub parent: Option<ParentEpoch>,
    /// Slot numbers the hardware has, in any order; a config that names another is refused. Empty: not checked.
    pub slots: Vec<u16>,
}

/// A vending machine: everything it decides. See the crate's front page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    durable: Durable,
    configs: Configs,
    power_up: PowerUp,
    /// Forgotten in a power cut, unlike the credit: nobody has paid for a choice.
    selection: Option<Selection>,
    journal_full: bool,
    online: bool,
    /// The terminal put something off.
    ask_again: bool,
    /// Uptime of the last thing a customer did.
    last_input_ms: u64,
    /// Uptime at which the motor or payout in hand was started.
    busy_since_ms: u64,
    /// Uptime of the last contact with the server in this boot.
    last_contact_ms: Option<u64>,
}

impl Machine {
    /// A machine fresh from the factory: no config, nothing inside, out of service until a config is applied. The
    /// effects are its first boot's.
    #[must_use]
    pub fn new(power_up: PowerUp, now: Now, ids: &mut Ids<'_>) -> (Self, Vec<Effect>) {
        Self::boot(Stored::default(), power_up, now, ids)
    }

    /// Rebuilds the machine after power-up from what the last carried-out [`Effect::Commit`] stored. The effects write
    /// the boot record and settle what the cut left open: a vend without outcome, a payout without result, cashless
    /// money neither captured nor voided. Nothing is dispensed and no payout is repeated.
    #[must_use]
    pub fn boot(stored: Stored, power_up: PowerUp, now: Now, ids: &mut Ids<'_>) -> (Self, Vec<Effect>) {
        let mut machine = Self {
            durable: stored.durable,
            configs: stored.configs,
            power_up,
            selection: None,
            journal_full: false,
            online: false,
            ask_again: false,
            last_input_ms: now.uptime_ms,
            busy_since_ms: now.uptime_ms,
            last_contact_ms: None,
        };
        let mut turn = Turn::new(now, ids);
        machine.power_up(&mut turn);
        machine.change_config_when_idle(&mut turn);
        let effects = turn.finish(&machine);
        (machine, effects)
    }

    /// Takes one input and answers with what must be done, in order. There is at most one [`Effect::Commit`], and it
    /// is the first effect: nothing after it may be started before it is durable.
    ///
    /// # Errors
    /// A [`Refusal`] says why the machine does not take this input now; nothing has changed then, and nothing is to be
    /// done but to tell whoever caused it. A refused [`Input::InsertMoney`] means that the coin or bill goes back.
    pub fn handle(&mut self, now: Now, input: Input, ids: &mut Ids<'_>) -> Result<Vec<Effect>, Refusal> {
        let mut turn = Turn::new(now, ids);
        self.take(&mut turn, input)?;
        self.change_config_when_idle(&mut turn);
        Ok(turn.finish(self))
    }

    /// Each handler refuses before it changes anything.
    fn take(&mut self, turn: &mut Turn<'_>, input: Input) -> Result<(), Refusal> {
        match input {
            Input::Select { slot } => self.select(turn, slot),
            Input::InsertMoney { denomination } => self.insert(turn, denomination),
            Input::PresentCard => self.present_card(turn),
            Input::CashlessApproved { transaction, reference, offline } => {
                self.approved(turn, transaction, &reference, offline)
            }
            Input::CashlessDeclined { transaction } => self.declined(turn, transaction),
            Input::CashlessSettled { transaction, result } => {
                self.cashless_settled(turn, transaction, result)
            }
            Input::Cancel => self.cancel(turn),
            Input::DispenseResult { transaction, motor } => self.dispense_result(turn, transaction, motor),
            Input::PayoutResult { transaction, paid } => self.payout_result(turn, transaction, &paid),
            Input::Refill { slots, tubes } => self.refill(turn, &slots, &tubes),
            Input::Audit { slots, tubes, box_minor } => self.audit(turn, &slots, tubes.as_ref(), box_minor),
            Input::CollectCash { box_minor, tubes } => self.collect(turn, box_minor, &tubes),
            Input::PayOwed { vend, amount_minor } => self.pay_owed(turn, vend, amount_minor),
            Input::TestVend { slot } => self.test_vend(turn, slot),
            Input::TakeOutOfService => self.set_out_of_service(turn, true),
            Input::ReturnToService => self.set_out_of_service(turn, false),
            Input::ConfigOffered(assignment) => self.config_offered(turn, assignment),
            Input::Command(command) => self.command(turn, &command),
            Input::HardwareFault(fault) => self.hardware_fault(turn, &fault),
            Input::ServerContact => self.server_contact(turn),
            Input::ServerLost => self.server_lost(),
            Input::JournalFull => self.set_journal_full(turn, true),
            Input::JournalRoom => self.set_journal_full(turn, false),
            Input::EpochOpened { epoch, parent } => self.epoch_opened(turn, epoch, parent),
            Input::Tick => self.tick(turn),
        }
    }

    /// What must survive a power cut, as it is after the last `handle`.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The configs in force, waiting and to go back to.
    #[must_use]
    pub fn configs(&self) -> &Configs {
        &self.configs
    }
}

/// At most `max` bytes of a text, cut between characters.
fn cut(text: &str, max: usize) -> String {
    String::from(&text[..text.floor_char_boundary(max)])
}
