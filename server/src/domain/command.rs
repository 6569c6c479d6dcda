//! Numbered commands to real machines: what one is, and how it ends. A number is given once per machine and never again.

use crate::domain::ids::{MachineId, PurchaseId};
use crate::domain::pool::Said;
use uuid::Uuid;
use vend_core::id::{BootId, Epoch, ProductId};
use vend_core::money::{Currency, Minor};
use vend_core::record::{Body, VendOutcome};

/// Longest time that a command may be handed out, ms.
pub const MAX_TTL_MS: i64 = 2_592_000_000;
/// How long it may be when nobody says, ms.
pub const DEFAULT_TTL_MS: i64 = 86_400_000;
/// Commands of one machine that may still be handed out, at most: an operator's are refused beyond.
pub const MAX_OPEN_PER_MACHINE: i64 = 100;
/// Longest reason of a refusal that is kept, bytes.
const MAX_REFUSAL_BYTES: usize = 64;

/// Reason of a command that ended unheard: the machine restarted before it began.
pub const WRONG_BOOT: &str = "WRONG_BOOT";
/// Reason of a command that ended unheard: the machine's journal is another one now.
pub const WRONG_EPOCH: &str = "WRONG_EPOCH";
/// Reason of a command that ended unheard: the machine is past its number and never took it.
pub const NOT_TAKEN: &str = "NOT_TAKEN";

/// Where a page of commands goes on: when the last one was made, its machine and its number.
pub type Place = (i64, (Uuid, i64));

/// How far a command is. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Was in no Sync answer yet.
    Pending = 1,
    /// Was in one, and the machine has not said what became of it.
    HandedOut = 2,
    /// Carried out.
    Done = 3,
    /// Not carried out.
    Refused = 4,
    /// Was in no answer and never will be.
    Expired = 5,
    /// Was in an answer, its time is over, and its result still counts.
    InDoubt = 6,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::HandedOut, Self::Done, Self::Refused, Self::Expired, Self::InDoubt];

    /// The one of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i64 == number)
    }

    /// Whether it may still travel.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::HandedOut | Self::InDoubt)
    }
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Dispense one unit on remote credit.
    Dispense(Dispense),
    /// Stop selling, and show this.
    OutOfService(String),
    /// Sell again.
    ReturnToService,
}

/// One unit on remote credit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dispense {
    /// The purchase; the vend's transaction id.
    pub purchase: PurchaseId,
    /// The slot.
    pub slot: u16,
    /// What is expected in it.
    pub product: ProductId,
    /// Price paid.
    pub price_minor: Minor,
    /// Of the price.
    pub currency: Currency,
}

/// What an operator orders a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewCommand {
    /// The machine.
    pub machine: MachineId,
    /// What to do.
    pub order: Order,
    /// How long it may be handed out, ms.
    pub ttl_ms: i64,
    /// Who sends it.
    pub sent_by: String,
}

/// A command as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The machine.
    pub machine: MachineId,
    /// Its number.
    pub number: u64,
    /// How far it is, as stored: see [`Command::state_at`].
    pub state: State,
    /// The journal it is bound to.
    pub epoch: Epoch,
    /// The boot it is bound to; `None`: any.
    pub boot: Option<BootId>,
    /// Device uptime after which it must not start any more, ms; 0: none.
    pub expires_uptime_ms: u64,
    /// What to do.
    pub order: Order,
    /// The machine's reason, or why it ended unheard; empty: none.
    pub refusal: String,
    /// The record with its result; 0: none came.
    pub result_seq: u64,
    /// Who sent it.
    pub sent_by: String,
    /// When it was sent, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When it was first in an answer; 0: never.
    pub handed_out_at_ms: i64,
    /// When it may not be handed out any more, by the database's clock.
    pub expires_at_ms: i64,
    /// When it came to its end; 0: not yet.
    pub ended_at_ms: i64,
}

impl Command {
    /// How far it is at this moment of the database's clock: that its time is over needs no write.
    #[must_use]
    pub fn state_at(&self, now_ms: i64) -> State {
        match self.state {
            State::Pending if self.expires_at_ms <= now_ms => State::Expired,
            State::HandedOut if self.expires_at_ms <= now_ms => State::InDoubt,
            other => other,
        }
    }

    /// The purchase it dispenses for.
    #[must_use]
    pub fn purchase(&self) -> Option<PurchaseId> {
        match &self.order {
            Order::Dispense(dispense) => Some(dispense.purchase),
            Order::OutOfService(_) | Order::ReturnToService => None,
        }
    }

    /// What the machine has said of a dispense command, if it has.
    #[must_use]
    pub fn said(&self) -> Option<Said> {
        self.purchase()?;
        match self.state {
            State::Done => Some(Said::Vended),
            State::Refused | State::Expired if self.ended_unheard() => Some(Said::Changed),
            State::Refused => Some(match self.refusal.as_str() {
                "OUTCOME_UNKNOWN" => Said::Unknown,
                "VEND_FAILED" => Said::Failed("the motor failed".to_owned()),
                reason => Said::Refused(reason.to_owned()),
            }),
            State::Pending | State::HandedOut | State::Expired | State::InDoubt => None,
        }
    }

    fn ended_unheard(&self) -> bool {
        self.refusal == NOT_TAKEN || (self.result_seq == 0 && !self.refusal.is_empty())
    }

    /// Takes the machine's word on it. The first one stands: the vend's record, or the result's. Whether it changed anything.
    pub fn hear(&mut self, body: &Body, seq: u64, at_ms: i64) -> bool {
        if self.result_seq > 0 {
            return false;
        }
        let (state, refusal) = match (body, &self.order) {
            (Body::Vend(vend), Order::Dispense(dispense))
                if vend.transaction.0 == *dispense.purchase.as_bytes() =>
            {
                match vend.outcome {
                    VendOutcome::Success => (State::Done, ""),
                    VendOutcome::Failure => (State::Refused, "VEND_FAILED"),
                    VendOutcome::Unknown(_) => (State::Refused, "OUTCOME_UNKNOWN"),
                }
            }
            // It was in no answer: its number was another's in another life of the server's data, or the machine refused this
            // one in that life.
            (Body::Vend(_) | Body::CommandResult(_), _) if self.state == State::Pending => return false,
            // The number was another's in another life of the server's data: the machine will never take this one.
            (Body::Vend(_), _) => (State::Refused, NOT_TAKEN),
            (Body::CommandResult(result), _) if result.done => (State::Done, ""),
            (Body::CommandResult(result), _) => (State::Refused, cut(&result.reason)),
            _ => return false,
        };
        self.refusal = refusal.to_owned();
        self.state = state;
        self.result_seq = seq;
        self.ended_at_ms = at_ms;
        true
    }

    /// Ends it without a word of the machine: it can't be carried out any more, and the journal shows that it was not.
    pub fn end_unheard(&mut self, reason: &'static str, at_ms: i64) {
        self.state = if self.state == State::Pending { State::Expired } else { State::Refused };
        reason.clone_into(&mut self.refusal);
        self.ended_at_ms = at_ms;
    }
}

/// The number of the command that a record is about; 0: none.
#[must_use]
pub fn number_in(body: &Body) -> u64 {
    match body {
        Body::Vend(vend) => vend.command_number,
        Body::CommandResult(result) => result.number,
        _ => 0,
    }
}

/// The purchase that a record is the vend of: a command's, whatever number it had. `None`: no command asked for it.
#[must_use]
pub fn purchase_in(body: &Body) -> Option<PurchaseId> {
    match body {
        Body::Vend(vend) if vend.command_number > 0 => Some(PurchaseId(Uuid::from_bytes(vend.transaction.0))),
        _ => None,
    }
}

fn cut(reason: &str) -> &str {
    // A machine that gives no reason has refused all the same.
    if reason.is_empty() { "REFUSED" } else { &reason[..reason.floor_char_boundary(MAX_REFUSAL_BYTES)] }
}
