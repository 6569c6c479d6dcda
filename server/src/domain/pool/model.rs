//! What a machine in the pool, a session and a purchase are.

use crate::domain::ids::{EventId, MachineId, PurchaseId, SessionId};
use crate::domain::payment::PaymentStatus;
use crate::domain::stock::StockMove;
use vend_core::id::ProductId;
use vend_core::money::{Currency, Minor};

/// `free_at_ms` of a machine that nothing frees but a decision.
pub const NEVER: i64 = i64::MAX;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The one of that number, if there is one.
            pub fn from_number(number: i64) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| *one as i64 == number)
            }
        }
    };
}

numbered! {
    /// What stands behind a machine. The numbers are the wire's and the store's.
    MachineKind {
        /// A job on the server, served from central stock.
        Virtual = 1,
        /// A device with slots of its own.
        Real = 2,
    }
}

numbered! {
    /// Where a machine stands in the pool, as stored. The numbers are the wire's.
    Standing {
        /// Free, unless it is a real machine that is not connected.
        Idle = 1,
        /// In a session that has no product yet.
        ChooseProduct = 2,
        /// Carrying out a purchase.
        Processing = 3,
        /// A dispense command was handed out and nobody knows what became of it.
        InDoubt = 4,
        /// Too many purchases in a row failed.
        Resting = 5,
        /// Archived.
        Absent = 6,
    }
}

numbered! {
    /// Where a session stands. The numbers are the wire's and the store's.
    SessionState {
        /// Holds a machine until a product is chosen or the lease ends.
        ChooseProduct = 1,
        /// Its purchase is being carried out.
        Processing = 2,
        /// Its purchase completed.
        Completed = 3,
        /// Its purchase failed.
        Failed = 4,
        /// Its lease ended before a product was chosen.
        Expired = 5,
        /// An operator ended it.
        Reset = 6,
    }
}

numbered! {
    /// How a purchase is paid. The numbers are the wire's and the store's.
    Mode {
        /// Not by us.
        None = 1,
        /// By the gateway.
        Gateway = 2,
    }
}

numbered! {
    /// Where a purchase stands. The numbers are the wire's and the store's.
    PurchaseState {
        /// The unit is held, nothing else happened yet.
        Reserved = 1,
        /// The gateway is being asked to hold the money.
        Authorising = 2,
        /// The job runs, or a command waits for the machine's next Sync.
        Dispensing = 3,
        /// The command was handed out and its result has not come.
        InDoubt = 4,
        /// Dispensed; the gateway is being asked to take the money.
        Capturing = 5,
        /// Not dispensed; the gateway is being asked to let the money go.
        Voiding = 6,
        /// Dispensed, and paid where payment was asked for; final.
        Completed = 7,
        /// Not dispensed; unit and money are back; final.
        Failed = 8,
    }
}

impl PurchaseState {
    /// The contract's name for it, without prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reserved => "RESERVED",
            Self::Authorising => "AUTHORISING",
            Self::Dispensing => "DISPENSING",
            Self::InDoubt => "IN_DOUBT",
            Self::Capturing => "CAPTURING",
            Self::Voiding => "VOIDING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }

    /// Whether nothing more can happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

numbered! {
    /// Why a purchase failed. The numbers are the wire's and the store's.
    Failure {
        /// The gateway declined to hold the money.
        PaymentDeclined = 1,
        /// The gateway gave no definite answer in time.
        PaymentUnknown = 2,
        /// The motor reported failure.
        VendFailed = 3,
        /// The machine refused the command.
        Refused = 4,
        /// The machine had sold the unit itself.
        SoldLocally = 5,
        /// The command expired before it was in a Sync answer.
        Expired = 6,
        /// The machine opened another boot than the command was bound to, and its journal shows no vend.
        MachineChanged = 7,
        /// An operator reset the machine.
        Reset = 8,
        /// An operator resolved it as not dispensed.
        Resolved = 9,
    }
}

numbered! {
    /// What a worker has to do for a purchase. The numbers are the store's.
    Work {
        /// Nothing.
        None = 0,
        /// Have the gateway hold the money.
        Authorise = 1,
        /// See the dispensing through: a virtual machine's job ends, a real one's command has lapsed.
        Dispense = 2,
        /// Have the gateway take the money.
        Capture = 3,
        /// Have the gateway let the money go.
        Void = 4,
    }
}

/// A machine's part in remote purchases.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pooled {
    /// Its name.
    pub id: MachineId,
    /// What stands behind it.
    pub kind: MachineKind,
    /// Where it stands.
    pub standing: Standing,
    /// The session it is in.
    pub session: Option<SessionId>,
    /// The purchase that holds it: under way, or in doubt after its session was reset.
    pub purchase: Option<PurchaseId>,
    /// Completed purchases, ever.
    pub usage: i64,
    /// When StartWork last took it, ms since the Unix epoch; 0: never.
    pub last_picked_ms: i64,
    /// Purchases failed since a product last came out, those apart that say nothing about the machine.
    pub failures: i64,
    /// When it is free by itself, by the database's clock; 0: it is; [`NEVER`].
    pub free_at_ms: i64,
    /// A real machine's connection is believed until then, by the database's clock.
    pub connected_until_ms: i64,
    /// Whether a real machine could carry out a purchase when it last spoke.
    pub fit: bool,
    /// Rises with every session.
    pub fence: i64,
    /// The group it is in; empty: none.
    pub group: String,
    /// How long a virtual machine's job takes, ms.
    pub delay_ms: i64,
}

impl Pooled {
    /// Whether StartWork may take it at this moment of the database's clock.
    pub fn is_free(&self, clock_ms: i64) -> bool {
        self.free_at_ms <= clock_ms && (self.kind == MachineKind::Virtual || self.is_present(clock_ms))
    }

    /// A real machine that is connected and could carry out a purchase; a virtual one that is not archived.
    pub fn is_present(&self, clock_ms: i64) -> bool {
        match self.kind {
            MachineKind::Virtual => self.standing != Standing::Absent,
            MachineKind::Real => self.fit && self.connected_until_ms > clock_ms,
        }
    }
}

/// One customer on one machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// The machine.
    pub machine: MachineId,
    /// Who it is for.
    pub customer: String,
    /// Where it stands.
    pub state: SessionState,
    /// When the lease ends, by the database's clock; 0 once a product is chosen or it is over.
    pub lease_until_ms: i64,
    /// Its purchase.
    pub purchase: Option<PurchaseId>,
    /// Who asked for it, `Caller::name`.
    pub caller: String,
    /// Made by the caller.
    pub request_id: uuid::Uuid,
    /// SHA-256 of the request without its id.
    pub fingerprint: [u8; 32],
    /// When it began, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When it was over; 0: not yet.
    pub ended_at_ms: i64,
    /// Trace that began it.
    pub trace_id: String,
}

/// One unit of one product, bought on a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Purchase {
    /// Its name, the gateway's key for its payment, and the vend's transaction id.
    pub id: PurchaseId,
    /// Its session.
    pub session: SessionId,
    /// The machine.
    pub machine: MachineId,
    /// What stands behind the machine.
    pub kind: MachineKind,
    /// Who it is for.
    pub customer: String,
    /// The product.
    pub product: ProductId,
    /// The slot on a real machine; 0 on a virtual one.
    pub slot: u16,
    /// Of the price.
    pub currency: Currency,
    /// Price charged.
    pub price_minor: Minor,
    /// How it is paid.
    pub mode: Mode,
    /// What is known of its money.
    pub payment: PaymentStatus,
    /// The gateway's name for the payment; empty until it gave one.
    pub gateway_payment_id: String,
    /// Where it stands.
    pub state: PurchaseState,
    /// Why it failed, or will have failed once its money is let go.
    pub failure: Option<Failure>,
    /// The machine's, the gateway's or the operator's words about it.
    pub failure_detail: String,
    /// Whether it holds a unit.
    pub holds_unit: bool,
    /// Whether its session is still the machine's.
    pub holds_machine: bool,
    /// The dispense command on a real machine; 0: none.
    pub command_number: u64,
    /// The machine has said what became of the command, and nobody has looked yet.
    pub heard: bool,
    /// When the reservation lapses unless the command was handed out, ms since the Unix epoch; 0 on a virtual machine, and
    /// until dispensing begins.
    pub reservation_end_ms: i64,
    /// What a worker has to do.
    pub work: Work,
    /// When a worker may take it, or until when one holds it, by the database's clock; 0: never.
    pub due_at_ms: i64,
    /// Rises with every claim and with everything that makes a late job void.
    pub fence: i64,
    /// How often the gateway was asked in the present step.
    pub attempts: u32,
    /// Who asked for it, `Caller::name`.
    pub caller: String,
    /// Made by the caller.
    pub request_id: uuid::Uuid,
    /// SHA-256 of the request without its id.
    pub fingerprint: [u8; 32],
    /// When it was made, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When it last changed.
    pub updated_at_ms: i64,
    /// When it became final; 0: not yet.
    pub ended_at_ms: i64,
    /// Trace of the call that made it.
    pub trace_id: String,
    /// W3C traceparent of that call; may be empty.
    pub traceparent: String,
}

impl Purchase {
    /// Whether a gateway is asked for its money. Where there is nothing to pay nobody is asked.
    pub fn pays(&self) -> bool {
        self.mode == Mode::Gateway && self.price_minor > 0
    }
}

/// Central stock a purchase moved: the event of its commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PurchaseChange {
    /// The event's name.
    pub event: EventId,
    /// The purchase.
    pub purchase: PurchaseId,
    /// What it moved.
    pub moved: StockMove,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace it follows from.
    pub trace_id: String,
    /// W3C traceparent it follows from; may be empty.
    pub traceparent: String,
}
