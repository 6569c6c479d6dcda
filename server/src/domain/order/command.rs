//! Commands about orders, what a batch of them is decided on, and what it leaves behind: all values.

use super::model::{Change, DeadLetterKind, Order, Status};
use super::request::NewOrder;
use crate::domain::ids::{AlertId, OrderId};
use crate::domain::payment::{Trouble, Verdict};
use crate::domain::stock::Shelf;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;
use vend_core::id::ProductId;
use vend_core::money::{Currency, Minor};

/// One thing to be done to an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Take stock and make an order.
    Create(Create),
    /// Cancel a PENDING order.
    Cancel(Cancel),
    /// What came of work a worker had claimed.
    Report(Report),
    /// A fact from outside any claim: a webhook.
    Finding(Finding),
    /// Hand set-aside work back to the workers.
    Redrive(Redrive),
}

/// Take stock and make an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Create {
    /// Its id if it is made.
    pub id: OrderId,
    /// What is asked for.
    pub new: NewOrder,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace of the call.
    pub trace_id: String,
    /// W3C traceparent of the call.
    pub traceparent: String,
}

/// Cancel a PENDING order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cancel {
    /// The order.
    pub order: OrderId,
    /// Whose it must be; `None`: anybody's.
    pub customer: Option<String>,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace of the call.
    pub trace_id: String,
    /// W3C traceparent of the call.
    pub traceparent: String,
}

/// What came of work a worker had claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The order.
    pub order: OrderId,
    /// The fence of the claim.
    pub fence: i64,
    /// How often the gateway was asked for the payment under this claim.
    pub attempts: u32,
    /// What came of it.
    pub done: WorkDone,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
}

/// What came of work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WorkDone {
    /// The gateway said something definite. It holds whether or not the claim still does.
    Learnt(Learnt),
    /// All attempts are used up and nothing is known.
    Unknown {
        /// Of the last attempt.
        trouble: Trouble,
        /// For a person, at most 256 bytes.
        detail: String,
        /// How long until it is asked again, ms.
        again_in_ms: i64,
    },
}

/// A definite thing a gateway said about an order's payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Learnt {
    /// What.
    pub verdict: Verdict,
    /// The gateway's name for the payment; empty when it never made one.
    pub gateway_payment_id: String,
    /// The gateway's own words, at most 256 bytes.
    pub detail: String,
    /// The amount it spoke of; `None`: it named none, or it was checked already (a worker's gateway does).
    pub amount: Option<(Currency, Minor)>,
    /// Who brought it.
    pub source: Source,
}

/// Who brought a fact. The numbers are the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// An answer to a worker.
    Worker = 1,
    /// The gateway by itself.
    Webhook = 2,
}

/// A fact from outside any claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The order.
    pub order: OrderId,
    /// The fact.
    pub learnt: Learnt,
    /// When it was learnt, ms since the Unix epoch.
    pub at_ms: i64,
}

/// Hand set-aside work back to the workers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redrive {
    /// The order.
    pub order: OrderId,
    /// Which work.
    pub kind: DeadLetterKind,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace of the call.
    pub trace_id: String,
    /// W3C traceparent of the call.
    pub traceparent: String,
}

/// What a batch of commands is decided on: locked rows. The store loads it and writes back what changed.
#[derive(Clone, Default, Debug)]
pub struct View {
    /// Products of new orders and of orders that may give stock back.
    pub shelf: Shelf,
    /// Orders by id: those named by commands, and those whose key is used again.
    pub orders: HashMap<OrderId, Order>,
    /// Orders by customer and key.
    pub keys: HashMap<(String, String), OrderId>,
    /// The database's clock, ms since the Unix epoch.
    pub clock_ms: i64,
    /// What customers with new orders have open already.
    pub open: HashMap<String, OpenOrders>,
    /// Most that one of them may have.
    pub most_open: OpenOrders,
}

/// A customer's orders that have not ended, and the units of stock they hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenOrders {
    /// Orders.
    pub orders: i64,
    /// Units.
    pub units: i64,
}

impl OpenOrders {
    /// As many as one likes.
    pub const UNLIMITED: Self = Self { orders: i64::MAX, units: i64::MAX };
    /// None.
    pub const NONE: Self = Self { orders: 0, units: 0 };
}

impl Default for OpenOrders {
    fn default() -> Self {
        Self::UNLIMITED
    }
}

/// What a batch leaves behind, besides the shelf. All of it is written in one transaction.
#[derive(Clone, Default, Debug)]
pub struct Writes {
    /// Orders to insert, by id, in arrival order.
    pub new: Vec<OrderId>,
    /// Orders whose state changed.
    pub changed: BTreeSet<OrderId>,
    /// Events, in order; the store numbers them last.
    pub changes: Vec<Change>,
    /// Alerts, in order.
    pub raised: Vec<AlertOp>,
    /// Dead letters, in order.
    pub dead_letters: Vec<DeadLetterNote>,
    /// Facts to note.
    pub facts: Vec<Fact>,
}

/// What becomes of an alert about no machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlertOp {
    /// It is raised, or counted up when it is open.
    Raise(AlertRaise),
    /// It is over.
    End(AlertEnd),
}

/// An alert to raise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertRaise {
    /// Used when it is new.
    pub id: AlertId,
    /// UPPER_SNAKE.
    pub kind: &'static str,
    /// Tells one alert of a kind from another.
    pub key: String,
    /// One sentence for the operator.
    pub detail: String,
    /// The product concerned.
    pub product: Option<ProductId>,
    /// The order concerned.
    pub order: Option<OrderId>,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace that raised it.
    pub trace_id: String,
}

/// An alert that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertEnd {
    /// UPPER_SNAKE.
    pub kind: &'static str,
    /// Tells one alert of a kind from another.
    pub key: String,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace that ended it.
    pub trace_id: String,
}

/// What becomes of an order's dead letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeadLetterNote {
    /// Set aside; one that is there already is opened again.
    Open {
        /// Used when it is new.
        id: Uuid,
        /// The order.
        order: OrderId,
        /// Which work.
        kind: DeadLetterKind,
        /// Of the last attempt.
        trouble: Trouble,
        /// For a person.
        detail: String,
        /// When, ms since the Unix epoch.
        at_ms: i64,
        /// Trace of the order.
        trace_id: String,
    },
    /// Handed back to a worker.
    Redriving {
        /// The order.
        order: OrderId,
        /// Which work.
        kind: DeadLetterKind,
        /// When, ms since the Unix epoch.
        at_ms: i64,
    },
    /// Finished after all, if there was one.
    Done {
        /// The order.
        order: OrderId,
        /// Which work.
        kind: DeadLetterKind,
        /// When, ms since the Unix epoch.
        at_ms: i64,
    },
}

/// A fact to note beside the order: a webhook's, or one that the order's own row can't show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// The order.
    pub order: OrderId,
    /// What was learnt.
    pub learnt: Learnt,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
}

/// What a command is answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The order was made.
    Created(Order),
    /// An earlier call with the same key had made it.
    Existing(Order),
    /// It is cancelled.
    Cancelled {
        /// As it is now.
        order: Order,
        /// By an earlier call.
        already: bool,
    },
    /// A report, finding or redrive holds, whether it changed something or repeated what was known.
    Done(Order),
    /// The claim was lost meanwhile: what was reported says nothing any more.
    Stale,
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why a command was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No such order, or another customer's.
    OrderNotFound(OrderId),
    /// No such product.
    ProductNotFound(ProductId),
    /// Out of sale.
    ProductArchived(ProductId),
    /// A product of another currency than the first one's.
    CurrencyMismatch {
        /// The first product's.
        expected: Currency,
        /// This one's.
        actual: Currency,
    },
    /// The total is in another currency than the expected one.
    ExpectedCurrency {
        /// The caller's.
        expected: Currency,
        /// The products'.
        actual: Currency,
    },
    /// The total is not the expected one.
    TotalChanged {
        /// What the caller expected, minor units.
        expected: Minor,
        /// What it is.
        actual: Minor,
        /// Of both.
        currency: Currency,
    },
    /// Fewer units than asked for.
    InsufficientStock {
        /// The product.
        product: ProductId,
        /// Units asked for.
        requested: u32,
        /// Units there are.
        available: i64,
    },
    /// The key was used for another request, which made this order.
    KeyReused {
        /// The key.
        key: String,
        /// What it made.
        order: OrderId,
    },
    /// The order is past PENDING.
    NotCancellable {
        /// The order.
        order: OrderId,
        /// Where it stands.
        status: Status,
    },
    /// There is no such work to hand back.
    NotSetAside(OrderId),
    /// The customer has all that one may have open.
    TooManyOpen {
        /// The setting.
        limit: &'static str,
        /// Its value.
        most: i64,
    },
}
