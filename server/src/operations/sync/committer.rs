//! The group commit of Syncs: what a batch of them loads, folds and writes.
//!
//! A machine always goes to the same lane, and a batch holds at most one call of a machine, so a later call sees what an
//! earlier one did.

use crate::context::Context;
use crate::domain::ids::MachineId;
use crate::domain::sync::{self, Answer, Settings, SyncCall, Writes};
use crate::error::{ApiError, Reason};
use crate::metrics::{KindLabels, Metrics};
use crate::operations::commit::{Answers, CommitSettings, GroupCommit, HotWrite};
use crate::operations::deps::ContextIds;
use crate::store::{Store, StoreError};
use std::time::Duration;

/// Bounds of the group commit.
#[derive(Clone, Debug)]
pub struct CommitterSettings {
    /// Lanes that commit side by side; one for an embedded database, which has one writer.
    pub lanes: usize,
    /// Most calls in one commit.
    pub max_batch_calls: usize,
    /// Most records in one commit; a batch closes when it has reached this.
    pub max_batch_records: usize,
    /// Most calls waiting per lane; one more is refused with OVERLOADED before any work.
    pub max_queued_calls: usize,
    /// A call that has waited longer than this is refused with OVERLOADED, ms: its device will ask again.
    pub max_queued_ms: u64,
    /// Of the fold.
    pub sync: Settings,
}

/// The way in: hands calls to their lanes. Cheap to clone; lanes end when the last clone is dropped.
#[derive(Clone)]
pub struct Committer {
    group: GroupCommit<SyncWrite>,
}

impl Committer {
    /// Starts the lanes on the current runtime.
    #[must_use]
    pub fn start(store: &Store, context: &Context, metrics: &Metrics, settings: &CommitterSettings) -> Self {
        let write = SyncWrite {
            store: store.clone(),
            context: context.clone(),
            metrics: metrics.clone(),
            sync: settings.sync.clone(),
        };
        let bounds = CommitSettings {
            lanes: settings.lanes,
            max_batch_calls: settings.max_batch_calls,
            max_batch_weight: settings.max_batch_records,
            max_queued_calls: settings.max_queued_calls,
            open_for: Duration::ZERO,
            max_queued_ms: settings.max_queued_ms,
        };
        let turns = store.turns(bounds.lanes);
        Self { group: GroupCommit::start(write, store, context, &metrics.commit, bounds, &turns) }
    }

    /// Queues a call and waits for its answer. A caller that goes away does not stop its call.
    ///
    /// # Errors
    /// OVERLOADED, UNAVAILABLE, or what the machine's standing says.
    pub async fn submit(&self, call: SyncCall) -> Result<Answer, ApiError> {
        self.group.submit(lane_of(call.machine), call).await
    }
}

fn lane_of(machine: MachineId) -> u64 {
    // The low half of a UUIDv7 is random.
    machine.0.as_u64_pair().1
}

struct SyncWrite {
    store: Store,
    context: Context,
    metrics: Metrics,
    sync: Settings,
}

impl HotWrite for SyncWrite {
    type Call = SyncCall;
    type Answer = Answer;
    type Key = MachineId;

    const WHAT: &'static str = "Syncs";

    fn key(call: &SyncCall) -> Option<MachineId> {
        Some(call.machine)
    }

    fn weight(call: &SyncCall) -> usize {
        call.records.len()
    }

    async fn commit_once(&self, calls: &[SyncCall], checked: bool) -> Result<Answers<Self>, StoreError> {
        let mut tx = self.store.begin_hot().await?;
        let mut views = tx.load_sync(calls, checked).await?;
        let mut writes = Writes::default();
        let mut ids = ContextIds(&self.context);
        let answers: Answers<Self> = calls
            .iter()
            .map(|call| match views.get_mut(&call.machine) {
                Some(view) if sync::has_no_room(view, call) => Err(no_room()),
                Some(view) => Ok(sync::fold(view, call, &self.sync, &mut ids, &mut writes)),
                None => Err(ApiError::new(
                    Reason::MachineRevoked,
                    "this machine is not known to the server any more",
                )),
            })
            .collect();
        tx.write_sync(&views, &writes).await?;
        tx.commit().await?;
        self.count(&writes);
        Ok(answers)
    }

    /// Some transaction id counts already: a checked batch loads which, and the fold dead-letters it.
    fn needs_check(error: &StoreError) -> bool {
        matches!(error, StoreError::UniqueCounted)
    }
}

/// Until an operator has judged some of them: an hour is soon enough to ask again.
const NO_ROOM_FOR: Duration = Duration::from_secs(3_600);

fn no_room() -> ApiError {
    let words = "this machine has as many open branches as one may have; nothing of this call was stored until an operator \
                 adopts or discards some";
    ApiError::new(Reason::MachineBudget, words)
        .with("limit", "open branches")
        .with("most", sync::MAX_OPEN_BRANCHES)
        .with("window_ms", 0)
        .retry_after(NO_ROOM_FOR)
}

impl SyncWrite {
    fn count(&self, writes: &Writes) {
        let dead = writes.dead_letters.len();
        for (kind, count) in [
            ("applied", writes.records.len() - dead),
            ("dead_letter", dead),
            ("quarantined", writes.quarantined.len()),
        ] {
            self.metrics.sync_records.get_or_create(&KindLabels { kind }).inc_by(count as u64);
        }
    }
}
