//! Commands about the pool and what they are answered with: all values.

use super::model::{Failure, MachineKind, Mode, Purchase, Session, Standing};
use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::payment::Trouble;
use uuid::Uuid;
use vend_core::id::ProductId;
use vend_core::money::{Currency, Minor};

/// What an operator can set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long StartWork holds a machine without a product, ms.
    pub lease_ms: i64,
    /// How long a command may wait for a machine's Sync, ms.
    pub reservation_ms: i64,
    /// Purchases failed in a row after which a machine rests.
    pub rest_after: i64,
    /// How long it rests, ms.
    pub rest_ms: i64,
}

/// One thing to be done in the pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Hold a machine for a customer.
    Start(Start),
    /// Choose what to buy on it.
    Choose(Choose),
    /// End a session from any state.
    Reset(Reset),
    /// Say what became of a purchase in doubt.
    Resolve(Resolve),
    /// What came of work a worker had claimed.
    Report(Report),
    /// Free a machine whose lease or rest is over.
    Free(MachineId, i64),
}

/// Which machine is wanted. All that is given must hold.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pick {
    /// Of this group.
    pub group: Option<String>,
    /// With every one of these tags, in order, each once.
    pub tags: Vec<String>,
    /// That can give this product now.
    pub product: Option<ProductId>,
    /// Of this kind.
    pub kind: Option<MachineKind>,
}

/// Hold a machine for a customer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// The session's name if one begins.
    pub session: SessionId,
    /// Who it is for.
    pub customer: String,
    /// Which machine is wanted.
    pub pick: Pick,
    /// Who asks, `Caller::name`.
    pub caller: String,
    /// Made by the caller.
    pub request_id: Uuid,
    /// SHA-256 of the request without its id.
    pub fingerprint: [u8; 32],
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace of the call.
    pub trace_id: String,
}

/// Choose what to buy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choose {
    /// The purchase's name if it is made.
    pub purchase: PurchaseId,
    /// The session.
    pub session: SessionId,
    /// The session's machine, as the caller's token says; `None`: the token is not the session's.
    pub on: Option<(MachineId, MachineKind)>,
    /// The product.
    pub product: ProductId,
    /// The price the customer saw.
    pub expected_price: Option<(Currency, Minor)>,
    /// How it is paid.
    pub mode: Mode,
    /// Who asks, `Caller::name`.
    pub caller: String,
    /// Made by the caller.
    pub request_id: Uuid,
    /// SHA-256 of the request without its id.
    pub fingerprint: [u8; 32],
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace of the call.
    pub trace_id: String,
    /// W3C traceparent of the call.
    pub traceparent: String,
}

/// End a session from any state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reset {
    /// The machine.
    pub machine: MachineId,
    /// The session to end.
    pub session: SessionId,
    /// Why.
    pub note: String,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace of the call.
    pub trace_id: String,
    /// W3C traceparent of the call.
    pub traceparent: String,
}

/// Say what became of a purchase in doubt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolve {
    /// The purchase.
    pub purchase: PurchaseId,
    /// What became of it.
    pub resolution: Resolution,
    /// How it is known.
    pub note: String,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace of the call.
    pub trace_id: String,
    /// W3C traceparent of the call.
    pub traceparent: String,
}

/// What an operator found out. The numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// The customer has the product.
    Dispensed = 1,
    /// The customer has nothing.
    NotDispensed = 2,
}

/// What came of work a worker had claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The purchase.
    pub purchase: PurchaseId,
    /// The fence of the claim.
    pub fence: i64,
    /// How often the gateway was asked under this claim.
    pub attempts: u32,
    /// What came of it.
    pub done: JobDone,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
}

/// What came of work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobDone {
    /// The gateway holds the money, under this name.
    Authorised(String),
    /// The gateway refused; its own words.
    Declined(String),
    /// The gateway took the money.
    Captured(String),
    /// The gateway let the money go, or never will hold any.
    Voided,
    /// The gateway had taken the money and gave it back.
    Refunded,
    /// All attempts are used up and nothing is known.
    Unknown {
        /// Of the last attempt.
        trouble: Trouble,
        /// For a person.
        detail: String,
        /// How long until it is asked again, ms.
        again_in_ms: i64,
    },
    /// A virtual machine's delay is over, or a real machine's time for the command.
    Elapsed,
    /// What the machine's journal says.
    Said(Said),
}

/// What a machine's journal says of a dispense command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// The product came out.
    Vended,
    /// The motor failed.
    Failed(String),
    /// Not carried out; UPPER_SNAKE reason of the machine.
    Refused(String),
    /// The power went while the motor ran: nobody knows.
    Unknown,
    /// Another boot than the command was bound to, and nothing of it in a journal that is known whole.
    Changed,
}

/// A claimed job, with what a worker needs to do it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// The purchase as claimed.
    pub purchase: Purchase,
    /// What the machine has said of its command, if it has.
    pub said: Option<Said>,
}

/// What a command is answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "made once per call and moved to its caller")]
pub enum Answer {
    /// A session, begun now or by an earlier call with the same request id.
    Started {
        /// As it is now.
        session: Session,
        /// Begun by an earlier call.
        already: bool,
    },
    /// A purchase, made now or by an earlier call with the same request id.
    Chosen {
        /// As it is now.
        purchase: Purchase,
        /// As it is now.
        session: Session,
        /// Made by an earlier call.
        already: bool,
    },
    /// A session was ended.
    Reset {
        /// As it is now.
        session: Session,
        /// Where the machine stands now.
        standing: Standing,
        /// Units given back.
        units_returned: u32,
    },
    /// A purchase as it is now.
    Done(Purchase),
    /// The claim was lost meanwhile, or there is nothing to do.
    Stale,
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why a command was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No machine that fits is idle.
    NoIdleMachine,
    /// The request id was used for another request, which made this.
    RequestReused(Uuid),
    /// No such session.
    SessionNotFound(SessionId),
    /// The token is another session's.
    TokenMismatch(SessionId),
    /// Its lease ended before a product was chosen.
    SessionExpired(SessionId, i64),
    /// It is over, or the machine is in another.
    SessionEnded(SessionId, Option<SessionId>),
    /// The machine is not where this needs it.
    NotInState(MachineId, Standing),
    /// The machine is in no session.
    AlreadyIdle(MachineId),
    /// No such machine.
    MachineNotFound(MachineId),
    /// No such product.
    ProductNotFound(ProductId),
    /// Out of sale.
    ProductArchived(ProductId),
    /// The machine has no slot with it.
    ProductNotInMachine(MachineId, ProductId),
    /// Nothing left of it, in the slot or in central stock.
    InsufficientStock(ProductId),
    /// The price is not what the customer saw.
    PriceChanged {
        /// The product.
        product: ProductId,
        /// What the customer saw.
        expected: (Currency, Minor),
        /// What it is.
        actual: (Currency, Minor),
    },
    /// The currency is not what the customer saw.
    CurrencyMismatch {
        /// What the customer saw.
        expected: Currency,
        /// What it is.
        actual: Currency,
    },
    /// A real machine has lost its connection.
    Unreachable(MachineId, i64),
    /// Two devices speak as it.
    Cloned(MachineId),
    /// No such purchase.
    PurchaseNotFound(PurchaseId),
    /// It is not in doubt.
    NotInDoubt(PurchaseId, &'static str),
}

/// Why a purchase ended without the product, with the words of whoever said so.
pub(super) type Why = (Failure, String);
