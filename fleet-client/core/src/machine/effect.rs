//! What the machine wants done, as data.

use super::durable::{Configs, Durable};
use crate::id::TransactionId;
use crate::money::{Minor, Purse};
use crate::record::Record;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// One thing to do. Effects are carried out in order; one that fails is reported by its input, not repeated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Make durable, in ONE transaction, before any later effect is started. Without it nothing after it may happen.
    Commit(Box<Commit>),
    /// Show this to whoever stands there.
    Show(Display),
    /// Drive this slot's motor once. Answer: [`super::Input::DispenseResult`].
    Dispense {
        /// The sale.
        transaction: TransactionId,
        /// The slot.
        slot: u16,
    },
    /// Pay out exactly these pieces (change, refund or returned credit). Answer: [`super::Input::PayoutResult`].
    PayOut {
        /// The sale or returned credit.
        transaction: TransactionId,
        /// The pieces.
        coins: Purse,
    },
    /// Ask the terminal for an authorisation. Answer: [`super::Input::CashlessApproved`] or `CashlessDeclined`.
    Authorise {
        /// The sale.
        transaction: TransactionId,
        /// Minor units.
        amount_minor: Minor,
        /// The budget allows an approval without the network.
        offline_allowed: bool,
    },
    /// Capture an approved authorisation. May come again after a cut or when the network is back; capturing a
    /// transaction twice must take the money once. Answer: [`super::Input::CashlessSettled`].
    Settle {
        /// The sale.
        transaction: TransactionId,
        /// The terminal's reference.
        reference: String,
        /// Minor units.
        amount_minor: Minor,
    },
    /// Give back an authorisation, or one that may have been given. May come again; voiding an unknown or voided
    /// transaction is a success. Answer: [`super::Input::CashlessSettled`].
    Void {
        /// The sale.
        transaction: TransactionId,
        /// The terminal's reference; empty when none was heard.
        reference: String,
    },
}

/// One durable transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Get their numbers in this transaction, in this order; may be none.
    pub records: Vec<Record>,
    /// Replaces the stored state.
    pub state: Durable,
    /// Replaces the stored configs, when set.
    pub configs: Option<Configs>,
}

/// What a customer sees.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Display {
    /// Choose or pay.
    Ready,
    /// Credit and, once something is selected, its slot and price.
    Credit {
        /// Credit, minor units.
        credit_minor: Minor,
        /// Slot and price of the selection.
        selected: Option<(u16, Minor)>,
    },
    /// Waiting for the terminal.
    Authorising {
        /// Price, minor units.
        amount_minor: Minor,
    },
    /// The card was declined.
    Declined,
    /// The motor is to turn.
    Dispensing {
        /// Slot.
        slot: u16,
    },
    /// Take your product.
    Vended {
        /// Change on its way, minor units.
        change_minor: Minor,
        /// What could not be paid and is owed, minor units.
        owed_minor: Minor,
    },
    /// It did not work; the money goes back.
    VendFailed {
        /// Refund on its way, minor units (cash).
        refund_minor: Minor,
        /// What could not be paid and is owed, minor units.
        owed_minor: Minor,
    },
    /// Credit is on its way back.
    Returned {
        /// Minor units.
        amount_minor: Minor,
        /// What could not be paid and is owed, minor units.
        owed_minor: Minor,
    },
    /// Nothing left to sell.
    SoldOut,
    /// Not selling.
    OutOfService,
}
