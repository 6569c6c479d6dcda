//! Counts where the machines of the pool stand, for metrics.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    domain::pool::Standing,
    metrics::{PoolMetrics, StateLabels},
    operations::Deps,
    store::pool,
};

/// Each count reads every machine's row once.
const COUNTED_EVERY: Duration = Duration::from_secs(15);

/// Until the server drains.
pub(super) async fn count(deps: Deps, metrics: PoolMetrics, drain: CancellationToken) {
    let mut tick = tokio::time::interval(COUNTED_EVERY);
    loop {
        tokio::select! {
            () = drain.cancelled() => return,
            _ = tick.tick() => {}
        }
        metrics.waiting_callers.set(i64::try_from(deps.pool.waiting_callers()).unwrap_or(i64::MAX));
        let own_ms = deps.context.now_ms();
        let counted = async { pool::count_by_standing(&mut deps.store.read().await?, own_ms).await };
        match counted.await {
            Ok(counts) => {
                for &standing in Standing::ALL {
                    let machines = counts.get(&standing).copied().unwrap_or(0);
                    metrics.machines.get_or_create(&StateLabels { state: name(standing) }).set(machines);
                }
            }
            Err(error) => tracing::debug!(%error, "the machines of the pool were not counted"),
        }
    }
}

fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::Idle => "idle",
        Standing::ChooseProduct => "choose_product",
        Standing::Processing => "processing",
        Standing::InDoubt => "in_doubt",
        Standing::Resting => "resting",
        Standing::Absent => "absent",
    }
}
