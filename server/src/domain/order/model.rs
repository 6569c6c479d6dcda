//! What an order is.

use crate::domain::ids::{EventId, OrderId};
use crate::domain::payment::PaymentStatus;
use crate::domain::stock::StockMove;
use std::sync::Arc;
use vend_core::id::ProductId;
use vend_core::money::{Currency, Minor};

/// Where an order stands. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Stock is held, nobody was asked for money yet.
    Pending = 1,
    /// The gateway is being asked, or gave no definite answer yet. Stock is held.
    Processing = 2,
    /// Paid; final.
    Paid = 3,
    /// Not paid, stock given back; final.
    Failed = 4,
    /// Cancelled, stock given back; final.
    Cancelled = 5,
}

impl Status {
    /// The status of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Pending, Self::Processing, Self::Paid, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|status| *status as i64 == number)
    }

    /// The contract's name for it, without prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Processing => "PROCESSING",
            Self::Paid => "PAID",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// Why an order failed. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// The gateway declined the payment.
    PaymentDeclined = 1,
    /// The gateway never took and never will take this payment.
    PaymentNotTaken = 2,
}

impl Failure {
    /// The failure of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::PaymentDeclined, Self::PaymentNotTaken].into_iter().find(|failure| *failure as i64 == number)
    }
}

/// What a worker has to do for an order. The numbers are the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Work {
    /// Nothing.
    None = 0,
    /// Have it paid.
    Pay = 1,
    /// Ask what became of a payment whose answer was lost; no new attempt to take money.
    Query = 2,
    /// Give money back that came after the order had ended.
    Refund = 3,
}

impl Work {
    /// The work of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::None, Self::Pay, Self::Query, Self::Refund].into_iter().find(|work| *work as i64 == number)
    }
}

/// One product of an order, as it was when the order was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The product.
    pub product: ProductId,
    /// Its article number then.
    pub sku: String,
    /// Its name then.
    pub name: String,
    /// Its price then, minor units of the order's currency.
    pub unit_price_minor: Minor,
    /// Units.
    pub quantity: u32,
}

impl Line {
    /// Price of all its units. Can't overflow within the bounds of price and quantity.
    pub fn total_minor(&self) -> Minor {
        self.unit_price_minor.saturating_mul(i64::from(self.quantity))
    }
}

/// An order. Everything but `state` never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Its name, and the gateway's key for its payment.
    pub id: OrderId,
    /// Whose.
    pub customer: String,
    /// The key it was made with, unique per customer.
    pub key: String,
    /// SHA-256 of the normalised request.
    pub fingerprint: [u8; 32],
    /// Of all its amounts.
    pub currency: Currency,
    /// Sum of the lines.
    pub total_minor: Minor,
    /// In the order of the request, each product once.
    pub lines: Arc<[Line]>,
    /// When it was made, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// Trace that made it.
    pub trace_id: String,
    /// W3C traceparent that made it; may be empty.
    pub traceparent: String,
    /// What changes.
    pub state: State,
}

/// The part of an order that changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Where it stands.
    pub status: Status,
    /// What is known of its money.
    pub payment: PaymentStatus,
    /// The gateway's name for the payment; empty until it gave one.
    pub gateway_payment_id: String,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The gateway's words about it.
    pub failure_detail: String,
    /// PROCESSING with all attempts used up and no definite answer.
    pub unsettled: bool,
    /// How often the gateway was asked for the payment.
    pub attempts: u32,
    /// What a worker has to do.
    pub work: Work,
    /// When a worker may take it, or until when one holds it, by the database's clock; 0: never.
    pub due_at_ms: i64,
    /// Rises with every claim.
    pub fence: i64,
    /// When it last changed, ms since the Unix epoch.
    pub updated_at_ms: i64,
    /// When it became final, ms since the Unix epoch; 0: not yet.
    pub ended_at_ms: i64,
}

/// Which orders a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OrderFilter {
    /// Only this customer's.
    pub customer: Option<String>,
    /// Only these; empty: any.
    pub statuses: Vec<Status>,
    /// Only those that wait for a definite answer.
    pub unsettled_only: bool,
}

impl OrderFilter {
    /// The status of that number, if there is one.
    pub fn status(number: i64) -> Option<Status> {
        Status::from_number(number)
    }
}

/// What happened to an order. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChangeKind {
    /// It was made.
    Created = 1,
    /// A worker claimed it to have it paid.
    Processing = 2,
    /// It was paid.
    Paid = 3,
    /// It failed and gave its stock back.
    Failed = 4,
    /// It was cancelled and gave its stock back.
    Cancelled = 5,
    /// All attempts are used up without a definite answer.
    Unsettled = 6,
    /// It was handed back to the worker.
    Redriven = 7,
    /// Money that came after it had ended is to be given back, or was.
    Refund = 8,
}

impl ChangeKind {
    /// The kind of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [
            Self::Created,
            Self::Processing,
            Self::Paid,
            Self::Failed,
            Self::Cancelled,
            Self::Unsettled,
            Self::Redriven,
            Self::Refund,
        ]
        .into_iter()
        .find(|kind| *kind as i64 == number)
    }
}

/// One event about an order, written in the commit that causes it: the order right after it, and the central stock it moved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The event's name.
    pub event: EventId,
    /// The order.
    pub order: OrderId,
    /// Whose; streams filter by it.
    pub customer: String,
    /// What happened.
    pub kind: ChangeKind,
    /// The order's state right after it.
    pub state: State,
    /// Central stock it moved, in the order of the lines.
    pub moves: Vec<StockMove>,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace it follows from.
    pub trace_id: String,
    /// W3C traceparent it follows from; may be empty.
    pub traceparent: String,
}

/// What work on an order was set aside. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeadLetterKind {
    /// Its payment gave no definite answer within all attempts.
    Order = 2,
    /// A refund the gateway did not confirm within all attempts.
    Payment = 4,
}

impl DeadLetterKind {
    /// The kind of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Order, Self::Payment].into_iter().find(|kind| *kind as i64 == number)
    }
}
