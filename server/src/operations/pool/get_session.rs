//! A session as it is now.

use super::refusal::refused;
use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::pool::{MachineKind, Pooled, Purchase, Refusal, Session, Shown};
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::store::{clock, pool as store};

/// Which session is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionName {
    /// This one, present or past.
    Session(SessionId),
    /// The present one of a machine.
    Machine(MachineId),
    /// The one in which this was bought.
    Purchase(PurchaseId),
}

/// A session with what is beside it, at one moment of the database's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionNow {
    /// One whose lease is over has expired, whether somebody has noted it or not.
    pub session: Session,
    /// Its purchase.
    pub purchase: Option<Purchase>,
    /// What stands behind its machine.
    pub kind: MachineKind,
    /// Where its machine stands.
    pub machine: Shown,
}

impl SessionNow {
    pub(super) fn new(session: &Session, purchase: Option<Purchase>, pooled: &Pooled, clock_ms: i64) -> Self {
        Self {
            session: session.shown(clock_ms),
            purchase,
            kind: pooled.kind,
            machine: pooled.shown(clock_ms),
        }
    }
}

/// A session by its id, by its purchase's, or as the present one of a machine.
///
/// # Errors
/// MACHINE_NOT_FOUND, PURCHASE_NOT_FOUND, SESSION_NOT_FOUND.
pub async fn get_session(deps: &Deps, name: SessionName) -> Result<SessionNow, ApiError> {
    let id = match name {
        SessionName::Session(id) => id,
        SessionName::Purchase(id) => {
            let found = store::find_purchase(&mut deps.store.read().await?, id).await?;
            found.ok_or_else(|| refused(Refusal::PurchaseNotFound(id)))?.session
        }
        SessionName::Machine(machine) => {
            let mut session = deps.store.read().await?;
            let (pooled, _) = store::of_machine(&mut session, machine)
                .await?
                .ok_or_else(|| refused(Refusal::MachineNotFound(machine)))?;
            let now_ms = clock::clock_ms(&mut session, deps.context.now_ms()).await?;
            pooled.shown(now_ms).session.ok_or_else(|| {
                ApiError::new(Reason::SessionNotFound, "machine_id: the machine is in no session")
                    .with("machine_id", machine)
            })?
        }
    };
    now(deps, id).await
}

pub(super) async fn now(deps: &Deps, id: SessionId) -> Result<SessionNow, ApiError> {
    let mut reading = deps.store.read().await?;
    let not_found = || refused(Refusal::SessionNotFound(id));
    let session = store::find_session(&mut reading, id).await?.ok_or_else(not_found)?;
    let purchase = match session.purchase {
        Some(purchase) => store::find_purchase(&mut reading, purchase).await?,
        None => None,
    };
    let pooled = store::of_machines(&mut reading, &[session.machine]).await?.pop();
    let pooled = pooled.ok_or_else(|| refused(Refusal::MachineNotFound(session.machine)))?;
    let now_ms = clock::clock_ms(&mut reading, deps.context.now_ms()).await?;
    Ok(SessionNow::new(&session, purchase, &pooled, now_ms))
}
