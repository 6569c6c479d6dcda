//! The seams a firmware author fills in: motors and coins ([`Hardware`]), the card reader ([`PaymentTerminal`]).
//!
//! Both are called from the device's own thread, one call at a time, and may block for as long as the mechanics take.
//! They never decide anything: what to drive and what to pay is told to them, and what happened is all they say.
//!
//! To drive real hardware, implement both over your board's buses (MDB, DEX) and hand them to
//! [`crate::device::Device::boot`]; [`sim`] shows the shape.

pub mod sim;

use vend_core::id::TransactionId;
pub use vend_core::machine::{CashlessResult, Motor};
use vend_core::money::{Minor, Purse};

/// Motors and the coin mechanism.
pub trait Hardware: Send {
    /// Slot numbers this machine has; empty when it can't tell. A config that names another slot is refused.
    fn slots(&self) -> Vec<u16> {
        Vec::new()
    }

    /// Turns this slot's motor once and watches the drop sensor. Called at most once per sale, ever: the intent is
    /// durable before, and a sale whose outcome was lost is never driven again.
    fn dispense(&mut self, transaction: TransactionId, slot: u16) -> Motor;

    /// Pays out these pieces and says which left. Called at most once per payout, ever.
    fn pay_out(&mut self, transaction: TransactionId, coins: &Purse) -> Purse;
}

/// The card reader.
pub trait PaymentTerminal: Send {
    /// Asks for an authorisation. `offline_allowed`: an approval without the network is within the budget.
    fn authorise(
        &mut self,
        transaction: TransactionId,
        amount_minor: Minor,
        offline_allowed: bool,
    ) -> Authorised;

    /// Captures an authorisation. May come again for the same sale, which must take the money once.
    fn settle(&mut self, transaction: TransactionId, reference: &str, amount_minor: Minor) -> CashlessResult;

    /// Gives an authorisation back. May come again; one that is unknown or already void is `Done`.
    fn void(&mut self, transaction: TransactionId, reference: &str) -> CashlessResult;
}

/// What the terminal said to an authorisation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authorised {
    /// The money is promised.
    Approved {
        /// The terminal's reference, at most 64 bytes.
        reference: String,
        /// Approved without the network.
        offline: bool,
    },
    /// It is not, or nobody could be asked.
    Declined,
}

/// A machine without a card reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTerminal;

impl PaymentTerminal for NoTerminal {
    fn authorise(&mut self, _: TransactionId, _: Minor, _: bool) -> Authorised {
        Authorised::Declined
    }

    fn settle(&mut self, _: TransactionId, _: &str, _: Minor) -> CashlessResult {
        CashlessResult::Unknown
    }

    fn void(&mut self, _: TransactionId, _: &str) -> CashlessResult {
        CashlessResult::Done
    }
}
