//! Tells of real machines that are not heard any more, and that they are heard again.
//!
//! One replica looks at a time, under a lease whose state says since when the fleet could have been heard at all. A machine's
//! next Sync ends its alert in its own commit; a look ends what no Sync could: the alert of a machine that was archived or
//! lost its identity.

use super::Deps;
use super::deps::write;
use crate::domain::fleet::{AlertChange, Listening, MACHINE_SILENT};
use crate::domain::ids::{AlertId, MachineId};
use crate::error::ApiError;
use crate::store::alerts::{Raise, end, raise};
use crate::store::events::{self, Happening, Origin};
use crate::store::leases::{self, Lease};
use crate::store::silence;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Name of the lease.
const LEASE: &str = "machine_silence";
/// Longest pause between looks, ms.
const LOOK_EVERY_MOST_MS: i64 = 30_000;
/// Machines in one transaction, at most: a Sync of one of them waits for it.
const MACHINES_PER_WRITE: i64 = 100;
/// Before every machine.
const FIRST: MachineId = MachineId(Uuid::nil());

/// What one look did, machines.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Looked {
    /// Of whom it was told that they are silent.
    pub raised: u64,
    /// Of whom it was told that this is over.
    pub ended: u64,
}

/// Who looks on behalf of this process.
#[derive(Clone, Debug)]
pub struct Silence {
    /// How long a machine may say nothing, ms; 0: for ever.
    after_ms: i64,
    holder: String,
    held: Option<Lease>,
}

impl Silence {
    /// `after_ms`: how long a machine may say nothing; 0: for ever.
    #[must_use]
    pub fn new(deps: &Deps, after_ms: i64) -> Self {
        Self { after_ms, holder: deps.context.new_id().to_string(), held: None }
    }

    /// Pause between looks: several fit into what counts as having listened without a break, a lease that has to run out first
    /// included.
    #[must_use]
    pub fn look_every_ms(&self) -> i64 {
        if self.after_ms == 0 { LOOK_EVERY_MOST_MS } else { (self.after_ms / 16).min(LOOK_EVERY_MOST_MS) }
    }

    fn lease_ms(&self) -> i64 {
        self.look_every_ms().saturating_mul(2)
    }

    /// Looks once, if no other replica does. `None`: another does.
    ///
    /// # Errors
    /// The database can't be read or written. What was told until then stays told; the next look goes on.
    pub async fn look(&mut self, deps: &Deps, stop: &CancellationToken) -> Result<Option<Looked>, ApiError> {
        let lease = match self.held.take() {
            Some(held) => held,
            None => match leases::take(&deps.store, LEASE, &self.holder, self.lease_ms()).await? {
                Some(taken) => taken,
                None => return Ok(None),
            },
        };
        let now_ms = deps.context.now_ms();
        let listening = Listening::look(lease.state.parse().ok(), now_ms, self.after_ms);
        let state = listening.to_string();
        // Noted first: who was away for longer than its lease must not look on what it remembers.
        if !leases::advance(&deps.store, LEASE, lease.fence, &state, self.lease_ms()).await? {
            return Ok(None);
        }
        self.held = Some(Lease { fence: lease.fence, state });
        let mut looked = Looked { ended: end_over(deps, now_ms, stop).await?, raised: 0 };
        if self.after_ms > 0
            && let Some(before_ms) = listening.silent_before_ms(self.after_ms)
        {
            looked.raised = raise_silent(deps, self.after_ms, before_ms, now_ms, stop).await?;
        }
        Ok(Some(looked))
    }

    /// Gives the lease back, so that another replica looks at once.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn release(&mut self, deps: &Deps) -> Result<(), ApiError> {
        match self.held.take() {
            Some(held) => Ok(leases::release(&deps.store, LEASE, held.fence).await?),
            None => Ok(()),
        }
    }
}

async fn end_over(deps: &Deps, now_ms: i64, stop: &CancellationToken) -> Result<u64, ApiError> {
    let (mut after, mut ended) = (FIRST, 0);
    while !stop.is_cancelled() {
        let machines = silence::over(&mut deps.store.read().await?, after, MACHINES_PER_WRITE).await?;
        let Some(last) = machines.last() else { break };
        after = *last;
        ended += write(deps, "end_silence", machines, move |tx, machines| {
            Box::pin(async move {
                silence::lock(tx, machines).await?;
                let mut happened = Vec::new();
                for machine in machines {
                    if let Some(alert) = end(tx, *machine, MACHINE_SILENT, "", now_ms).await? {
                        happened.push(Happening::alert(AlertChange::Resolved, &alert, &origin())?);
                    }
                }
                events::write(tx, &happened).await?;
                Ok(happened.len() as u64)
            })
        })
        .await?;
    }
    Ok(ended)
}

async fn raise_silent(
    deps: &Deps,
    after_ms: i64,
    before_ms: i64,
    now_ms: i64,
    stop: &CancellationToken,
) -> Result<u64, ApiError> {
    let (mut after, mut raised) = (FIRST, 0);
    while !stop.is_cancelled() {
        let mut session = deps.store.read().await?;
        let found = silence::silent(&mut session, before_ms, after, MACHINES_PER_WRITE).await?;
        drop(session);
        let Some(last) = found.last() else { break };
        after = *last;
        let machines: Vec<(MachineId, AlertId)> =
            found.into_iter().map(|machine| (machine, AlertId(deps.context.new_id()))).collect();
        raised += write(deps, "raise_silence", machines, move |tx, machines| {
            Box::pin(async move {
                let ids: Vec<MachineId> = machines.iter().map(|(machine, _)| *machine).collect();
                let heard = silence::lock(tx, &ids).await?;
                let mut happened = Vec::new();
                for (machine, id) in machines {
                    // It may have spoken since it was found.
                    let Some(heard_ms) = heard.get(machine).copied().filter(|at| *at < before_ms) else {
                        continue;
                    };
                    let new = Raise {
                        id: *id,
                        machine: *machine,
                        kind: MACHINE_SILENT,
                        key: "",
                        detail: &said(heard_ms, now_ms, after_ms),
                        product: None,
                        order: None,
                        purchase: None,
                        at_ms: now_ms,
                        trace_id: "",
                    };
                    if let Some(alert) = raise(tx, &new).await? {
                        happened.push(Happening::alert(AlertChange::Raised, &alert, &origin())?);
                    }
                }
                events::write(tx, &happened).await?;
                Ok(happened.len() as u64)
            })
        })
        .await?;
    }
    Ok(raised)
}

fn said(heard_ms: i64, now_ms: i64, after_ms: i64) -> String {
    let limit = format!("sync.silent_after_ms is {after_ms}");
    if heard_ms == 0 {
        return format!("enrolled, and never heard since ({limit})");
    }
    format!("not heard for {} s ({limit})", now_ms.saturating_sub(heard_ms) / 1_000)
}

fn origin() -> Origin {
    Origin { trace_id: String::new(), traceparent: String::new() }
}

/// Looks every so often until `stop` is cancelled, then lets another replica look.
pub async fn keep_looking(deps: Deps, after_ms: i64, stop: CancellationToken) {
    let mut silence = Silence::new(&deps, after_ms);
    let pause = Duration::from_millis(u64::try_from(silence.look_every_ms()).unwrap_or(1_000));
    loop {
        match silence.look(&deps, &stop).await {
            Ok(None) => {}
            Ok(Some(looked)) if looked == Looked::default() => {}
            Ok(Some(Looked { raised, ended })) => {
                tracing::info!(raised, ended, "machines went silent, or are not any more");
            }
            Err(cause) => tracing::warn!(%cause, "could not look for silent machines; the next look goes on"),
        }
        if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
            break;
        }
    }
    if let Err(cause) = silence.release(&deps).await {
        tracing::debug!(%cause, "the lease on looking for silent machines runs out by itself");
    }
}
