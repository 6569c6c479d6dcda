//! What a machine writes down. A record's bytes and hash are the codec's (`vendfleet-wire`); here is its meaning.

use crate::counters::Totals;
use crate::id::{ConfigId, Epoch, ProductId, TransactionId};
use crate::money::{Currency, Minor, Purse};
use crate::time::Stamp;
use alloc::string::String;
use alloc::vec::Vec;

/// One numbered entry of the journal before it has its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// When and in which boot it was written.
    pub stamp: Stamp,
    /// Lifetime totals after this record; present on every money and vend record, on `Boot` and on `Audit`.
    pub lifetime_after: Option<Totals>,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// The machine started.
    Boot(Boot),
    /// A vend, written once, with its outcome.
    Vend(Vend),
    /// A later fact about an earlier vend's money: refund, payout, capture, void.
    Settlement(Settlement),
    /// Cash that came in and belongs to no sale (kept credit, found coins).
    CashIn(CashIn),
    /// Slots filled.
    Refill(Refill),
    /// Counted levels and cash: what is, not what was done.
    Audit(Audit),
    /// Box or tubes emptied by an operator; resets the since-reset totals.
    CashCollected(CashCollected),
    /// Something broke or healed.
    Fault(Fault),
    /// An offered config was applied or refused.
    ConfigVerdict(ConfigVerdict),
    /// A numbered command was carried out or refused.
    CommandResult(CommandResult),
}

impl Body {
    /// The record's kind, as named beside the body.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Boot(_) => Kind::Boot,
            Self::Vend(_) => Kind::Vend,
            Self::Settlement(_) => Kind::Settlement,
            Self::CashIn(_) => Kind::CashIn,
            Self::Refill(_) => Kind::Refill,
            Self::Audit(_) => Kind::Audit,
            Self::CashCollected(_) => Kind::CashCollected,
            Self::Fault(_) => Kind::Fault,
            Self::ConfigVerdict(_) => Kind::ConfigVerdict,
            Self::CommandResult(_) => Kind::CommandResult,
        }
    }

    /// The sale this record belongs to: at most one record of a kind per machine may carry it.
    #[must_use]
    pub fn transaction(&self) -> Option<TransactionId> {
        match self {
            Self::Vend(v) => Some(v.transaction),
            Self::Settlement(s) => Some(s.settlement_id),
            Self::CashIn(c) => Some(c.transaction),
            Self::Boot(_)
            | Self::Refill(_)
            | Self::Audit(_)
            | Self::CashCollected(_)
            | Self::Fault(_)
            | Self::ConfigVerdict(_)
            | Self::CommandResult(_) => None,
        }
    }
}

/// Record kinds and their numbers on the wire. Never renumbered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)] // each is documented at `Body`
#[repr(u32)]
pub enum Kind {
    Boot = 1,
    Vend = 2,
    Settlement = 3,
    CashIn = 4,
    Refill = 5,
    Audit = 6,
    CashCollected = 7,
    Fault = 8,
    ConfigVerdict = 9,
    CommandResult = 10,
}

/// The controller started; the first record of an epoch is always one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boot {
    /// Firmware version, at most 64 bytes.
    pub firmware: String,
    /// How often this journal has booted, from 1.
    pub boot_count: u64,
    /// Set on the first record of an epoch that follows another.
    pub parent: Option<ParentEpoch>,
}

/// The epoch a journal continues, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParentEpoch {
    /// The epoch before.
    pub epoch: Epoch,
    /// The last seq of the parent that both sides agree on, or that the device could still read.
    pub last_common_seq: u64,
    /// The highest seq the device knows it allotted in the parent; `0` when it can't know.
    pub highest_seq: u64,
    /// Why there is a new epoch.
    pub reason: EpochReason,
}

/// Why a journal opened an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EpochReason {
    /// The first journal of this machine, as far as the device knows.
    New,
    /// The journal was damaged and set aside; what could be read was salvaged.
    Salvaged,
    /// The server found a fork: same name, other hash.
    Forked,
    /// The server holds records of this epoch that the device has lost.
    TailLost,
}

/// A vend and its outcome (MDB: VEND SUCCESS / VEND FAILURE).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vend {
    /// The sale, UUIDv7, made at selection.
    pub transaction: TransactionId,
    /// Slot (MDB item number) that was driven.
    pub slot: u16,
    /// Product in that slot under the pinned config.
    pub product: ProductId,
    /// Config that was in force at selection.
    pub config: ConfigId,
    /// Price shown and charged, minor units, `>= 0`.
    pub price_minor: Minor,
    /// Whose minor units.
    pub currency: Currency,
    /// How it was paid.
    pub payment: Payment,
    /// What the motor said.
    pub outcome: VendOutcome,
    /// Cash that went in for this sale, minor units (0 unless cash).
    pub cash_in_minor: Minor,
    /// Cash intended to be paid back with this outcome (change or refund), minor units. Its result is a settlement
    /// only when it differs from the intent.
    pub payout_intent_minor: Minor,
    /// What the machine could not pay back and owes, minor units.
    pub owed_minor: Minor,
    /// The numbered command this vend carried out; `0` when a person stood there.
    pub command_number: u64,
}

/// How a vend was paid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payment {
    /// Coins and bills.
    Cash,
    /// A card or phone at the terminal.
    Cashless {
        /// The terminal's reference, at most 64 bytes; empty when there is none.
        reference: String,
        /// Approved without the network, within the offline budget.
        offline: bool,
    },
    /// Credit sent by the server with a command.
    Remote,
    /// Price zero.
    Free,
    /// An operator's test vend.
    Test,
}

/// What became of a vend.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VendOutcome {
    /// The motor reported success.
    Success,
    /// The motor reported failure; the money went back or is owed.
    Failure,
    /// Power was lost between intent and outcome: never dispensed again, settled by policy.
    Unknown(UnknownPolicy),
}

/// What a machine does with the money of a vend whose outcome it can't know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum UnknownPolicy {
    /// Give the money back (or void).
    #[default]
    Refund,
    /// Keep the money (or settle).
    Keep,
    /// Leave it open and let the operator decide.
    Ask,
}

/// A later fact about an earlier sale's money. Several may name one vend; each has its own id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// This settlement, UUIDv7: the uniqueness of `(machine, transaction_id, kind)` is on it.
    pub settlement_id: TransactionId,
    /// The sale it belongs to.
    pub vend: TransactionId,
    /// What happened.
    pub what: Settled,
    /// Minor units, `>= 0`.
    pub amount_minor: Minor,
    /// Whose minor units.
    pub currency: Currency,
}

/// What a settlement says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Settled {
    /// Cash was paid out, all of the intent or the part given in the amount.
    PaidOut,
    /// A payout was interrupted; how much left the machine is not known; never repeated.
    PayoutUnknown,
    /// The amount could not be paid and is owed to the customer.
    Owed,
    /// A cashless authorisation was captured.
    Captured,
    /// A cashless authorisation was voided.
    Voided,
    /// A capture or void could not be confirmed.
    CashlessUnknown,
}

/// Cash that came in outside a sale. With both amounts zero: a new currency begins, and the monetary totals restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CashIn {
    /// Its own id, UUIDv7.
    pub transaction: TransactionId,
    /// Net amount kept, minor units.
    pub amount_minor: Minor,
    /// Amount inserted of which `amount_minor` stayed (the rest was returned), minor units.
    pub inserted_minor: Minor,
    /// Whose minor units.
    pub currency: Currency,
}

/// How many were put into which slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refill {
    /// Slots filled, each slot once, at most 256.
    pub slots: Vec<SlotCount>,
    /// Cash loaded into the tubes at the same time.
    pub tubes_loaded: Purse,
}

/// A number of units in a slot: added (refill) or counted (audit).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotCount {
    /// Slot number.
    pub slot: u16,
    /// Product in it.
    pub product: ProductId,
    /// Units.
    pub units: u32,
}

/// What is counted to be there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audit {
    /// Counted slots; each restarts the server's derived level of that slot. At most 256.
    pub slots: Vec<SlotCount>,
    /// Coins in the tubes.
    pub tubes: Purse,
    /// Cash in the box, minor units.
    pub box_minor: Minor,
    /// Totals since the last reset, as they are.
    pub since_reset: Totals,
}

/// Cash taken out by an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CashCollected {
    /// From the box, minor units.
    pub box_minor: Minor,
    /// From the tubes, minor units.
    pub tubes_minor: Minor,
    /// Whose minor units.
    pub currency: Currency,
    /// The since-reset totals as they were before this reset.
    pub since_reset: Totals,
}

/// Something broke or healed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// UPPER_SNAKE name, at most 64 bytes, e.g. `MOTOR_JAM`, `JOURNAL_FULL`, `INTENT_WITHOUT_OUTCOME`.
    pub code: String,
    /// The slot concerned, if one is.
    pub slot: Option<u16>,
    /// Free text, at most 256 bytes.
    pub detail: String,
    /// True when this record says that it is over.
    pub cleared: bool,
}

/// What became of an offered config.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigVerdict {
    /// The assignment's number.
    pub assignment: u64,
    /// The config offered.
    pub config: ConfigId,
    /// Applied, refused, or gone back from.
    pub verdict: ConfigOutcome,
    /// What was wrong, each item; empty when applied. At most 64.
    pub refusals: Vec<ConfigRefusal>,
}

/// Whether a config is in force.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConfigOutcome {
    /// In force from here on.
    Applied,
    /// Not in force; the one before stays.
    Refused,
    /// Was in force, failed repeatedly; the last known good is in force again.
    RolledBack,
}

/// One thing wrong with a config.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigRefusal {
    /// Path of the field, e.g. `slots[12].price_minor`, at most 128 bytes.
    pub field: String,
    /// UPPER_SNAKE reason, at most 64 bytes, e.g. `UNKNOWN_PRODUCT`, `NEGATIVE_PRICE`, `MISSING_SLOT`.
    pub reason: String,
}

/// What became of a numbered command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandResult {
    /// The command's number.
    pub number: u64,
    /// True when it was carried out.
    pub done: bool,
    /// UPPER_SNAKE reason when it was not, at most 64 bytes.
    pub reason: String,
}
