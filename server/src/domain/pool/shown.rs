//! Machines and sessions as they are at a moment of the database's clock: what is over by itself needs no write to be over.

use super::model::{MachineKind, Pooled, Session, SessionState, Standing};
use crate::domain::ids::{PurchaseId, SessionId};

/// A machine's part in remote purchases as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Where it stands. `Absent`: not in the pool now.
    pub standing: Standing,
    /// The session it is in.
    pub session: Option<SessionId>,
    /// The purchase that holds it, under way or in doubt.
    pub purchase: Option<PurchaseId>,
    /// Completed purchases, ever.
    pub usage: i64,
    /// When StartWork last took it, ms since the Unix epoch; 0: never.
    pub last_picked_ms: i64,
    /// Purchases failed since a product last came out, those apart that say nothing about the machine.
    pub failures: i64,
    /// Until when it rests, ms since the Unix epoch; 0: it does not.
    pub resting_until_ms: i64,
}

impl Pooled {
    /// As it is at this moment.
    #[must_use]
    pub fn shown(&self, clock_ms: i64) -> Shown {
        let free = self.free_at_ms <= clock_ms;
        let standing = match (free, self.kind) {
            (true, MachineKind::Real) if !self.is_present(clock_ms) => Standing::Absent,
            (true, _) => Standing::Idle,
            (false, _) => self.standing,
        };
        Shown {
            standing,
            session: if free { None } else { self.session },
            purchase: if free { None } else { self.purchase },
            usage: self.usage,
            last_picked_ms: self.last_picked_ms,
            failures: self.failures,
            resting_until_ms: if standing == Standing::Resting { self.free_at_ms } else { 0 },
        }
    }

    /// Whether somebody holds it, or a doubt does.
    #[must_use]
    pub fn is_held(&self, clock_ms: i64) -> bool {
        let holds =
            matches!(self.standing, Standing::ChooseProduct | Standing::Processing | Standing::InDoubt);
        holds && self.free_at_ms > clock_ms
    }
}

impl Session {
    /// As it is at this moment: one whose lease is over has expired, whether somebody has noted it or not.
    #[must_use]
    pub fn shown(&self, clock_ms: i64) -> Self {
        let over = self.state == SessionState::ChooseProduct && self.lease_until_ms <= clock_ms;
        if over {
            let (state, ended_at_ms) = (SessionState::Expired, self.lease_until_ms);
            return Self { state, ended_at_ms, ..self.clone() };
        }
        self.clone()
    }
}
