//! Looking at the database in the background, so that a health check costs it nothing.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Health, PartStatus};
use crate::{auth::BoxFuture, config::HealthConfig, error::ApiError, metrics::Metrics};

/// What can be asked whether the database answers; the store is one.
pub trait DatabaseProbe: Send + Sync + 'static {
    /// A smallest possible question to the database.
    fn probe(&self) -> BoxFuture<'_, Result<(), ApiError>>;
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
        let (status, detail) = match tokio::time::timeout(timeout, probe.probe()).await {
            Ok(Ok(())) => (PartStatus::Ok, String::new()),
            Ok(Err(cause)) => {
                tracing::warn!(
                    cause = cause.cause().map(tracing::field::display),
                    "the database does not answer"
                );
                (PartStatus::Down, "does not answer".to_owned())
            }
            Err(_) => (PartStatus::Down, format!("no answer within {} ms", config.probe_timeout_ms)),
        };
        metrics.database_up.set(i64::from(status == PartStatus::Ok));
        health.set("database", status, detail).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(config.probe_interval_ms)) => {}
        }
    }
}
