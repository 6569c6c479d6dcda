//! What survives a power cut.

use crate::config::Assignment;
use crate::counters::Counters;
use crate::id::{ConfigId, ProductId, TransactionId};
use crate::money::{Currency, Minor, Purse};
use crate::record::Payment;
use alloc::string::String;
use alloc::vec::Vec;

/// Most cashless sales that are neither captured nor voided; at this many, cards are refused.
pub const MAX_OPEN_CASHLESS: usize = 32;

/// Everything the journal gives back at power-up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stored {
    /// From [`crate::machine::Commit::state`].
    pub durable: Durable,
    /// From the last [`crate::machine::Commit::configs`] that was set.
    pub configs: Configs,
}

/// What the machine must remember; small, because each commit writes it anew. `Default` is a machine from the factory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Durable {
    /// Lifetime and since-reset totals: the fold of [`crate::counters::apply`] over the records written.
    pub counters: Counters,
    /// One level per slot of the config in force, rising by slot number, at most 256.
    pub slots: Vec<SlotLevel>,
    /// Coins in the tubes, by the machine's own count, at most 32 denominations.
    pub tubes: Purse,
    /// Cash in the box, minor units, by the machine's own count.
    pub box_minor: Minor,
    /// What the customer has put in and not yet spent or got back, by denomination. The pieces are already in tubes or
    /// box; this says whose they are.
    pub credit: Purse,
    /// A vend whose motor may have run and whose outcome is not written yet.
    pub intent: Option<VendIntent>,
    /// A payout that may have begun and whose result is not known yet.
    pub payout: Option<PayoutIntent>,
    /// Cashless money neither captured nor voided, at most [`MAX_OPEN_CASHLESS`].
    pub cashless: Vec<OpenCashless>,
    /// Cash kept without a successful vend, minor units: vends of unknown outcome under the policies keep and ask.
    pub kept_minor: Minor,
    /// Counted cash minus booked cash over all audits and collections, minor units, signed.
    pub adjusted_minor: Minor,
    /// Taken out of service by an operator or a command.
    pub out_of_service: bool,
    /// Number of the assignment in force; 0: none.
    pub applied_number: u64,
    /// Config in force.
    pub applied_config: Option<ConfigId>,
    /// Highest assignment number refused or gone back from; 0: none.
    pub rejected_number: u64,
    /// Set while the config in force has not yet proved itself.
    pub probation: Option<Probation>,
    /// Highest command number journalled; lower or equal ones are never carried out.
    pub commands_through: u64,
    /// How often this machine has booted.
    pub boot_count: u64,
    /// Wall clock at the last contact with the server, if it could be believed. Rides along with other commits.
    pub last_contact_wall_ms: Option<i64>,
}

impl Durable {
    /// Highest command number whose result is journalled: what a sync reports. One that is being dispensed has none.
    #[must_use]
    pub fn commands_done_through(&self) -> u64 {
        match &self.intent {
            Some(intent) if intent.command_number > 0 => intent.command_number - 1,
            _ => self.commands_through,
        }
    }
}

/// What is in a slot, by the machine's own count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotLevel {
    /// Slot (MDB item) number.
    pub slot: u16,
    /// Product the level is about.
    pub product: ProductId,
    /// Units.
    pub units: u32,
    /// Motor failures in a row; a success, refill or audit ends the row.
    pub failures: u8,
    /// Not sold from until refilled, audited or vended in a test.
    pub faulted: bool,
}

/// A vend that was promised to the motor: pinned product, config and price.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VendIntent {
    /// The sale.
    pub transaction: TransactionId,
    /// Slot to drive.
    pub slot: u16,
    /// Product in it at selection.
    pub product: ProductId,
    /// Config in force at selection.
    pub config: ConfigId,
    /// Price shown, minor units.
    pub price_minor: Minor,
    /// Whose minor units.
    pub currency: Currency,
    /// How it is paid; with `Cash` the money is [`Durable::credit`].
    pub payment: Payment,
    /// The command it carries out; 0: none.
    pub command_number: u64,
}

/// Coins that were promised to the payout motors; already taken out of [`Durable::tubes`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PayoutIntent {
    /// The sale (or the returned credit) it belongs to.
    pub transaction: TransactionId,
    /// Pieces to pay.
    pub coins: Purse,
}

/// Cashless money that is neither captured nor voided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenCashless {
    /// The sale.
    pub transaction: TransactionId,
    /// Amount asked for, minor units.
    pub amount_minor: Minor,
    /// The terminal's reference, at most 64 bytes; empty until approved.
    pub reference: String,
    /// Approved without the network: counts against the offline budget until captured or voided.
    pub offline: bool,
    /// How far it is.
    pub stage: CashlessStage,
}

/// How far a cashless payment is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CashlessStage {
    /// The terminal was asked.
    Authorising,
    /// Approved; the vend is in hand.
    Approved,
    /// The vend succeeded; the terminal is to capture.
    Capturing,
    /// The money is to be given back.
    Voiding,
}

/// How a config that has just been applied is doing. It ends with the first successful vend.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Probation {
    /// Failed vends in a row under it.
    pub failed_vends: u8,
    /// Boots in a row under it that did not last.
    pub short_boots: u8,
}

/// Configs a machine holds. Big and seldom changed, so stored apart from [`Durable`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Configs {
    /// In force.
    pub current: Option<Assignment>,
    /// What to go back to while the current one is on probation; out of use after.
    pub last_known_good: Option<Assignment>,
    /// Checked, and waiting until nobody is using the machine.
    pub pending: Option<Assignment>,
}
