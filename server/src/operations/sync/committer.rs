//! Group commit. A hot write is a value: a lane loads what its batch needs, folds the pure decision over each call in
//! arrival order, writes in bulk, commits, and only then answers each caller. One call is a batch of one.
//!
//! A machine always goes to the same lane, and a batch holds at most one call of a machine, so a later call sees what an
//! earlier one did. A data error is bisected: a bad member never fails its neighbours.

use crate::context::Context;
use crate::domain::ids::{Ids, MachineId};
use crate::domain::sync::{self, Answer, Settings, SyncCall, Writes};
use crate::error::{ApiError, Reason};
use crate::metrics::{KindLabels, Metrics};
use crate::store::{Store, StoreError};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

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
    lanes: Arc<[mpsc::Sender<Job>]>,
    metrics: Metrics,
    context: Context,
}

struct Job {
    call: SyncCall,
    queued_at: Duration,
    reply: oneshot::Sender<Result<Answer, ApiError>>,
}

impl Committer {
    /// Starts the lanes on the current runtime.
    #[must_use]
    pub fn start(store: &Store, context: &Context, metrics: &Metrics, settings: &CommitterSettings) -> Self {
        let lanes = (0..settings.lanes.max(1))
            .map(|_| {
                let (sender, receiver) = mpsc::channel(settings.max_queued_calls.max(1));
                let lane = Lane {
                    store: store.clone(),
                    context: context.clone(),
                    settings: settings.clone(),
                    metrics: metrics.clone(),
                    receiver,
                    deferred: VecDeque::new(),
                };
                tokio::spawn(lane.run());
                sender
            })
            .collect();
        Self { lanes, metrics: metrics.clone(), context: context.clone() }
    }

    /// Queues a call and waits for its answer. A caller that goes away does not stop its call.
    ///
    /// # Errors
    /// OVERLOADED, UNAVAILABLE, or what the machine's standing says.
    pub async fn submit(&self, call: SyncCall) -> Result<Answer, ApiError> {
        let lane = lane_of(call.machine, self.lanes.len());
        let (reply, answer) = oneshot::channel();
        let job = Job { call, queued_at: self.context.elapsed(), reply };
        self.metrics.commit_queue_requests.inc();
        if self.lanes[lane].try_send(job).is_err() {
            self.metrics.commit_queue_requests.dec();
            return Err(overloaded());
        }
        answer.await.unwrap_or_else(|_| Err(ApiError::unavailable("the committer's lane ended")))
    }
}

fn lane_of(machine: MachineId, lanes: usize) -> usize {
    // The low half of a UUIDv7 is random.
    let random = machine.0.as_u64_pair().1;
    usize::try_from(random % lanes as u64).unwrap_or(0)
}

fn overloaded() -> ApiError {
    ApiError::new(Reason::Overloaded, "too many Syncs are waiting; try again later")
        .retry_after(Duration::from_secs(2))
}

struct Lane {
    store: Store,
    context: Context,
    settings: CommitterSettings,
    metrics: Metrics,
    receiver: mpsc::Receiver<Job>,
    /// Second calls of a machine that is already in the batch; first in the next one. Bounded by the queue's own
    /// bound: a batch takes no more than `max_batch_calls` from it.
    deferred: VecDeque<Job>,
}

impl Lane {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            self.metrics.commit_queue_requests.dec_by(i64::try_from(batch.len()).unwrap_or(0));
            let fresh = self.refuse_stale(batch);
            if !fresh.is_empty() {
                self.settle(fresh).await;
            }
        }
    }

    async fn next_batch(&mut self) -> Option<Vec<Job>> {
        let first = match self.deferred.pop_front() {
            Some(job) => job,
            None => self.receiver.recv().await?,
        };
        // On a busy server other calls are parsed and about to be queued: one turn for them makes the batch larger, and costs an
        // idle one nothing. Fewer, larger commits are most of what throughput is.
        tokio::task::yield_now().await;
        let mut machines = HashSet::from([first.call.machine]);
        let mut records = first.call.records.len();
        let mut batch = vec![first];
        let mut put_back = VecDeque::new();
        while batch.len() < self.settings.max_batch_calls
            && records < self.settings.max_batch_records
            && put_back.len() < self.settings.max_batch_calls
        {
            let Some(job) = self.deferred.pop_front().or_else(|| self.receiver.try_recv().ok()) else {
                break;
            };
            if machines.insert(job.call.machine) {
                records += job.call.records.len();
                batch.push(job);
            } else {
                put_back.push_back(job);
            }
        }
        put_back.append(&mut self.deferred);
        self.deferred = put_back;
        Some(batch)
    }

    /// A call older than its deadline must not be folded: its device has asked again by now.
    fn refuse_stale(&self, batch: Vec<Job>) -> Vec<Job> {
        let now = self.context.elapsed();
        let bound = Duration::from_millis(self.settings.max_queued_ms);
        let (stale, fresh): (Vec<Job>, Vec<Job>) =
            batch.into_iter().partition(|job| now.saturating_sub(job.queued_at) > bound);
        for job in stale {
            let _ = job.reply.send(Err(overloaded()));
        }
        fresh
    }

    /// Commits a batch and answers its callers; splits it while a member's data fails it.
    async fn settle(&self, jobs: Vec<Job>) {
        let mut work = vec![jobs];
        while let Some(jobs) = work.pop() {
            let (calls, replies): (Vec<SyncCall>, Vec<_>) =
                jobs.into_iter().map(|j| (j.call, j.reply)).unzip();
            match self.commit(&calls).await {
                Ok(answers) => {
                    for (reply, answer) in replies.into_iter().zip(answers) {
                        let _ = reply.send(answer);
                    }
                }
                Err(error) if is_data(&error) && calls.len() > 1 => {
                    tracing::debug!(%error, calls = calls.len(), "splitting a batch of Syncs");
                    let mut jobs: Vec<Job> = calls
                        .into_iter()
                        .zip(replies)
                        .map(|(call, reply)| Job { call, queued_at: Duration::ZERO, reply })
                        .collect();
                    let second = jobs.split_off(jobs.len() / 2);
                    // The first half is taken next: arrival order holds.
                    work.push(second);
                    work.push(jobs);
                }
                Err(error) => {
                    tracing::warn!(%error, calls = calls.len(), "a batch of Syncs was not committed");
                    for reply in replies {
                        let _ = reply.send(Err(refusal(&error)));
                    }
                }
            }
        }
    }

    async fn commit(&self, calls: &[SyncCall]) -> Result<Vec<Result<Answer, ApiError>>, StoreError> {
        match self.try_commit(calls, false).await {
            // Some transaction id counts already: load which, and let the fold dead-letter it.
            Err(StoreError::UniqueCounted) => self.try_commit(calls, true).await,
            other => other,
        }
    }

    async fn try_commit(
        &self,
        calls: &[SyncCall],
        check_counted: bool,
    ) -> Result<Vec<Result<Answer, ApiError>>, StoreError> {
        let mut attempt = 0;
        loop {
            let error = match self.commit_once(calls, check_counted).await {
                Ok(answers) => return Ok(answers),
                Err(error) => error,
            };
            match self.store.back_off("sync", attempt, &error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
            attempt += 1;
        }
    }

    async fn commit_once(
        &self,
        calls: &[SyncCall],
        check_counted: bool,
    ) -> Result<Vec<Result<Answer, ApiError>>, StoreError> {
        let began = self.context.elapsed();
        let mut tx = self.store.begin_hot().await?;
        let mut views = tx.load_sync(calls, check_counted).await?;
        let mut writes = Writes::default();
        let mut ids = ContextIds(&self.context);
        let answers: Vec<Result<Answer, ApiError>> = calls
            .iter()
            .map(|call| match views.get_mut(&call.machine) {
                Some(view) => Ok(sync::fold(view, call, &self.settings.sync, &mut ids, &mut writes)),
                None => Err(ApiError::new(
                    Reason::MachineRevoked,
                    "this machine is not known to the server any more",
                )),
            })
            .collect();
        tx.write_sync(&views, &writes).await?;
        tx.commit().await?;
        self.count(calls.len(), &writes, self.context.elapsed().saturating_sub(began));
        Ok(answers)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a batch has at most thousands of calls")]
impl Lane {
    fn count(&self, calls: usize, writes: &Writes, took: Duration) {
        self.metrics.commit_batch_requests.observe(calls as f64);
        self.metrics.commit_seconds.observe(took.as_secs_f64());
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

/// A member's data made the batch fail, so a smaller batch may do.
fn is_data(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Data(_) | StoreError::UniqueCounted | StoreError::Taken(_) | StoreError::Corrupt(_)
    )
}

/// One failure, told to each caller of the batch.
fn refusal(error: &StoreError) -> ApiError {
    let words = error.to_string();
    match error {
        StoreError::Unavailable(_) => ApiError::unavailable(words),
        StoreError::Conflict(_) => ApiError::new(Reason::LockConflict, words),
        StoreError::UniqueCounted
        | StoreError::Taken(_)
        | StoreError::Data(_)
        | StoreError::Corrupt(_)
        | StoreError::Unsuitable(_)
        | StoreError::Bug(_) => ApiError::internal(words),
    }
}

struct ContextIds<'c>(&'c Context);

impl Ids for ContextIds<'_> {
    fn uuid_v7(&mut self) -> Uuid {
        self.0.new_id()
    }
}
