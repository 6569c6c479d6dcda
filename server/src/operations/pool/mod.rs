//! The pool of remote purchases: who gets which machine, and how a purchase goes on from there.
//!
//! Whatever changes a session or a purchase is a [`Command`]. StartWork has a group commit of its own, which locks candidates
//! and nothing else; all others share one. Resets and resolutions by operators, and claims of workers, are transactions of
//! their own. Who waits for a machine stands in the [`queue`], first come first served.

mod choose_product;
mod committer;
mod get_session;
mod line;
mod notice;
mod queue;
mod refusal;
mod reset_machine;
mod resolve_purchase;
mod start_work;
mod token;

pub use choose_product::{NewChoice, choose_product};
pub use get_session::{SessionName, SessionNow, get_session};
pub use refusal::refused;
pub use reset_machine::{WasReset, reset_machine};
pub use resolve_purchase::resolve_purchase;
pub use start_work::{Begun, NewStart, start_work};

use crate::context::Context;
use crate::domain::ids::MachineId;
use crate::domain::pool::{Answer, Command, Job, Settings as Rules, View, Writes};
use crate::domain::share::Shares;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::operations::commit::{CommitSettings, GroupCommit};
use crate::operations::watch::Hints;
use crate::store::{End, Store, pool as store};
use committer::{ChangeWrite, Granted, StartWrite, lane_of};
use queue::Queue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Choices follow starts: what is gained by committing a crowd's together is more than a call waits for it.
const OPEN_FOR: Duration = Duration::from_millis(100);

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Lanes of StartWork, and lanes of everything else, that commit side by side; one for an embedded database, which has
    /// one writer.
    pub lanes: usize,
    /// Most commands in one commit.
    pub max_batch_commands: usize,
    /// Most commands waiting per lane; one more is refused with OVERLOADED before any work.
    pub max_queued_commands: usize,
    /// A command that has waited longer than this is refused with OVERLOADED, ms: its caller has given up.
    pub max_queued_ms: u64,
    /// Most callers waiting for a machine; one more is looked for once, and refused with NO_IDLE_MACHINE.
    pub max_waiting_callers: usize,
    /// How soon those who wait notice what another replica did, and a lease that is over.
    pub wait_poll: Duration,
    /// What an operator can set of the decisions.
    pub rules: Rules,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            lanes: 1,
            max_batch_commands: 8_192,
            max_queued_commands: 8_192,
            max_queued_ms: 10_000,
            max_waiting_callers: 4_096,
            wait_poll: Duration::from_millis(200),
            rules: Rules { lease_ms: 60_000, reservation_ms: 30_000, rest_after: 3, rest_ms: 60_000 },
        }
    }
}

/// Where every change of a session or purchase goes through. Cheap to clone; clones share group commits and queue.
#[derive(Clone)]
pub struct Pool {
    starts: GroupCommit<StartWrite>,
    changes: GroupCommit<ChangeWrite>,
    queue: Arc<Queue>,
    after: After,
    store: Store,
    context: Context,
    rules: Rules,
}

/// What follows a commit on this replica.
#[derive(Clone)]
struct After {
    committed: Arc<watch::Sender<u64>>,
    queue: Arc<Queue>,
    hints: Hints,
    store: Store,
}

impl After {
    /// Wakes who waits for a machine, workers, and machines that a command was queued for.
    fn commit(&self, view: &View, writes: &Writes) {
        if store::freed(view, writes).next().is_some() {
            self.queue.wake();
        }
        let sent: Vec<MachineId> = writes.commands.iter().map(|command| command.machine).collect();
        if !sent.is_empty() {
            let Self { hints, store, .. } = self.clone();
            tokio::spawn(async move { hints.look(&store, &sent).await });
        }
        self.committed.send_modify(|commits| *commits = commits.wrapping_add(1));
    }
}

impl Pool {
    /// Starts the group commits on the current runtime.
    #[must_use]
    pub fn start(
        store: &Store,
        context: &Context,
        metrics: &Metrics,
        hints: &Hints,
        settings: &PoolSettings,
    ) -> Self {
        let rules = settings.rules;
        let bounds = CommitSettings {
            lanes: settings.lanes,
            max_batch_calls: settings.max_batch_commands,
            max_batch_weight: settings.max_batch_commands,
            max_queued_calls: settings.max_queued_commands,
            open_for: OPEN_FOR,
            max_queued_ms: settings.max_queued_ms,
        };
        let write = StartWrite { store: store.clone(), context: context.clone(), rules };
        // A start and what is chosen after it compete for the same processors, so they take turns, the older calls first.
        let turns = store.turns(bounds.lanes);
        let starts = GroupCommit::start(write, store, context, &metrics.start_commit, bounds, &turns);
        let queue = Queue::new(starts.clone(), context.clone(), settings);
        let after = After {
            committed: Arc::new(watch::Sender::new(0)),
            queue: Arc::clone(&queue),
            hints: hints.clone(),
            store: store.clone(),
        };
        let write =
            ChangeWrite { store: store.clone(), context: context.clone(), rules, after: after.clone() };
        let changes = GroupCommit::start(write, store, context, &metrics.pool_commit, bounds, &turns);
        Self { starts, changes, queue, after, store: store.clone(), context: context.clone(), rules }
    }

    /// Does a command, in one commit with its neighbours. A caller that goes away does not stop it. That the state stands
    /// against it is an answer too: [`refused`] makes it a failure.
    ///
    /// # Errors
    /// OVERLOADED, UNAVAILABLE, LOCK_CONFLICT, INTERNAL.
    pub async fn submit(&self, command: Command) -> Result<Answer, ApiError> {
        match command {
            Command::Start(start) => Ok(match self.starts.submit(self.starts.any_lane(), start).await? {
                Granted::Session { session, already, .. } => Answer::Started { session, already },
                Granted::Refused { refusal, .. } => Answer::Refused(refusal),
            }),
            command => Ok(self.changes.submit(lane_of(&command), command).await?.answer),
        }
    }

    /// Takes due purchases for `lease_ms`, at most so many, those that have waited longest first; each goes to one worker.
    /// Whoever reports with the fence they carry holds the claim.
    ///
    /// # Errors
    /// UNAVAILABLE, LOCK_CONFLICT.
    pub async fn claim_shared(
        &self,
        limit: usize,
        lease_ms: i64,
        shares: Shares,
    ) -> Result<Vec<Job>, ApiError> {
        let claimed = self
            .store
            .run_tx("claim_purchases", (self.context.clone(), shares), move |tx, (context, shares)| {
                Box::pin(async move {
                    let claimed = store::claim_due(tx, limit, lease_ms, shares, context.now_ms()).await?;
                    Ok(if claimed.is_empty() { End::RollBack(claimed) } else { End::Commit(claimed) })
                })
            })
            .await?;
        Ok(claimed)
    }

    /// Likewise, whosever they are.
    ///
    /// # Errors
    /// UNAVAILABLE, LOCK_CONFLICT.
    pub async fn claim(&self, limit: usize, lease_ms: i64) -> Result<Vec<Job>, ApiError> {
        self.claim_shared(limit, lease_ms, Shares::unlimited()).await
    }

    /// How long until the next purchase is due, zero when one is; `None`: none is waiting for anything.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn next_due(&self) -> Result<Option<Duration>, ApiError> {
        let mut session = self.store.read().await?;
        let in_ms = store::next_due(&mut session, self.context.now_ms()).await?;
        Ok(in_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
    }

    /// Machines whose lease or rest is over and which nobody has set free yet, at most so many.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn over(&self, limit: usize) -> Result<Vec<MachineId>, ApiError> {
        let mut session = self.store.read().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(store::overdue(&mut session, limit, self.context.now_ms()).await?)
    }

    /// Rises with every commit of a batch of commands on this replica, StartWork apart: a hint that there may be work. Other
    /// replicas' commits don't show.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.after.committed.subscribe()
    }

    /// There may be work that no command of this replica has made.
    pub(crate) fn wake_workers(&self) {
        self.after.committed.send_modify(|commits| *commits = commits.wrapping_add(1));
    }

    /// How many callers wait for a machine on this replica.
    #[must_use]
    pub fn waiting_callers(&self) -> usize {
        self.queue.count()
    }

    /// Ends the waiting for machines here when `drain` is cancelled: who waits, and who comes to wait, is told UNAVAILABLE.
    pub async fn end_waiting(self, drain: CancellationToken) {
        drain.cancelled().await;
        self.queue.close();
    }

    /// What an operator can set of the decisions.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool(..)")
    }
}
