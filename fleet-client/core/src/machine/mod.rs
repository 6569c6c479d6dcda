//! The state machine: what it remembers, what it takes, what it answers with.

mod books;
mod durable;
mod effect;
mod input;
mod refusal;
mod state;

pub use books::Books;
pub use durable::{
    CashlessStage, Configs, Durable, MAX_OPEN_CASHLESS, OpenCashless, PayoutIntent, Probation, SlotLevel,
    Stored, VendIntent,
};
pub use effect::{Commit, Display, Effect};
pub use input::{CashlessResult, Command, Input, Motor, Order, SlotUnits};
pub use refusal::Refusal;
pub use state::{OutOfService, Selection, State, View};

use crate::id::{BootId, Epoch, TransactionId};
use crate::record::ParentEpoch;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

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
#[derive(Clone, PartialEq, Debug)]
pub struct Machine {
    durable: Durable,
    configs: Configs,
    power_up: PowerUp,
    selection: Option<Selection>,
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
        let _ = (now, ids);
        let machine = Self { durable: stored.durable, configs: stored.configs, power_up, selection: None };
        let commit = Commit { records: Vec::new(), state: machine.durable.clone(), configs: None };
        (machine, alloc::vec![Effect::Commit(Box::new(commit))])
    }

    /// Takes one input and answers with what must be done, in order. There is at most one [`Effect::Commit`], and it
    /// is the first effect: nothing after it may be started before it is durable.
    ///
    /// # Errors
    /// A [`Refusal`] says why the machine does not take this input now; nothing has changed then, and nothing is to be
    /// done but to tell whoever caused it. A refused [`Input::InsertMoney`] means that the coin or bill goes back.
    pub fn handle(&mut self, now: Now, input: Input, ids: &mut Ids<'_>) -> Result<Vec<Effect>, Refusal> {
        let _ = (now, input, ids);
        Err(Refusal::NoConfig)
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
