//! Group commit. A hot write is a value: a lane loads what its batch needs, folds the pure decision over each call in
//! arrival order, writes in bulk, commits, and only then answers each caller. One call is a batch of one.
//!
//! What a batch does is a [`HotWrite`]; here is what all of them have in common: queues with a bound, stale calls refused, a
//! data error bisected so that a bad member never fails its neighbours, lost races tried again within the store's bound.
//! To add a hot write: implement the trait, and choose each call's lane so that calls that want the same rows share one.

use crate::context::Context;
use crate::error::{ApiError, Reason};
use crate::metrics::CommitMetrics;
use crate::store::{Store, StoreError, Turn, Turns};
use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A caller that found the queue full, or waited in it for too long, may ask again after this.
const OVERLOADED_RETRY: Duration = Duration::from_secs(2);

/// A turn given to others that comes back sooner found nobody to take it.
const AT_ONCE: Duration = Duration::from_micros(100);

/// A commit that takes longer waits for what another process holds, or for a disk that is as slow for everybody.
const TURN_FOR: Duration = Duration::from_millis(250);

/// Fewer calls than this are better off in one batch than in two side by side.
const FEW: usize = 256;

/// What a batch's members are answered with.
pub(crate) type Answers<W> = Vec<Result<<W as HotWrite>::Answer, ApiError>>;

/// Where an answer comes.
pub(crate) type Coming<W> = oneshot::Receiver<Result<<W as HotWrite>::Answer, ApiError>>;

/// The other end of it.
type Reply<W> = oneshot::Sender<Result<<W as HotWrite>::Answer, ApiError>>;

/// A write that many callers share.
pub(crate) trait HotWrite: Send + Sync + 'static {
    /// One caller's wish.
    type Call: Send + Sync + 'static;
    /// What it is answered with.
    type Answer: Send + 'static;
    /// What two calls of one batch must not have in common.
    type Key: Hash + Eq + Send;

    /// In logs and messages to callers: "too many ... are waiting".
    const WHAT: &'static str;

    /// A second call with the same key waits for the next batch; `None`: goes with any.
    fn key(_: &Self::Call) -> Option<Self::Key> {
        None
    }

    /// How much of a batch's weight bound a call takes.
    fn weight(_: &Self::Call) -> usize {
        1
    }

    /// Load, fold, write, commit, once: one answer per call, in their order. `checked`: [`HotWrite::needs_check`] said that
    /// the batch must be looked at more closely than it is at first.
    fn commit_once(
        &self,
        calls: &[Self::Call],
        checked: bool,
    ) -> impl Future<Output = Result<Answers<Self>, StoreError>> + Send
    where
        Self: Sized;

    /// An unchecked batch met what only a checked one can tell apart.
    fn needs_check(_: &StoreError) -> bool {
        false
    }

    /// Whether a committed answer is looked at again by [`HotWrite::revise`] before its caller has it.
    fn is_provisional(_: &Self::Answer) -> bool {
        false
    }

    /// The last word on calls whose answers were provisional, one each, in their order. Others commit meanwhile: it may wait for
    /// what another process holds.
    fn revise(
        &self,
        _: &[Self::Call],
        provisional: Answers<Self>,
    ) -> impl Future<Output = Answers<Self>> + Send
    where
        Self: Sized,
    {
        std::future::ready(provisional)
    }
}

/// Bounds of a group commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitSettings {
    /// Lanes that commit side by side; one for an embedded database, which has one writer.
    pub(crate) lanes: usize,
    /// Most calls in one commit.
    pub(crate) max_batch_calls: usize,
    /// A batch closes when its calls weigh this much together.
    pub(crate) max_batch_weight: usize,
    /// Most calls waiting per lane; one more is refused with OVERLOADED before any work.
    pub(crate) max_queued_calls: usize,
    /// A batch stays open while the server has other things to do, until its first call has waited for this long.
    pub(crate) open_for: Duration,
    /// A call that has waited longer than this is refused with OVERLOADED, ms: its caller has given up.
    pub(crate) max_queued_ms: u64,
}

/// The way in: hands calls to their lanes. Cheap to clone; lanes end when the last clone is dropped.
pub(crate) struct GroupCommit<W: HotWrite> {
    lanes: Arc<[Entrance<W>]>,
    metrics: CommitMetrics,
    context: Context,
}

impl<W: HotWrite> Clone for GroupCommit<W> {
    fn clone(&self) -> Self {
        Self { lanes: self.lanes.clone(), metrics: self.metrics.clone(), context: self.context.clone() }
    }
}

/// The way into a lane.
struct Entrance<W: HotWrite> {
    jobs: mpsc::Sender<Job<W>>,
    is_revising: Arc<AtomicBool>,
}

impl<W: HotWrite> Entrance<W> {
    /// Whether its calls wait for another process just now, and how many wait.
    fn occupied(&self) -> (bool, usize) {
        (self.is_revising.load(Ordering::SeqCst), self.jobs.max_capacity() - self.jobs.capacity())
    }
}

struct Job<W: HotWrite> {
    call: W::Call,
    queued_at: Duration,
    reply: Reply<W>,
}

impl<W: HotWrite> GroupCommit<W> {
    /// Starts the lanes on the current runtime. Lane n shares the n-th of the turns, modulo their count, with whoever else was
    /// given it; there is at least one.
    pub(crate) fn start(
        write: W,
        store: &Store,
        context: &Context,
        metrics: &CommitMetrics,
        settings: CommitSettings,
        turns: &[Turns],
    ) -> Self {
        let write = Arc::new(write);
        let lanes = turns
            .iter()
            .cycle()
            .take(settings.lanes.max(1))
            .map(|turns| {
                let (jobs, receiver) = mpsc::channel(settings.max_queued_calls.max(1));
                let is_revising = Arc::new(AtomicBool::new(false));
                let lane = Lane {
                    write: Arc::clone(&write),
                    store: store.clone(),
                    context: context.clone(),
                    settings,
                    metrics: metrics.clone(),
                    turns: turns.clone(),
                    turn: None,
                    is_revising: Arc::clone(&is_revising),
                    receiver,
                    deferred: VecDeque::new(),
                };
                tokio::spawn(lane.run());
                Entrance { jobs, is_revising }
            })
            .collect();
        Self { lanes, metrics: metrics.clone(), context: context.clone() }
    }

    /// Queues a call in lane `number` modulo their count, and waits for its answer. A caller that goes away does not stop
    /// its call.
    ///
    /// # Errors
    /// OVERLOADED, UNAVAILABLE, LOCK_CONFLICT, INTERNAL, or what the call's own answer says.
    pub(crate) async fn submit(&self, number: u64, call: W::Call) -> Result<W::Answer, ApiError> {
        let answer = self.enqueue(number, call)?;
        answer.await.unwrap_or_else(|_| Err(ApiError::unavailable("the committer's lane ended")))
    }

    /// The lane for a call that any will do for: the first that few wait in, else the shortest; rather none whose calls wait for
    /// another process just now.
    pub(crate) fn any_lane(&self) -> u64 {
        let lanes = || (0..).zip(self.lanes.iter().map(Entrance::occupied));
        let few = lanes().find(|(_, (is_revising, waiting))| !is_revising && *waiting < FEW);
        few.or_else(|| lanes().min_by_key(|(_, occupied)| *occupied)).map_or(0, |(lane, _)| lane)
    }

    /// Queues a call like [`GroupCommit::submit`], behind all that were queued before, and gives where its answer comes.
    ///
    /// # Errors
    /// OVERLOADED.
    pub(crate) fn enqueue(&self, number: u64, call: W::Call) -> Result<Coming<W>, ApiError> {
        let lane = usize::try_from(number % self.lanes.len() as u64).unwrap_or(0);
        let (reply, answer) = oneshot::channel();
        let job = Job { call, queued_at: self.context.elapsed(), reply };
        self.metrics.queue_requests.inc();
        if self.lanes[lane].jobs.try_send(job).is_err() {
            self.metrics.queue_requests.dec();
            return Err(overloaded::<W>());
        }
        Ok(answer)
    }
}

fn overloaded<W: HotWrite>() -> ApiError {
    let what = W::WHAT;
    ApiError::new(Reason::Overloaded, format!("too many {what} are waiting; try again later"))
        .retry_after(OVERLOADED_RETRY)
}

struct Lane<W: HotWrite> {
    write: Arc<W>,
    store: Store,
    context: Context,
    settings: CommitSettings,
    metrics: CommitMetrics,
    turns: Turns,
    /// Held from when a batch is closed until nobody waits here, an older call waits elsewhere, others have something to do, or
    /// a commit takes long.
    turn: Option<Turn>,
    is_revising: Arc<AtomicBool>,
    receiver: mpsc::Receiver<Job<W>>,
    /// Second calls with a key that is already in the batch; first in the next one. Bounded by the queue's own
    /// bound: a batch takes no more than `max_batch_calls` from it.
    deferred: VecDeque<Job<W>>,
}

impl<W: HotWrite> Lane<W> {
    async fn run(mut self) {
        while let Some(first) = self.next_call().await {
            self.let_others_go(first.queued_at).await;
            // A batch is closed when its turn has come: what waits meanwhile goes with it. Turns go by the calls' age, or who was
            // answered first would be served again before the others of a crowd are served at all.
            self.turn = Some(match self.turn.take() {
                Some(turn) => turn.give_way(first.queued_at).await,
                None => self.turns.take(first.queued_at).await,
            });
            let batch = self.next_batch(first);
            self.metrics.queue_requests.dec_by(i64::try_from(batch.len()).unwrap_or(0));
            let fresh = self.refuse_stale(batch);
            if !fresh.is_empty() {
                self.settle(fresh).await;
            }
        }
    }

    /// While nobody waits here the turn is others'.
    async fn next_call(&mut self) -> Option<Job<W>> {
        if let Some(job) = self.deferred.pop_front().or_else(|| self.receiver.try_recv().ok()) {
            return Some(job);
        }
        self.turn = None;
        self.receiver.recv().await
    }

    /// On a busy server other calls are parsed and about to be queued, and the last batch's answers are about to leave: a commit
    /// would compete with both for the processors. Turns for them make the batch larger, and cost an idle server nothing. Fewer,
    /// larger commits are most of what throughput is. Whoever is ready before has the turn.
    async fn let_others_go(&mut self, since: Duration) {
        let mut before = self.context.elapsed();
        loop {
            tokio::task::yield_now().await;
            let now = self.context.elapsed();
            if now.saturating_sub(before) < AT_ONCE || now.saturating_sub(since) >= self.settings.open_for {
                return;
            }
            self.turn = None;
            before = now;
        }
    }

    fn next_batch(&mut self, first: Job<W>) -> Vec<Job<W>> {
        let mut keys: HashSet<W::Key> = W::key(&first.call).into_iter().collect();
        let mut weight = W::weight(&first.call);
        let mut batch = vec![first];
        let mut put_back = VecDeque::new();
        while batch.len() < self.settings.max_batch_calls
            && weight < self.settings.max_batch_weight
            && put_back.len() < self.settings.max_batch_calls
        {
            let Some(job) = self.deferred.pop_front().or_else(|| self.receiver.try_recv().ok()) else {
                break;
            };
            if W::key(&job.call).is_none_or(|key| keys.insert(key)) {
                weight += W::weight(&job.call);
                batch.push(job);
            } else {
                put_back.push_back(job);
            }
        }
        put_back.append(&mut self.deferred);
        self.deferred = put_back;
        batch
    }

    /// A call older than its deadline must not be folded: its caller has asked again by now.
    fn refuse_stale(&self, batch: Vec<Job<W>>) -> Vec<Job<W>> {
        let now = self.context.elapsed();
        let bound = Duration::from_millis(self.settings.max_queued_ms);
        let (stale, fresh): (Vec<Job<W>>, Vec<Job<W>>) =
            batch.into_iter().partition(|job| now.saturating_sub(job.queued_at) > bound);
        for job in stale {
            let _ = job.reply.send(Err(overloaded::<W>()));
        }
        fresh
    }

    /// Commits a batch and answers its callers; splits it while a member's data fails it.
    async fn settle(&mut self, jobs: Vec<Job<W>>) {
        let mut work = vec![jobs];
        while let Some(jobs) = work.pop() {
            if self.turn.is_none() {
                // The rest of a batch whose first part was revised, or took long.
                self.turn = Some(self.turns.take(Duration::ZERO).await);
            }
            let (calls, replies): (Vec<W::Call>, Vec<_>) =
                jobs.into_iter().map(|j| (j.call, j.reply)).unzip();
            match self.commit_in_turn(&calls).await {
                Ok(answers) => self.answer(calls, replies, answers).await,
                Err(error) if is_data(&error) && calls.len() > 1 => {
                    tracing::debug!(%error, calls = calls.len(), "splitting a batch of {}", W::WHAT);
                    let mut jobs: Vec<Job<W>> = calls
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
                    tracing::warn!(%error, calls = calls.len(), "a batch of {} was not committed", W::WHAT);
                    for reply in replies {
                        let _ = reply.send(Err(refusal(&error)));
                    }
                }
            }
        }
    }

    /// Who has a last word gets it at once; the others when it is there.
    async fn answer(&mut self, calls: Vec<W::Call>, replies: Vec<Reply<W>>, answers: Answers<W>) {
        let mut provisional = (Vec::new(), Vec::new(), Vec::new());
        for ((call, reply), answer) in calls.into_iter().zip(replies).zip(answers) {
            if answer.as_ref().is_ok_and(W::is_provisional) {
                provisional.0.push(call);
                provisional.1.push(reply);
                provisional.2.push(answer);
            } else {
                let _ = reply.send(answer);
            }
        }
        let (calls, replies, answers) = provisional;
        if calls.is_empty() {
            return;
        }
        self.turn = None;
        self.is_revising.store(true, Ordering::SeqCst);
        let answers = self.write.revise(&calls, answers).await;
        self.is_revising.store(false, Ordering::SeqCst);
        for (reply, answer) in replies.into_iter().zip(answers) {
            let _ = reply.send(answer);
        }
    }

    /// What waits for another process, with its retries, does not keep the turn from others.
    async fn commit_in_turn(&mut self, calls: &[W::Call]) -> Result<Answers<W>, StoreError> {
        let turn = self.turn.take();
        let (committed, turn) = {
            let mut commit = std::pin::pin!(self.commit(calls));
            match tokio::time::timeout(TURN_FOR, &mut commit).await {
                Ok(committed) => (committed, turn),
                Err(_) => {
                    drop(turn);
                    (commit.await, None)
                }
            }
        };
        self.turn = turn;
        committed
    }

    async fn commit(&self, calls: &[W::Call]) -> Result<Answers<W>, StoreError> {
        match self.try_commit(calls, false).await {
            Err(error) if W::needs_check(&error) => self.try_commit(calls, true).await,
            other => other,
        }
    }

    async fn try_commit(&self, calls: &[W::Call], checked: bool) -> Result<Answers<W>, StoreError> {
        let mut attempt = 0;
        loop {
            let began = self.context.elapsed();
            let error = match self.write.commit_once(calls, checked).await {
                Ok(answers) => {
                    self.count(calls.len(), self.context.elapsed().saturating_sub(began));
                    return Ok(answers);
                }
                Err(error) => error,
            };
            match self.store.back_off(W::WHAT, attempt, &error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
            attempt += 1;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch has at most thousands of calls")]
    fn count(&self, calls: usize, took: Duration) {
        self.metrics.batch_requests.observe(calls as f64);
        self.metrics.seconds.observe(took.as_secs_f64());
    }
}

/// A member's data made the batch fail, so a smaller batch may do.
pub(crate) fn is_data(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Data(_) | StoreError::UniqueCounted | StoreError::Taken(_) | StoreError::Corrupt(_)
    )
}

/// One failure, told to each caller of the batch.
pub(crate) fn refusal(error: &StoreError) -> ApiError {
    let words = error.to_string();
    match error {
        StoreError::Unavailable(_) | StoreError::ReadOnly(_) | StoreError::Full(_) => {
            ApiError::unavailable(words)
        }
        StoreError::Conflict(_) => ApiError::new(Reason::LockConflict, words),
        StoreError::UniqueCounted
        | StoreError::Taken(_)
        | StoreError::Data(_)
        | StoreError::Corrupt(_)
        | StoreError::Unsuitable(_)
        | StoreError::Bug(_) => ApiError::internal(words),
    }
}

#[cfg(test)]
mod tests;
