//! What the machine is doing, derived from what it remembers: two sources of truth could part.

use super::Machine;
use crate::id::{ConfigId, ProductId, TransactionId};
use crate::money::{Currency, Minor, worth};
use alloc::vec::Vec;

/// What the machine is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Ready to sell.
    Idle,
    /// A selection is made, or money is inside, or both.
    AcceptingMoney {
        /// What was chosen; price and config are pinned.
        selection: Option<Selection>,
        /// Credit, minor units.
        credit_minor: Minor,
        /// The terminal was asked for the selection's price.
        authorising: bool,
    },
    /// A motor was promised a turn, or coins are being paid out.
    Dispensing {
        /// The sale.
        transaction: TransactionId,
        /// The slot; `None` while only the payout is left.
        slot: Option<u16>,
    },
    /// Every slot is empty or out of order.
    SoldOut,
    /// Not selling.
    OutOfService(OutOfService),
}

/// Why a machine does not sell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OutOfService {
    /// No config has been applied.
    NoConfig,
    /// Taken out of service by an operator or a command.
    Ordered,
    /// The journal has no room.
    JournalFull,
}

/// A choice with its price and config pinned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Selection {
    /// The sale it may become.
    pub transaction: TransactionId,
    /// Slot.
    pub slot: u16,
    /// Product in it.
    pub product: ProductId,
    /// Config in force.
    pub config: ConfigId,
    /// Price shown, minor units.
    pub price_minor: Minor,
}

/// What a display, a coin acceptor and a status line need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// What the machine is doing.
    pub state: State,
    /// Whose minor units.
    pub currency: Currency,
    /// Credit, minor units.
    pub credit_minor: Minor,
    /// Denominations that would be taken now, rising; enable just these in the acceptor.
    pub accepts: Vec<Minor>,
    /// Shown to customers when some accepted piece would now be refused for want of change.
    pub exact_change_only: bool,
}

impl Machine {
    /// What the machine is doing.
    #[must_use]
    pub fn state(&self) -> State {
        if let Some(intent) = &self.durable.intent {
            return State::Dispensing { transaction: intent.transaction, slot: Some(intent.slot) };
        }
        if let Some(payout) = &self.durable.payout {
            return State::Dispensing { transaction: payout.transaction, slot: None };
        }
        State::OutOfService(OutOfService::NoConfig)
    }

    /// What a display, a coin acceptor and a status line need.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            state: self.state(),
            currency: self.durable.counters.currency,
            credit_minor: worth(&self.durable.credit),
            accepts: Vec::new(),
            exact_change_only: false,
        }
    }
}
