//! The workers that see purchases through, and the sweeper of leases.
//!
//! A worker claims purchases that are due (fence up, lease set, in one commit), does their next step outside any transaction,
//! and hands what came of it to the group commit of the pool. Every step survives a kill before and after it: the claim
//! lapses, and whoever claims next does the same step again, with the same key at the gateway and with the machine's own word
//! for what it dispensed. What a reset or a newer claim has overtaken is stale and changes nothing.

mod teller;

pub use teller::Teller;

use crate::context::Context;
use crate::domain::pool::{Answer, Command, Job, JobDone, Report, Work};
use crate::error::{ApiError, Retry};
use crate::operations::pool::Pool;
use crate::operations::shares::{Piece, UnderWay};
use crate::telemetry::Trace;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// Pause after a claim, so that what is committed meanwhile is claimed together.
const CLAIM_PAUSE: Duration = Duration::from_millis(5);
/// How often a result is handed over while the database is away, with a pause that doubles up to [`REPORT_PAUSE_MOST`]. After
/// that the claim lapses and the step is done again.
const REPORT_TRIES: u32 = 15;
/// First pause between two of them.
const REPORT_PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest pause between two of them.
const REPORT_PAUSE_MOST: Duration = Duration::from_secs(2);
/// Machines whose lease or rest is over that are freed in one sweep.
const FREED_PER_SWEEP: usize = 256;

/// Bounds of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobsSettings {
    /// Most purchases worked on at once.
    pub max_in_flight: usize,
    /// Most purchases claimed in one transaction.
    pub claim_batch: usize,
    /// Most of one customer's purchases worked on at once.
    pub max_in_flight_per_customer: usize,
    /// How long a claim holds, ms; longer than all attempts together.
    pub lease_ms: i64,
    /// Longest pause between looks for purchases that another replica left.
    pub poll: Duration,
    /// Pause between sweeps for leases and rests that are over.
    pub sweep: Duration,
}

/// A worker. Cheap to clone; clones share their bounds.
#[derive(Clone)]
pub struct Jobs {
    pool: Pool,
    teller: Teller,
    settings: JobsSettings,
    context: Context,
    slots: Arc<Semaphore>,
    under_way: UnderWay,
}

/// When to look again.
enum Next {
    /// When there is room.
    AtOnce,
    /// When something is committed, or after so long.
    Woken(Duration),
}

impl Jobs {
    /// A worker that has not begun.
    pub fn new(pool: Pool, teller: Teller, settings: JobsSettings, context: Context) -> Self {
        let slots = Arc::new(Semaphore::new(settings.max_in_flight));
        let under_way = UnderWay::new(settings.max_in_flight_per_customer);
        Self { pool, teller, settings, context, slots, under_way }
    }

    /// Claims and works until `drain` is cancelled; what is under way then ends by itself, among `tasks`.
    pub async fn run(self, drain: CancellationToken, tasks: TaskTracker) {
        let mut committed = self.pool.committed();
        while !drain.is_cancelled() {
            committed.mark_unchanged();
            let next = self.round(&tasks).await;
            let wait = async {
                tokio::time::sleep(CLAIM_PAUSE).await;
                match next {
                    // Room for more comes when a step is done.
                    Next::AtOnce => drop(self.slots.acquire().await),
                    Next::Woken(most) => {
                        // The sender lives as long as `self.pool`.
                        let _ = tokio::time::timeout(most, committed.changed()).await;
                    }
                }
            };
            tokio::select! {
                () = drain.cancelled() => {}
                () = wait => {}
            }
        }
    }

    /// Frees machines whose lease or rest is over, until `drain` is cancelled. StartWork takes them without it; who looks at a
    /// machine or a session sees what is so.
    pub async fn sweep(self, drain: CancellationToken) {
        loop {
            let half = self.settings.sweep / 2;
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(half + self.context.jitter(half)) => {}
            }
            match self.pool.over(FREED_PER_SWEEP).await {
                Ok(machines) => {
                    for machine in machines {
                        if let Err(error) =
                            self.pool.submit(Command::Free(machine, self.context.now_ms())).await
                        {
                            tracing::debug!(%error, %machine, "a lease that is over was not noted yet");
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "leases that are over were not looked for"),
            }
        }
    }

    /// Claims once as much as there is room for, and begins to work on it. A look that finds nothing due writes nothing.
    async fn round(&self, tasks: &TaskTracker) -> Next {
        let half = self.settings.poll / 2;
        let longest = half + self.context.jitter(half);
        let room = self.slots.available_permits().min(self.settings.claim_batch);
        if room == 0 {
            return Next::AtOnce;
        }
        match self.pool.next_due().await {
            Ok(Some(Duration::ZERO)) => {}
            Ok(Some(due)) => return Next::Woken(due.min(longest)),
            Ok(None) => return Next::Woken(longest),
            Err(error) => {
                tracing::warn!(%error, "purchases that are due were not looked for");
                return Next::Woken(longest);
            }
        }
        let claimed =
            match self.pool.claim_shared(room, self.settings.lease_ms, self.under_way.shares()).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::warn!(%error, "no purchase was claimed");
                    return Next::Woken(longest);
                }
            };
        let found = !claimed.is_empty();
        for job in claimed {
            let slot = self.slots.clone().acquire_owned().await;
            let piece = self.under_way.begin(&job.purchase.customer);
            tasks.spawn(self.clone().handle(job, slot.ok(), piece));
        }
        // What is due next is asked again at once; what waits for its customer's share, when a step is done.
        if found { Next::AtOnce } else { Next::Woken(longest) }
    }

    async fn handle(self, job: Job, slot: Option<OwnedSemaphorePermit>, piece: Piece) {
        let purchase = &job.purchase;
        let trace = Trace::take(Some(&purchase.trace_id), Some(&purchase.traceparent), &self.context);
        let span = tracing::info_span!("purchase", trace_id = %trace.id, purchase_id = %purchase.id);
        let traceparent = trace.traceparent();
        let work = async {
            let (attempts, done) = self.step(&job, &traceparent).await;
            self.report(&job, attempts, done).await;
        };
        trace.scope(work.instrument(span)).await;
        drop((slot, piece));
    }

    async fn step(&self, job: &Job, traceparent: &str) -> (u32, JobDone) {
        match (job.purchase.work, &job.said) {
            (Work::Dispense, Some(said)) => (0, JobDone::Said(said.clone())),
            (Work::Dispense | Work::None, _) => (0, JobDone::Elapsed),
            (Work::Authorise | Work::Capture | Work::Void, _) => {
                self.teller.work_on(&job.purchase, traceparent).await
            }
        }
    }

    /// Hands over what came of it.
    async fn report(&self, job: &Job, attempts: u32, done: JobDone) {
        let at_ms = self.context.now_ms();
        let report = Report { purchase: job.purchase.id, fence: job.purchase.fence, attempts, done, at_ms };
        let mut pause = REPORT_PAUSE_FIRST;
        for attempt in 1.. {
            match self.pool.submit(Command::Report(report.clone())).await {
                Ok(Answer::Stale) => return tracing::debug!("a reset or a newer claim was faster"),
                Ok(Answer::Refused(refusal)) => {
                    return tracing::error!(?report, ?refusal, "what came of a purchase was refused");
                }
                Ok(_) => return tracing::debug!(attempts, "a purchase went on"),
                Err(error) if attempt < REPORT_TRIES && may_pass(&error) => {
                    tracing::warn!(%error, "what came of a purchase was not noted yet");
                    tokio::time::sleep(pause / 2 + self.context.jitter(pause / 2)).await;
                    pause = pause.saturating_mul(2).min(REPORT_PAUSE_MOST);
                }
                Err(error) => {
                    return tracing::error!(
                        %error,
                        ?report,
                        "what came of a purchase was not noted: the step is done again when the claim has lapsed"
                    );
                }
            }
        }
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn may_pass(error: &ApiError) -> bool {
    error.reason.retry() == Retry::Backoff
}
