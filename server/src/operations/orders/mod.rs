//! Orders against central stock.
//!
//! Whatever changes an order is a [`Command`] and goes through [`Orders`], one group commit for all of them: customers'
//! creates and cancels, the workers' reports, what webhooks bring, redrives. Claims of workers are transactions of their own.

mod cancel_order;
mod committer;
mod create_order;
mod get_order;
mod list_orders;
mod refusal;

pub use cancel_order::cancel_order;
pub use create_order::create_order;
pub use get_order::get_order;
pub use list_orders::list_orders;
pub use refusal::refused;

use crate::context::Context;
use crate::domain::order::{Answer, Command, OpenOrders, Order};
use crate::domain::share::Shares;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::operations::commit::{CommitSettings, GroupCommit};
use crate::operations::deps::ContextIds;
use crate::store::{End, Store, orders as store};
use committer::{OrderWrite, lane_of};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A batch closes when its orders have this many lines together: one transaction locks no more products.
const MAX_BATCH_LINES: usize = 4_096;

/// Bounds of the group commit.
#[derive(Clone, Copy, Debug)]
pub struct OrderSettings {
    /// Lanes that commit side by side; one for an embedded database, which has one writer.
    pub lanes: usize,
    /// Most commands in one commit.
    pub max_batch_commands: usize,
    /// Most commands waiting per lane; one more is refused with OVERLOADED before any work.
    pub max_queued_commands: usize,
    /// A command that has waited longer than this is refused with OVERLOADED, ms: its caller has given up.
    pub max_queued_ms: u64,
    /// Most of one customer that is open at once.
    pub most_open: OpenOrders,
}

impl Default for OrderSettings {
    fn default() -> Self {
        Self {
            lanes: 1,
            max_batch_commands: 256,
            max_queued_commands: 8_192,
            max_queued_ms: 10_000,
            most_open: OpenOrders::UNLIMITED,
        }
    }
}

/// Where every change of an order goes through. Cheap to clone; clones share the group commit.
#[derive(Clone)]
pub struct Orders {
    group: GroupCommit<OrderWrite>,
    store: Store,
    context: Context,
    committed: Arc<watch::Sender<u64>>,
}

impl Orders {
    /// Starts the group commit on the current runtime.
    #[must_use]
    pub fn start(store: &Store, context: &Context, metrics: &Metrics, settings: &OrderSettings) -> Self {
        let committed = Arc::new(watch::Sender::new(0));
        let write = OrderWrite::new(store, context, Arc::clone(&committed), settings.most_open);
        let bounds = CommitSettings {
            lanes: settings.lanes,
            max_batch_calls: settings.max_batch_commands,
            max_batch_weight: MAX_BATCH_LINES,
            max_queued_calls: settings.max_queued_commands,
            open_for: Duration::ZERO,
            max_queued_ms: settings.max_queued_ms,
        };
        let turns = store.turns(bounds.lanes);
        let group = GroupCommit::start(write, store, context, &metrics.order_commit, bounds, &turns);
        Self { group, store: store.clone(), context: context.clone(), committed }
    }

    /// Does a command, in one commit with its neighbours. A caller that goes away does not stop it. That the state stands
    /// against it is an answer too: [`refused`] makes it a failure.
    ///
    /// # Errors
    /// OVERLOADED, UNAVAILABLE, LOCK_CONFLICT, INTERNAL.
    pub async fn submit(&self, command: Command) -> Result<Answer, ApiError> {
        self.group.submit(lane_of(&command), command).await
    }

    /// Takes due orders for `lease_ms`, at most so many, those that have waited longest first and no customer's
    /// more than its share; each goes to one worker. Whoever
    /// reports with the fence they carry holds the claim.
    ///
    /// # Errors
    /// UNAVAILABLE, LOCK_CONFLICT.
    pub async fn claim_shared(
        &self,
        limit: usize,
        lease_ms: i64,
        shares: Shares,
    ) -> Result<Vec<Order>, ApiError> {
        let claimed = self
            .store
            .run_tx("claim_orders", (self.context.clone(), shares), move |tx, (context, shares)| {
                Box::pin(async move {
                    let mut ids = ContextIds(context);
                    let claimed =
                        store::claim(tx, limit, lease_ms, shares, context.now_ms(), &mut ids).await?;
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
    pub async fn claim(&self, limit: usize, lease_ms: i64) -> Result<Vec<Order>, ApiError> {
        self.claim_shared(limit, lease_ms, Shares::unlimited()).await
    }

    /// Rises with every commit of a batch of commands on this replica: a hint that there may be work, or events. Other
    /// replicas' commits don't show.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Orders(..)")
    }
}
