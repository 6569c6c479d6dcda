//! Lifetime and since-reset totals, after EVA-DTS (VA1/VA2, CA2/CA3/CA4, DA2, VA3): the machine's own checksum.

use crate::money::{Currency, Minor};

/// One set of totals. Every money and vend record carries the lifetime set as it is after that record, so the server
/// can name the first record at which its own sum and the machine's part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Totals {
    /// Paid vends with success (VA102-like): count.
    pub vends: u64,
    /// Paid vends with success: value, minor units.
    pub vends_minor: Minor,
    /// Of those, paid in cash: count.
    pub cash_vends: u64,
    /// Of those, paid in cash: value, minor units.
    pub cash_vends_minor: Minor,
    /// Of those, paid cashless: count.
    pub cashless_vends: u64,
    /// Of those, paid cashless: value, minor units.
    pub cashless_vends_minor: Minor,
    /// Of those, paid by remote credit: count.
    pub remote_vends: u64,
    /// Of those, paid by remote credit: value, minor units.
    pub remote_vends_minor: Minor,
    /// Free vends (price zero) with success: count.
    pub free_vends: u64,
    /// Test vends (operator) with success: count.
    pub test_vends: u64,
    /// Vends whose motor reported failure: count.
    pub failed_vends: u64,
    /// Vends found at boot with an intent and no outcome: count.
    pub unknown_vends: u64,
    /// Cash taken in (coins and bills), minor units.
    pub cash_in_minor: Minor,
    /// Cash paid out (change, returns, refunds), minor units.
    pub cash_out_minor: Minor,
    /// Cash collected from box and tubes, minor units.
    pub cash_collected_minor: Minor,
    /// Cash loaded into the tubes by an operator, minor units.
    pub cash_loaded_minor: Minor,
    /// Owed to customers: refunds and change that could not be paid out, minor units.
    pub owed_minor: Minor,
}

/// Totals for the machine's life and since the last reset (an operator's collection).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Whose minor units these are. A change of currency restarts the monetary lifetime totals at zero.
    pub currency: Currency,
    /// Since the machine was made.
    pub lifetime: Totals,
    /// Since the last reset.
    pub since_reset: Totals,
}
