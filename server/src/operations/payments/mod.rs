//! The payment gateway: what can be asked of one, and the two there are.
//!
//! **Architecture Invariant**: every call carries the caller's own key (an order's or a purchase's UUID), and a gateway
//! promises that however often it is asked under one key it takes the money once. So whatever was lost (an answer, this
//! process, a lease) is asked for again with the same key.
//!
//! **Only a definite answer counts.** [`Said`] is definite: the gateway will say the same when asked again. Everything else is
//! [`Failed`]: the money may or may not have been taken. Which is which over HTTP is written in docs/gateway.md.
//!
//! [`Till`] is what workers use: a gateway with its timeout, its circuit breaker and its metrics. To add a gateway: implement
//! [`Gateway`] beside [`http`], name it in `payments.gateway`, and hold it against the tests of the others.

mod breaker;
mod contract;
mod http;
mod simulated;
mod till;
mod webhook;

pub use breaker::{Breaker, BreakerSettings, BreakerState, Permit};
pub use http::{BadGateway, HttpGateway, HttpGatewaySettings};
pub use simulated::{SimulatedGateway, SimulatedSettings};
pub use till::{Till, TillSettings};
pub use webhook::{BadNotice, BadSignature, MAX_WEBHOOK_BYTES, Notice, WebhookSecrets};

use crate::auth::BoxFuture;
use crate::domain::payment::{MAX_DETAIL_BYTES, Trouble, Verdict};
use uuid::Uuid;
use vend_core::money::{Currency, Minor};

/// A payment, as every call names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The caller's key: an order's or a purchase's id.
    pub key: Uuid,
    /// Of the amount.
    pub currency: Currency,
    /// Minor units.
    pub amount_minor: Minor,
    /// The gateway's own name for the payment as far as it is known; empty: not yet.
    pub payment_id: String,
    /// W3C traceparent of the work this is part of; may be empty.
    pub traceparent: String,
}

/// When approved money is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capture {
    /// With the approval.
    Now,
    /// It is held until it is captured or voided.
    Later,
}

/// A call of the contract; for metrics and logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Approve, and take or hold.
    Authorise,
    /// Take what is held.
    Capture,
    /// Let go what is held, and never take money under this key.
    Void,
    /// Give back what was taken.
    Refund,
    /// Say what became of it.
    Query,
}

impl Operation {
    /// A fixed word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorise => "authorise",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::Query => "query",
        }
    }
}

/// A payment as the gateway says it definitely is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payment {
    /// The gateway's name for it, at most 128 bytes.
    pub payment_id: String,
    /// What it is.
    pub verdict: Verdict,
    /// The gateway's own words, at most 256 bytes; may be empty.
    pub detail: String,
}

/// A definite answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// About the payment of this key, its amount and currency checked.
    Payment(Payment),
    /// Only of authorise: it refuses this request itself and takes nothing because of it. Says nothing about an earlier request
    /// with the same key whose answer was lost.
    Refused(String),
    /// Only of a query: it knows no payment under this key. One may still be on its way: [`Gateway::void`] settles that.
    NoPayment,
}

/// No definite answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// Why.
    pub trouble: Trouble,
    /// For people, at most 256 bytes; nothing secret.
    pub detail: String,
    /// It tells on the gateway as a whole, not on one payment: the breaker counts it.
    pub outage: bool,
}

impl Failed {
    /// The gateway as a whole is in trouble.
    pub fn outage(trouble: Trouble, detail: impl Into<String>) -> Self {
        Self { trouble, detail: cut(detail.into()), outage: true }
    }

    /// This one payment is in trouble, by a gateway that works.
    pub fn payment(trouble: Trouble, detail: impl Into<String>) -> Self {
        Self { trouble, detail: cut(detail.into()), outage: false }
    }
}

/// What a gateway does. [`Till`] bounds the time of every call: a call that is dropped half-way is one whose answer is lost.
pub trait Gateway: Send + Sync + 'static {
    /// Approves a payment, and takes or holds the money. The same key again: the same payment, and no money a second time.
    fn authorise<'g>(&'g self, ask: &'g Ask, capture: Capture) -> BoxFuture<'g, Result<Said, Failed>>;

    /// Takes what is held. Captured already: says so.
    fn capture<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>>;

    /// Lets go what is held and binds itself never to take money under this key, also when it never saw it. Captured already:
    /// says so and changes nothing.
    fn void<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>>;

    /// Gives back what was taken. Given back already: says so.
    fn refund<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>>;

    /// Says what became of it, and changes nothing.
    fn query<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>>;
}

/// At most [`MAX_DETAIL_BYTES`], at a character's end.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_DETAIL_BYTES));
    text
}
