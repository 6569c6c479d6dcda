//! A payment gateway that speaks docs/gateway.md, honours idempotency keys like a real one, and misbehaves on demand.
//!
//! What it does with the money ([`Act`]) and what the caller gets to see of it ([`Manner`]) are scripted apart: money may be
//! taken and the answer lost, which is the case everything else rests on. Its ledger is the truth a test holds the server
//! against: what was really charged and given back, per key.
//!
//! ```text
//! let gateway = TestGateway::start().await;
//! gateway.script(Op::Authorise, [Step::approve().but(Manner::HangUp), Step::approve()]);   // whoever calls first
//! gateway.script_for(&order_id, Op::Query, [Step::proper().but(Manner::Status(503))]);     // this key's next query
//! gateway.behave(|call| if call.nth == 0 { Step::decline() } else { Step::proper() });     // what no script names
//! ```
//!
//! Scripts of a key come first, then those by order of calls, then `behave`, then approval and a proper answer.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's other end: it stops when it can't go on"
)]

#[path = "gateway/ledger.rs"]
mod ledger;
#[path = "gateway/signed.rs"]
mod signed;
#[path = "gateway/wire.rs"]
mod wire;

pub use ledger::{Ledger, Payment, Status};
pub use signed::{Webhook, post};

use ledger::Books;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The API key it asks for.
pub const API_KEY: &str = "test-gateway-key";

/// A call of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// `POST /v1/payments`
    Authorise,
    /// `POST /v1/payments/{key}/capture`
    Capture,
    /// `POST /v1/payments/{key}/void`
    Void,
    /// `POST /v1/payments/{key}/refund`
    Refund,
    /// `GET /v1/payments/{key}`
    Query,
}

/// What the gateway does with the money, before it answers. A key it knows already gets its first decision again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Takes (or holds) what is asked for; for other calls than authorise: does what is asked.
    Approve,
    /// Refuses the payment.
    Decline,
    /// Does nothing: the request never reached its books.
    Nothing,
}

/// What the caller gets to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Manner {
    /// The answer of the contract.
    Proper,
    /// The proper answer, after so long.
    After(Duration),
    /// No answer and an open connection, until the caller goes away.
    Silence,
    /// This HTTP status and an error body, whatever was done.
    Status(u16),
    /// The connection is closed without an answer.
    HangUp,
    /// The connection is closed in the middle of the answer.
    HangUpMidAnswer,
    /// 200 and something that is no JSON.
    Garbage,
    /// 200 and JSON of another shape.
    OtherShape,
    /// The proper answer about one minor unit more.
    WrongAmount,
    /// The proper answer in another currency.
    WrongCurrency,
    /// The proper answer about another key.
    WrongKey,
    /// The proper answer, twice on the same connection.
    Twice,
    /// The proper answer, with this status said instead of the true one: a gateway that contradicts itself.
    Says(Status),
    /// "pending": it has the payment and has not decided.
    Pending,
    /// 200 and a body of so many bytes.
    Huge(usize),
    /// 307 to this place.
    Redirect(String),
}

/// One call's script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What it does.
    pub act: Act,
    /// What is seen of it.
    pub manner: Manner,
}

impl Step {
    /// Approves, and says so.
    pub fn approve() -> Self {
        Self { act: Act::Approve, manner: Manner::Proper }
    }

    /// Does what the call asks for, and says so.
    pub fn proper() -> Self {
        Self::approve()
    }

    /// Declines, and says so.
    pub fn decline() -> Self {
        Self { act: Act::Decline, manner: Manner::Proper }
    }

    /// Does nothing, and answers in this manner.
    pub fn nothing(manner: Manner) -> Self {
        Self { act: Act::Nothing, manner }
    }

    /// The same, seen in another manner.
    #[must_use]
    pub fn but(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }
}

/// A call it received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Which.
    pub op: Op,
    /// The idempotency key.
    pub key: String,
    /// How many calls of this kind with this key came before.
    pub nth: usize,
    /// `traceparent` header.
    pub traceparent: String,
}

type Behaviour = Arc<dyn Fn(&Call) -> Step + Send + Sync>;

#[derive(Default)]
struct State {
    books: Books,
    calls: Vec<Call>,
    scripts: HashMap<Op, VecDeque<Step>>,
    keyed: HashMap<(String, Op), VecDeque<Step>>,
    behaviour: Option<Behaviour>,
}

/// The running gateway. It ends when this is dropped.
pub struct TestGateway {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl TestGateway {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let (address, serving) = wire::serve(state.clone()).await;
        Self { address, state, serving }
    }

    /// For `payments.url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next calls of this kind, in order of arrival, whatever their key.
    pub fn script(&self, op: Op, steps: impl IntoIterator<Item = Step>) {
        self.state().scripts.entry(op).or_default().extend(steps);
    }

    /// The next calls of this kind with this key, in order.
    pub fn script_for(&self, key: &str, op: Op, steps: impl IntoIterator<Item = Step>) {
        self.state().keyed.entry((key.to_owned(), op)).or_default().extend(steps);
    }

    /// What happens to calls that no script names.
    pub fn behave(&self, behaviour: impl Fn(&Call) -> Step + Send + Sync + 'static) {
        self.state().behaviour = Some(Arc::new(behaviour));
    }

    /// Every authorise, capture and so on from now on that no script names answers 503 and does nothing.
    pub fn go_down(&self) {
        self.behave(|_| Step::nothing(Manner::Status(503)));
    }

    /// It works again.
    pub fn come_up(&self) {
        self.state().behaviour = None;
    }

    /// Every call so far, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// How many calls of this kind came with this key.
    pub fn count(&self, op: Op, key: &str) -> usize {
        self.state().calls.iter().filter(|call| call.op == op && call.key == key).count()
    }

    /// What was really done with the money.
    pub fn ledger(&self) -> Ledger {
        self.state().books.ledger()
    }

    /// Takes the money of a payment by itself, as a gateway does whose decision came late. Gives the payment.
    pub fn take(&self, key: &str, currency: &str, minor_units: i64) -> Payment {
        self.state().books.take(key, currency, minor_units)
    }

    /// A webhook about a payment as it is in the books.
    pub fn webhook(&self, key: &str) -> Webhook {
        let payment = self.state().books.find(key).unwrap_or_else(|| panic!("no payment under key {key}"));
        Webhook::about(&payment)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl State {
    fn step(&mut self, call: &Call) -> Step {
        let keyed = self.keyed.get_mut(&(call.key.clone(), call.op)).and_then(VecDeque::pop_front);
        let scripted = keyed.or_else(|| self.scripts.get_mut(&call.op).and_then(VecDeque::pop_front));
        scripted.unwrap_or_else(|| self.behaviour.as_ref().map_or_else(Step::proper, |behave| behave(call)))
    }
}
