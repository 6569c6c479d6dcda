//! Which events a stream holds.

use super::{Category, Event, EventData};
use crate::domain::ids::{MachineId, OrderId};
use vend_core::id::ProductId;
use vend_core::record::Body;

/// A set of categories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Categories(u8);

impl Categories {
    /// All of them.
    pub const ALL: Self = Self(u8::MAX);
    /// None of them.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub fn with(self, category: Category) -> Self {
        Self(self.0 | 1 << category as u8)
    }

    /// Whether it is among them.
    pub fn has(self, category: Category) -> bool {
        self.0 & 1 << category as u8 != 0
    }
}

/// Which events a stream holds. All that is given must hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventFilter {
    /// Only these.
    pub categories: Categories,
    /// Only about this machine.
    pub machine: Option<MachineId>,
    /// Only about this product, an order's lines included.
    pub product: Option<ProductId>,
    /// Only orders of this customer.
    pub customer: Option<String>,
    /// Only about this order, as an order.
    pub order: Option<OrderId>,
}

impl Default for EventFilter {
    fn default() -> Self {
        Self { categories: Categories::ALL, machine: None, product: None, customer: None, order: None }
    }
}

impl EventFilter {
    /// Whether events of a category can be meant.
    pub fn may_take(&self, category: Category) -> bool {
        let of_orders = self.customer.is_some() || self.order.is_some();
        let has_machine = matches!(category, Category::Sale | Category::Inventory | Category::Alert);
        self.categories.has(category)
            && (!of_orders || category == Category::Order)
            && (self.machine.is_none() || has_machine)
    }

    /// Whether an event is meant.
    pub fn takes(&self, event: &Event) -> bool {
        let data = &event.data;
        if !self.may_take(data.category()) {
            return false;
        }
        if self.machine.is_some() && data.machine() != self.machine {
            return false;
        }
        if let EventData::Order { order, .. } = data
            && (self.customer.as_ref().is_some_and(|customer| *customer != order.customer)
                || self.order.is_some_and(|id| id != order.id))
        {
            return false;
        }
        self.product.is_none_or(|product| is_about(data, product))
    }
}

fn is_about(data: &EventData, product: ProductId) -> bool {
    match data {
        EventData::Order { order, .. } => order.lines.iter().any(|line| line.product == product),
        EventData::Stock { moved, .. } => moved.product == product,
        EventData::Alert { alert, .. } => alert.product == Some(product),
        EventData::Record(applied) => match &applied.record.body {
            Body::Vend(vend) => vend.product == product,
            Body::Refill(refill) => refill.slots.iter().any(|slot| slot.product == product),
            Body::Audit(audit) => audit.slots.iter().any(|slot| slot.product == product),
            // What they say about money names no product.
            _ => false,
        },
    }
}
