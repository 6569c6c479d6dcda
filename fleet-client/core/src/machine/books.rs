//! Where every coin is: the two identities that must hold after each step.

use super::durable::Durable;
use crate::money::{Minor, worth};

/// A machine's cash, booked twice: whose it is (customer side) and where it is (box side). Minor units.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Books {
    /// Cash customers put in, credit included.
    pub money_in: Minor,
    /// Sold for cash.
    pub sales: Minor,
    /// Paid out to customers; a payout of unknown result counts as paid.
    pub returned: Minor,
    /// Credit inside.
    pub credit: Minor,
    /// Owed to customers.
    pub owed: Minor,
    /// Kept for vends of unknown outcome.
    pub kept: Minor,
    /// Loaded into the tubes.
    pub loaded: Minor,
    /// Counted minus booked, over all audits and collections.
    pub adjusted: Minor,
    /// Collected from box and tubes.
    pub collected: Minor,
    /// In tubes and box.
    pub inside: Minor,
}

impl Books {
    /// The books as this state has them.
    #[must_use]
    pub fn of(durable: &Durable) -> Self {
        let totals = &durable.counters.lifetime;
        let credit = worth(&durable.credit);
        Self {
            money_in: totals.cash_in_minor.saturating_add(credit),
            sales: totals.cash_vends_minor,
            returned: totals.cash_out_minor,
            credit,
            owed: totals.owed_minor,
            kept: durable.kept_minor,
            loaded: totals.cash_loaded_minor,
            adjusted: durable.adjusted_minor,
            collected: totals.cash_collected_minor,
            inside: worth(&durable.tubes).saturating_add(durable.box_minor),
        }
    }

    /// Money in - (sales + returned + credit + owed + kept): zero, always.
    #[must_use]
    pub fn customer_gap(&self) -> i128 {
        i128::from(self.money_in)
            - [self.sales, self.returned, self.credit, self.owed, self.kept]
                .map(i128::from)
                .iter()
                .sum::<i128>()
    }

    /// Money in + loaded + adjusted - (paid out + collected + inside): zero, always.
    #[must_use]
    pub fn box_gap(&self) -> i128 {
        [self.money_in, self.loaded, self.adjusted].map(i128::from).iter().sum::<i128>()
            - [self.returned, self.collected, self.inside].map(i128::from).iter().sum::<i128>()
    }

    /// Both identities hold.
    #[must_use]
    pub fn balance(&self) -> bool {
        self.customer_gap() == 0 && self.box_gap() == 0
    }
}
