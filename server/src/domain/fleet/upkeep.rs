//! What needs a person: slots that drift, dead letters, alerts.

use crate::domain::fleet::StoredRecord;
use crate::domain::ids::{AlertId, MachineId, OrderId, PurchaseId};
use crate::domain::order::{self, GATEWAY_CONTRADICTION, LATE_APPROVAL, ORDER_UNSETTLED};
use crate::domain::pool::{LATE_VEND, PURCHASE_IN_DOUBT};
use crate::domain::sync::{AlertKind, SlotRow};
use uuid::Uuid;
use vend_core::id::{Epoch, ProductId};
use vend_core::money::Currency;

/// What the applied config says of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Planned {
    /// The product in it.
    pub product: ProductId,
    /// Minor units of `currency`.
    pub price_minor: i64,
    /// The config's currency.
    pub currency: Currency,
    /// Units it can hold.
    pub capacity: u32,
    /// Refill up to this.
    pub par: u32,
}

/// A slot of a real machine, its numbers beside what the applied config says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotInventory {
    /// Whose.
    pub machine: MachineId,
    /// Slot number.
    pub slot: u16,
    /// Its numbers; `None` before any record or report spoke of it.
    pub row: Option<SlotRow>,
    /// From the applied config; `None` when it has no such slot.
    pub planned: Option<Planned>,
    /// When the drift was seen, ms since the Unix epoch; 0 when there is none or it is not known any more.
    pub drift_seen_ms: i64,
}

/// How far a dead letter is. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeadLetterState {
    /// Waits for a redrive.
    Open = 1,
    /// Handed back to a worker.
    Redriving = 2,
    /// Finished after all.
    Done = 3,
}

impl DeadLetterState {
    /// The state of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Open, Self::Redriving, Self::Done].into_iter().find(|state| *state as i64 == number)
    }
}

/// A record that could not be applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// Its UUIDv7.
    pub id: Uuid,
    /// How far it is.
    pub state: DeadLetterState,
    /// UPPER_SNAKE reason of the last attempt.
    pub reason: String,
    /// The field and the rule.
    pub detail: String,
    /// Redrives so far.
    pub redrives: u32,
    /// The record as received.
    pub record: StoredRecord,
    /// When it was set aside, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When it was last redriven; 0: never.
    pub updated_at_ms: i64,
    /// Trace that set it aside.
    pub trace_id: String,
}

/// Work on an order that was set aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderLetter {
    /// Its UUIDv7.
    pub id: Uuid,
    /// Which work.
    pub kind: order::DeadLetterKind,
    /// The order.
    pub order: OrderId,
    /// How far it is.
    pub state: DeadLetterState,
    /// UPPER_SNAKE reason of the last attempt.
    pub reason: String,
    /// For a person.
    pub detail: String,
    /// Redrives so far.
    pub redrives: u32,
    /// When it was set aside, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When it was last set aside again, redriven or done.
    pub updated_at_ms: i64,
    /// Trace that set it aside.
    pub trace_id: String,
}

/// Money of a purchase that could not be settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PurchaseLetter {
    /// Its UUIDv7.
    pub id: Uuid,
    /// The purchase.
    pub purchase: PurchaseId,
    /// How far it is.
    pub state: DeadLetterState,
    /// UPPER_SNAKE reason of the last attempt.
    pub reason: String,
    /// For a person.
    pub detail: String,
    /// Redrives so far.
    pub redrives: u32,
    /// When it was set aside, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When it was last set aside again, redriven or done.
    pub updated_at_ms: i64,
    /// Trace of the purchase.
    pub trace_id: String,
}

/// A dead letter of any kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SetAside {
    /// A record.
    Record(DeadLetter),
    /// Work on an order.
    Order(OrderLetter),
    /// Money of a purchase.
    Purchase(PurchaseLetter),
}

impl SetAside {
    /// Its UUIDv7.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Record(letter) => letter.id,
            Self::Order(letter) => letter.id,
            Self::Purchase(letter) => letter.id,
        }
    }
}

/// What a dead letter is about. The numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetAsideKind {
    /// A record.
    Record = 1,
    /// An order's payment without a definite answer.
    Order = 2,
    /// A purchase's job.
    Purchase = 3,
    /// A refund, void or capture.
    Payment = 4,
}

impl SetAsideKind {
    /// The kind of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Record, Self::Order, Self::Purchase, Self::Payment]
            .into_iter()
            .find(|kind| *kind as i64 == number)
    }
}

/// Which dead letters a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadLetterFilter {
    /// Only this kind.
    pub kind: Option<SetAsideKind>,
    /// Only this state.
    pub state: Option<DeadLetterState>,
    /// Only this machine's records.
    pub machine: Option<MachineId>,
    /// Only this order's.
    pub order: Option<OrderId>,
}

/// How far an alert is. The numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlertState {
    /// Raised.
    Open = 1,
    /// Somebody is on it.
    Acknowledged = 2,
    /// Over.
    Resolved = 3,
}

/// How bad an alert is. The numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Good to know.
    Info = 1,
    /// Someone should look within a day.
    Warning = 2,
    /// Money or records are at stake.
    Critical = 3,
}

/// Name of the alert that a product is at or below its threshold; raised by the catalogue.
pub const LOW_STOCK: &str = "LOW_STOCK";

/// Name of the alert that there is little room left under the embedded database.
pub const LOW_SPACE: &str = "LOW_SPACE";

/// Name of the alert that a credential was revoked with records known unsent.
pub const REVOKED_UNSENT: &str = "REVOKED_UNSENT";

/// How bad alerts of a kind are. One table, so that a list can filter by it without storing it.
pub fn severity(kind: &str) -> Severity {
    let critical = [
        AlertKind::RecordsMissing,
        AlertKind::JournalForked,
        AlertKind::MachineCloned,
        AlertKind::ServerBehindDevice,
        AlertKind::CountersDiverged,
        AlertKind::CountersStepped,
        AlertKind::DeadLetter,
        AlertKind::RecordsAfterJudgement,
    ];
    let money = [ORDER_UNSETTLED, LATE_APPROVAL, GATEWAY_CONTRADICTION, PURCHASE_IN_DOUBT, LATE_VEND];
    if kind == LOW_SPACE || critical.iter().any(|k| k.as_str() == kind) || money.contains(&kind) {
        Severity::Critical
    } else {
        Severity::Warning
    }
}

/// Something a person should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alert {
    /// Its UUIDv7.
    pub id: AlertId,
    /// UPPER_SNAKE name of what it is about.
    pub kind: String,
    /// Tells one alert of a kind from another.
    pub key: String,
    /// The machine concerned.
    pub machine: Option<MachineId>,
    /// For people.
    pub detail: String,
    /// The record that shows it.
    pub epoch: Option<Epoch>,
    /// The record that shows it; 0: none.
    pub seq: u64,
    /// The product concerned.
    pub product: Option<ProductId>,
    /// The order concerned.
    pub order: Option<Uuid>,
    /// The purchase concerned.
    pub purchase: Option<Uuid>,
    /// How often it has occurred since it was raised.
    pub occurrences: u64,
    /// When it was raised, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When it last occurred.
    pub last_at_ms: i64,
    /// Who acknowledged it; empty: nobody.
    pub acknowledged_by: String,
    /// When; 0: not.
    pub acknowledged_at_ms: i64,
    /// Who resolved it; empty: nobody, or by itself.
    pub resolved_by: String,
    /// When; 0: not.
    pub resolved_at_ms: i64,
    /// What the person who resolved it wrote.
    pub note: String,
    /// Trace that raised it.
    pub trace_id: String,
}

impl Alert {
    /// How far it is.
    pub fn state(&self) -> AlertState {
        if self.resolved_at_ms != 0 {
            AlertState::Resolved
        } else if self.acknowledged_at_ms != 0 {
            AlertState::Acknowledged
        } else {
            AlertState::Open
        }
    }
}

/// What happened to an alert. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AlertChange {
    /// It was raised; one that is counted up is not.
    Raised = 1,
    /// Somebody is on it.
    Acknowledged = 2,
    /// It is over.
    Resolved = 3,
}

impl AlertChange {
    /// The change of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Raised, Self::Acknowledged, Self::Resolved].into_iter().find(|change| *change as i64 == number)
    }

    /// When that happened to an alert, ms since the Unix epoch. Each happens to an alert at most once.
    pub fn at_ms(self, alert: &Alert) -> i64 {
        match self {
            Self::Raised => alert.created_at_ms,
            Self::Acknowledged => alert.acknowledged_at_ms,
            Self::Resolved => alert.resolved_at_ms,
        }
    }
}

/// Which alerts a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlertFilter {
    /// Only this state.
    pub state: Option<AlertState>,
    /// Only these kinds.
    pub kinds: Option<Vec<&'static str>>,
    /// Only this machine's.
    pub machine: Option<MachineId>,
    /// Only this product's.
    pub product: Option<ProductId>,
}
