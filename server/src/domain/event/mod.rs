//! What happened, as streams tell it: one [`Event`] per thing, in the order of the commits of its shard.

mod cursor;
mod filter;
#[cfg(test)]
mod tests;

pub use cursor::{Cursor, MAX_CURSOR_BYTES, Place};
pub use filter::{Categories, EventFilter};

use crate::domain::fleet::{Alert, AlertChange, StoredRecord};
use crate::domain::ids::{EventId, MachineId, OrderId};
use crate::domain::order::{ChangeKind, Order};
use crate::domain::stock::{StockCause, StockMove};
use std::fmt;
use uuid::Uuid;
use vend_core::id::Epoch;
use vend_core::record::{Body, Record};

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Tells repeats.
    pub name: EventName,
    /// Stream shard.
    pub shard: i64,
    /// Where it stands in its shard.
    pub place: Place,
    /// Where who has dealt with it goes on: behind the whole row when it is the row's last.
    pub after: Place,
    /// When it was committed, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace of the call it follows from.
    pub trace_id: String,
    /// W3C traceparent of that call; may be empty.
    pub traceparent: String,
    /// What happened.
    pub data: EventData,
}

/// An event's name: `<uuid>`, or `<uuid>:<n>` for one of several that were written as one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EventName {
    /// What was written.
    pub id: EventId,
    /// Which of those it is: of a Sync's records the seq.
    pub number: Option<u64>,
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{}:{number}", self.id),
            None => self.id.fmt(f),
        }
    }
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventData {
    /// To an order, which is as given right after it.
    Order {
        /// What.
        change: ChangeKind,
        /// The order right after it; who works on it and until when is not told.
        order: Box<Order>,
    },
    /// Central stock of a product changed.
    Stock {
        /// How.
        moved: StockMove,
        /// Why.
        mover: StockMover,
    },
    /// A machine's record was applied: a sale, a settlement, cash collected, a refill or an audit.
    Record(Box<AppliedRecord>),
    /// To an alert, which is as given right after it.
    Alert {
        /// What.
        change: AlertChange,
        /// The alert right after it.
        alert: Box<Alert>,
    },
}

/// What moved central stock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StockMover {
    /// No order.
    Catalogue(StockCause),
    /// An order took it or gave it back.
    Order(OrderId, ChangeKind),
}

/// A record that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppliedRecord {
    /// As it is stored.
    pub stored: StoredRecord,
    /// The epoch the device wrote it in.
    pub epoch: Epoch,
    /// Its meaning.
    pub record: Record,
}

/// What an event is about. The numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Category {
    /// Orders.
    Order = 1,
    /// What machines sold, and later facts about the money.
    Sale = 2,
    /// Central stock and slot levels.
    Inventory = 3,
    /// Alerts.
    Alert = 4,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 4] = [Self::Order, Self::Sale, Self::Inventory, Self::Alert];

    /// The category of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|category| *category as i64 == number)
    }
}

impl EventData {
    /// What it is about.
    pub fn category(&self) -> Category {
        match self {
            Self::Order { .. } => Category::Order,
            Self::Stock { .. } => Category::Inventory,
            Self::Alert { .. } => Category::Alert,
            Self::Record(applied) => match applied.record.body {
                Body::Refill(_) | Body::Audit(_) => Category::Inventory,
                _ => Category::Sale,
            },
        }
    }

    /// What happened, as the end of a CloudEvents type: `order.paid`, `sale.vend`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Order { change, .. } => match change {
                ChangeKind::Created => "order.created",
                ChangeKind::Processing => "order.processing",
                ChangeKind::Paid => "order.paid",
                ChangeKind::Failed => "order.failed",
                ChangeKind::Cancelled => "order.cancelled",
                ChangeKind::Unsettled => "order.unsettled",
                ChangeKind::Redriven => "order.redriven",
                ChangeKind::Refund => "order.refund",
            },
            Self::Stock { .. } => "inventory.stock_changed",
            Self::Record(applied) => match applied.record.body {
                Body::Vend(_) => "sale.vend",
                Body::CashIn(_) => "sale.cash_in",
                Body::Settlement(_) => "sale.settlement",
                Body::CashCollected(_) => "sale.cash_collected",
                Body::Refill(_) => "inventory.slots_filled",
                Body::Audit(_) => "inventory.slots_counted",
                Body::Boot(_) | Body::Fault(_) | Body::ConfigVerdict(_) | Body::CommandResult(_) => {
                    "sale.other"
                }
            },
            Self::Alert { change, .. } => match change {
                AlertChange::Raised => "alert.raised",
                AlertChange::Acknowledged => "alert.acknowledged",
                AlertChange::Resolved => "alert.resolved",
            },
        }
    }

    /// Id of the order, product, machine or alert it is about. All events with one subject are in one shard.
    pub fn subject(&self) -> Uuid {
        match self {
            Self::Order { order, .. } => order.id.0,
            Self::Stock { moved, .. } => Uuid::from_bytes(moved.product.0),
            Self::Record(applied) => applied.stored.machine.0,
            Self::Alert { alert, .. } => alert.id.0,
        }
    }

    /// The machine it is about.
    pub fn machine(&self) -> Option<MachineId> {
        match self {
            Self::Record(applied) => Some(applied.stored.machine),
            Self::Alert { alert, .. } => alert.machine,
            Self::Order { .. } | Self::Stock { .. } => None,
        }
    }
}

/// Whether a record of this kind is told of when it is applied.
pub fn is_told(body: &Body) -> bool {
    match body {
        Body::Vend(_)
        | Body::Settlement(_)
        | Body::CashIn(_)
        | Body::Refill(_)
        | Body::Audit(_)
        | Body::CashCollected(_) => true,
        Body::Boot(_) | Body::Fault(_) | Body::ConfigVerdict(_) | Body::CommandResult(_) => false,
    }
}
