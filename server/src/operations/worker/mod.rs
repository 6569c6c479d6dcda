//! The workers that have orders paid.
//!
//! A worker claims orders that are due (fence up, lease set, in one commit), asks the gateway outside any transaction, and
//! hands what came of it to the group commit. Nothing is kept in memory that is not also in the order's row: a worker that is
//! killed at any instant leaves a claim that lapses, and whoever claims next asks the gateway again with the same key, which
//! takes the money once. What a worker learns too late is still a fact when it is definite, and says nothing when it isn't.
//!
//! `cashier` decides what to ask for one order; here is the loop around it.

mod cashier;

pub use cashier::{Cashier, CashierSettings};

use crate::context::Context;
use crate::domain::order::{Answer, Command, Order, Report, WorkDone};
use crate::domain::payment::Verdict;
use crate::error::{ApiError, Retry};
use crate::metrics::{KindLabels, PaymentMetrics};
use crate::operations::orders::Orders;
use crate::operations::payments::{Permit, Till};
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
/// How often a result is handed to the group commit while the database is away, with a pause that doubles up to
/// [`REPORT_PAUSE_MOST`]: about 20 s. After that the claim lapses, and the gateway is asked again with the same key.
const REPORT_TRIES: u32 = 15;
/// First pause between two of them.
const REPORT_PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest pause between two of them.
const REPORT_PAUSE_MOST: Duration = Duration::from_secs(2);

/// Bounds of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerSettings {
    /// Most orders worked on at once.
    pub max_in_flight: usize,
    /// Most orders claimed in one transaction.
    pub claim_batch: usize,
    /// Most of one customer's orders worked on at once.
    pub max_in_flight_per_customer: usize,
    /// How long a claim holds, ms; longer than all attempts together.
    pub lease_ms: i64,
    /// Longest pause between looks for orders that another replica left or that have become due.
    pub poll: Duration,
}

/// A worker. Cheap to clone; clones share their bounds.
#[derive(Clone)]
pub struct Worker {
    orders: Orders,
    till: Till,
    cashier: Cashier,
    settings: WorkerSettings,
    context: Context,
    metrics: PaymentMetrics,
    slots: Arc<Semaphore>,
    under_way: UnderWay,
}

/// When to look again.
enum Next {
    /// There is more.
    AtOnce,
    /// When something is committed, or after so long.
    Woken(Duration),
    /// After so long, whatever is committed.
    After(Duration),
}

impl Worker {
    /// A worker that has not begun.
    pub fn new(
        orders: Orders,
        till: Till,
        settings: WorkerSettings,
        cashier: CashierSettings,
        context: Context,
        metrics: PaymentMetrics,
    ) -> Self {
        let cashier = Cashier::new(till.clone(), cashier, context.clone());
        let slots = Arc::new(Semaphore::new(settings.max_in_flight));
        let under_way = UnderWay::new(settings.max_in_flight_per_customer);
        Self { orders, till, cashier, settings, context, metrics, slots, under_way }
    }

    /// Claims and works until `drain` is cancelled; what is under way then ends by itself, among `tasks`.
    pub async fn run(self, drain: CancellationToken, tasks: TaskTracker) {
        let mut committed = self.orders.committed();
        while !drain.is_cancelled() {
            committed.mark_unchanged();
            let next = self.round(&tasks).await;
            let wait = async {
                tokio::time::sleep(CLAIM_PAUSE).await;
                match next {
                    // Room for more comes when an order is done.
                    Next::AtOnce => drop(self.slots.acquire().await),
                    Next::Woken(most) => {
                        // The sender lives as long as `self.orders`.
                        let _ = tokio::time::timeout(most, committed.changed()).await;
                    }
                    Next::After(pause) => tokio::time::sleep(pause).await,
                }
            };
            tokio::select! {
                () = drain.cancelled() => {}
                () = wait => {}
            }
        }
    }

    /// Claims once as much as there is room for, and begins to work on it.
    async fn round(&self, tasks: &TaskTracker) -> Next {
        let poll = self.poll();
        let room = self.slots.available_permits().min(self.settings.claim_batch);
        if room == 0 {
            return Next::AtOnce;
        }
        let (limit, probing) = match self.till.permit() {
            Permit::All => (room, false),
            Permit::Probe => (1, true),
            Permit::Nothing { until } => {
                return Next::After(until.saturating_sub(self.context.elapsed()).min(poll));
            }
        };
        let claimed =
            match self.orders.claim_shared(limit, self.settings.lease_ms, self.under_way.shares()).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::warn!(%error, "no order was claimed");
                    Vec::new()
                }
            };
        if claimed.is_empty() && probing {
            self.till.unused();
        }
        let full = claimed.len() >= limit && !probing;
        self.metrics.claimed.inc_by(claimed.len() as u64);
        for order in claimed {
            let slot = self.slots.clone().acquire_owned().await;
            let piece = self.under_way.begin(&order.customer);
            tasks.spawn(self.clone().handle(order, slot.ok(), piece));
        }
        if full { Next::AtOnce } else { Next::Woken(poll) }
    }

    /// Replicas that look at the same moment would find the same orders.
    fn poll(&self) -> Duration {
        let half = self.settings.poll / 2;
        half + self.context.jitter(half)
    }

    async fn handle(self, order: Order, slot: Option<OwnedSemaphorePermit>, piece: Piece) {
        let _busy = Busy::begin(&self.metrics);
        let trace = Trace::take(Some(&order.trace_id), Some(&order.traceparent), &self.context);
        let span = tracing::info_span!("order", trace_id = %trace.id, order_id = %order.id);
        let traceparent = trace.traceparent();
        let work = async {
            let (attempts, done) = self.cashier.work_on(&order, &traceparent).await;
            self.report(&order, attempts, done).await;
        };
        trace.scope(work.instrument(span)).await;
        drop((slot, piece));
    }

    /// Hands over what came of it. A definite answer is never lost quietly: when it can't be noted it is in the log, and the
    /// gateway will say it again.
    async fn report(&self, order: &Order, attempts: u32, done: WorkDone) {
        let outcome = outcome(&done);
        let (fence, at_ms) = (order.state.fence, self.context.now_ms());
        let report = Report { order: order.id, fence, attempts, done, at_ms };
        let mut pause = REPORT_PAUSE_FIRST;
        for attempt in 1.. {
            match self.orders.submit(Command::Report(report.clone())).await {
                Ok(Answer::Stale) => {
                    tracing::info!(outcome, "the claim had lapsed, and nothing definite was learnt");
                    return self.count("stale");
                }
                Ok(Answer::Refused(refusal)) => {
                    tracing::error!(?report, ?refusal, "what came of a payment was refused");
                    return self.count("unreported");
                }
                Ok(_) => {
                    tracing::debug!(outcome, attempts, "an order was worked on");
                    return self.count(outcome);
                }
                Err(error) if attempt < REPORT_TRIES && may_pass(&error) => {
                    tracing::warn!(%error, outcome, "what came of a payment was not noted yet");
                    tokio::time::sleep(pause / 2 + self.context.jitter(pause / 2)).await;
                    pause = pause.saturating_mul(2).min(REPORT_PAUSE_MOST);
                }
                Err(error) => {
                    tracing::error!(
                        %error,
                        ?report,
                        "what came of a payment was not noted: the gateway is asked again when the claim has lapsed"
                    );
                    return self.count("unreported");
                }
            }
        }
    }

    fn count(&self, kind: &'static str) {
        self.metrics.outcomes.get_or_create(&KindLabels { kind }).inc();
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Counts an order as in flight, also when its task ends in a panic.
struct Busy(PaymentMetrics);

impl Busy {
    fn begin(metrics: &PaymentMetrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

fn may_pass(error: &ApiError) -> bool {
    error.reason.retry() == Retry::Backoff
}

fn outcome(done: &WorkDone) -> &'static str {
    match done {
        WorkDone::Unknown { .. } => "unknown",
        WorkDone::Learnt(learnt) => match learnt.verdict {
            Verdict::Authorised => "authorised",
            Verdict::Captured => "captured",
            Verdict::Declined => "declined",
            Verdict::Voided => "voided",
            Verdict::Refunded => "refunded",
        },
    }
}
