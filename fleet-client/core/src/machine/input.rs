//! What can happen to a machine.

use crate::config::Assignment;
use crate::id::{BootId, Epoch, ProductId, TransactionId};
use crate::money::{Currency, Minor, Purse};
use crate::record::{Fault, ParentEpoch};
use alloc::string::String;
use alloc::vec::Vec;

/// Something happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A person chose a slot. Choosing again before paying replaces the choice.
    Select {
        /// Slot number.
        slot: u16,
    },
    /// A coin or bill was recognised. Taken: it falls into tube or box. Refused: it goes back to the customer.
    InsertMoney {
        /// Face value, minor units.
        denomination: Minor,
    },
    /// A card or phone was presented for the selection. Until the server was heard in this boot, the offline budget
    /// applies.
    PresentCard,
    /// The terminal approved.
    CashlessApproved {
        /// The sale asked for.
        transaction: TransactionId,
        /// The terminal's reference; cut to 64 bytes.
        reference: String,
        /// Approved without the network.
        offline: bool,
    },
    /// The terminal declined, or could not be reached.
    CashlessDeclined {
        /// The sale asked for.
        transaction: TransactionId,
    },
    /// The terminal answered a settle or a void.
    CashlessSettled {
        /// The sale.
        transaction: TransactionId,
        /// What it said.
        result: CashlessResult,
    },
    /// The customer wants the money back, or dropped the selection.
    Cancel,
    /// The motor answered.
    DispenseResult {
        /// The sale asked for.
        transaction: TransactionId,
        /// What it said.
        motor: Motor,
    },
    /// The payout motors answered.
    PayoutResult {
        /// The payout asked for.
        transaction: TransactionId,
        /// The pieces that left the machine, at most those asked for.
        paid: Purse,
    },
    /// An operator filled slots and tubes. Ends these slots' faults.
    Refill {
        /// Units added, each slot once.
        slots: Vec<SlotUnits>,
        /// Coins loaded.
        tubes: Purse,
    },
    /// An operator counted. What is not counted stays as booked. Ends the counted slots' faults.
    Audit {
        /// Units there, each slot once.
        slots: Vec<SlotUnits>,
        /// Coins in all tubes, when they were counted.
        tubes: Option<Purse>,
        /// Cash in the box, when it was counted, minor units.
        box_minor: Option<Minor>,
    },
    /// An operator emptied the box, and took coins from the tubes. Restarts the since-reset totals.
    CollectCash {
        /// What was found in the box, minor units; the box is empty now.
        box_minor: Minor,
        /// Coins taken from the tubes.
        tubes: Purse,
    },
    /// An operator pays a customer what is owed, from the tubes.
    PayOwed {
        /// The sale it is owed for.
        vend: TransactionId,
        /// Minor units, at most what is owed.
        amount_minor: Minor,
    },
    /// An operator turns a motor without payment.
    TestVend {
        /// Slot number.
        slot: u16,
    },
    /// An operator stops selling.
    TakeOutOfService,
    /// An operator lets the machine sell again.
    ReturnToService,
    /// A config from the server, its hash already checked.
    ConfigOffered(Assignment),
    /// A numbered command from the server.
    Command(Command),
    /// The hardware broke or healed.
    HardwareFault(Fault),
    /// The server answered just now.
    ServerContact,
    /// The server can't be reached.
    ServerLost,
    /// The journal has room left only for what is in hand ([`super::RESERVED_RECORDS`]). Not remembered over a power
    /// cut: said again after a boot if it is still so.
    JournalFull,
    /// The journal has room again.
    JournalRoom,
    /// The journal opened a new epoch; its first record is written now.
    EpochOpened {
        /// The new epoch.
        epoch: Epoch,
        /// The epoch it follows.
        parent: ParentEpoch,
    },
    /// Time has passed; due about once a second.
    Tick,
}

/// What the motor said (MDB: VEND SUCCESS, VEND FAILURE).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Motor {
    /// The product fell.
    Success,
    /// It did not.
    Failure,
}

/// What the terminal said to a settle or void.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CashlessResult {
    /// Done.
    Done,
    /// Not now; it is asked again when the network is back.
    Later,
    /// It can't be known or done; left to the operator.
    Unknown,
}

/// Units in or into a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotUnits {
    /// Slot number.
    pub slot: u16,
    /// Units.
    pub units: u32,
}

/// A numbered order from the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Rises per machine, from 1.
    pub number: u64,
    /// The epoch it is bound to.
    pub epoch: Epoch,
    /// The boot it is bound to; `None`: any.
    pub boot: Option<BootId>,
    /// Uptime after which it must not start any more, milliseconds; `None`: no limit.
    pub expires_uptime_ms: Option<u64>,
    /// What to do.
    pub order: Order,
}

/// What a command asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Dispense one unit on remote credit.
    Dispense {
        /// The purchase, which becomes the sale.
        transaction: TransactionId,
        /// Slot number.
        slot: u16,
        /// Product expected in it.
        product: ProductId,
        /// Price paid, minor units.
        price_minor: Minor,
        /// Whose minor units.
        currency: Currency,
    },
    /// Stop selling.
    OutOfService,
    /// Sell again.
    ReturnToService,
}
