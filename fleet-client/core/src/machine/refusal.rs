//! Why an input was not taken. A refused input changes nothing.

use crate::money::Minor;
use thiserror::Error;

/// Why an input was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum Refusal {
    /// No config has been applied.
    #[error("no config has been applied yet")]
    NoConfig,
    /// Taken out of service.
    #[error("the machine is out of service")]
    OutOfService,
    /// Nothing to sell.
    #[error("everything is sold out")]
    SoldOut,
    /// The journal has room only for what is in hand.
    #[error("the journal is full")]
    JournalFull,
    /// A vend or payout is in hand, or a card is being authorised.
    #[error("a vend, payout or authorisation is in hand")]
    Busy,
    /// A customer's money or selection is inside; operators and commands wait.
    #[error("a customer is using the machine")]
    InUse,
    /// No such slot in the config in force.
    #[error("slot {0} is not in the planogram")]
    UnknownSlot(u16),
    /// The slot is empty.
    #[error("slot {0} is empty")]
    SlotEmpty(u16),
    /// The slot is out of order.
    #[error("slot {0} is out of order")]
    SlotFaulted(u16),
    /// A slot is named twice.
    #[error("slot {0} is named twice")]
    DuplicateSlot(u16),
    /// More units than the slot holds.
    #[error("slot {slot} holds at most {capacity} units")]
    OverCapacity {
        /// Slot number.
        slot: u16,
        /// Its capacity.
        capacity: u32,
    },
    /// Not a denomination this machine takes.
    #[error("denomination {0} is not accepted")]
    NotAccepted(Minor),
    /// More credit than the config allows.
    #[error("credit would exceed {0} minor units")]
    CreditLimit(Minor),
    /// Change or a refund could not be paid from the tubes.
    #[error("exact change only")]
    ExactChangeOnly,
    /// No tube for this denomination, or not so many coins in it or room for them.
    #[error("the tube for denomination {0} can't hold or give that many")]
    BadTube(Minor),
    /// An amount that is negative or beyond all bounds.
    #[error("amount {0} is out of range")]
    BadAmount(Minor),
    /// There is nothing in this input.
    #[error("nothing to do")]
    Empty,
    /// Nothing was selected.
    #[error("nothing is selected")]
    NoSelection,
    /// Cash is inside: one sale is paid in one way.
    #[error("cash is inside; take it back before paying by card")]
    CashInside,
    /// Too many cashless sales are neither captured nor voided.
    #[error("too many cashless sales are unsettled")]
    CashlessBacklog,
    /// Without the network this sale is beyond the offline budget.
    #[error("the offline budget does not allow this sale")]
    OfflineBudget,
    /// Nobody asked for this answer.
    #[error("no such request is open")]
    NotAsked,
    /// More than is owed.
    #[error("only {0} minor units are owed")]
    NotOwed(Minor),
    /// Already so.
    #[error("already so")]
    AlreadySo,
    /// An assignment number that is applied, waiting, refused or older.
    #[error("assignment number must be above {0}")]
    OldAssignment(u64),
    /// A command number already journalled.
    #[error("command number must be above {0}")]
    OldCommand(u64),
}
