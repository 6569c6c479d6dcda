//! Looking at the database in the background, so that a health check costs it nothing.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Health, Part, PartStatus};
use crate::{auth::BoxFuture, config::HealthConfig, error::ApiError, metrics::Metrics};

/// What can be asked whether the database answers; the store is one.
pub trait DatabaseProbe: Send + Sync + 'static {
    /// A smallest possible question to the database.
    fn probe(&self) -> BoxFuture<'_, Result<(), ApiError>>;

    /// Whether it takes writes: the smallest possible durable one, unless others were seen to succeed meanwhile. The error is
    /// the reason in words for an operator.
    fn probe_write(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Looks every so often until cancelled. The first look is at once.
pub async fn probe_database(
    probe: Arc<dyn DatabaseProbe>,
    config: HealthConfig,
    health: Arc<Health>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let timeout = Duration::from_millis(config.probe_timeout_ms);
    loop {
        let part = look(&*probe, timeout).await;
        metrics.database_up.set(i64::from(part.status == PartStatus::Ok));
        health.set_part("database", part).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(config.probe_interval_ms)) => {}
        }
    }
}

async fn look(probe: &dyn DatabaseProbe, timeout: Duration) -> Part {
    let late = |what: &str| format!("{what} within {} ms", timeout.as_millis());
    let down = |detail| Part { status: PartStatus::Down, detail, is_serving: false };
    match tokio::time::timeout(timeout, probe.probe()).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => {
            let cause = cause.cause().map(tracing::field::display);
            tracing::warn!(cause, "the database does not answer");
            return down("does not answer".to_owned());
        }
        Err(_) => return down(late("no answer")),
    }
    let detail = match tokio::time::timeout(timeout, probe.probe_write()).await {
        Ok(Ok(())) => return Part::ok(),
        Ok(Err(reason)) => reason,
        Err(_) => late("no write was done") + ": locked from outside, or a disk that hangs",
    };
    tracing::warn!(detail, "the database takes no writes");
    Part { status: PartStatus::Degraded, detail, is_serving: false }
}
