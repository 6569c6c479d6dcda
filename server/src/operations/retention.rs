//! Forgets what is old enough: record bodies, events, request ids, purchases with their sessions, commands. Marks, gaps and
//! totals stay.

use super::{Deps, forget_request_ids};
use crate::domain::request::REQUEST_ID_KEPT_MS;
use crate::error::ApiError;
use crate::store::events::read::SHARDS;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause between two transactions of a sweep, so that it never keeps a Sync waiting for long.
const PAUSE: Duration = Duration::from_millis(10);

/// How long things are kept, and how much is deleted at once.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// How long records and events are kept after they were received, ms.
    pub keep_ms: i64,
    /// How long sessions, purchases and commands are kept after they ended, ms. Never less than request ids, some of which
    /// are in their rows.
    pub keep_purchases_ms: i64,
    /// Rows deleted in one transaction.
    pub batch_rows: u32,
}

/// What a sweep deleted, rows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Swept {
    /// Records.
    pub records: u64,
    /// Events.
    pub events: u64,
    /// Request ids.
    pub request_ids: u64,
    /// Sessions, each with its purchase, that purchase's command and its dead letter.
    pub sessions: u64,
    /// Commands that operators gave.
    pub commands: u64,
}

/// One sweep over everything, a bounded transaction at a time. Ends early, between two of them, once `stop` is cancelled.
///
/// # Errors
/// The database can't be written. What was deleted until then stays deleted; the next sweep goes on.
pub async fn sweep(deps: &Deps, retention: Retention, stop: &CancellationToken) -> Result<Swept, ApiError> {
    let before_ms = deps.context.now_ms().saturating_sub(retention.keep_ms);
    let mut swept = Swept::default();
    let mut from = None;
    loop {
        let step = deps.store.prune_records(before_ms, retention.batch_rows, from).await?;
        swept.records = swept.records.saturating_add(step.rows);
        from = step.next;
        if from.is_none() {
            break;
        }
        if is_stopped(stop).await {
            return Ok(swept);
        }
    }
    for shard in SHARDS {
        loop {
            let rows = deps.store.trim_events(shard, before_ms, retention.batch_rows).await?;
            swept.events = swept.events.saturating_add(rows);
            if rows == 0 {
                break;
            }
            if is_stopped(stop).await {
                return Ok(swept);
            }
        }
    }
    loop {
        let rows = forget_request_ids(deps).await?;
        swept.request_ids = swept.request_ids.saturating_add(rows);
        if rows == 0 {
            break;
        }
        if is_stopped(stop).await {
            return Ok(swept);
        }
    }
    sweep_purchases(deps, retention, stop, &mut swept).await?;
    Ok(swept)
}

/// After the request ids: a call that is known by one of those is answered with its session.
async fn sweep_purchases(
    deps: &Deps,
    retention: Retention,
    stop: &CancellationToken,
    swept: &mut Swept,
) -> Result<(), ApiError> {
    let keep_ms = retention.keep_purchases_ms.max(REQUEST_ID_KEPT_MS);
    let before_ms = deps.context.now_ms().saturating_sub(keep_ms);
    let mut from = None;
    loop {
        let step = deps.store.forget_sessions(before_ms, retention.batch_rows, from).await?;
        swept.sessions = swept.sessions.saturating_add(step.count);
        from = step.next;
        if from.is_none() {
            break;
        }
        if is_stopped(stop).await {
            return Ok(());
        }
    }
    let mut from = None;
    loop {
        let step = deps.store.forget_commands(before_ms, retention.batch_rows, from).await?;
        swept.commands = swept.commands.saturating_add(step.count);
        from = step.next;
        if from.is_none() || is_stopped(stop).await {
            return Ok(());
        }
    }
}

/// Sweeps every so often until `stop` is cancelled. The first sweep comes after a part of the pause, so that replicas which
/// start together do not sweep together.
pub async fn keep_sweeping(deps: Deps, retention: Retention, every: Duration, stop: CancellationToken) {
    let mut pause = deps.context.jitter(every);
    while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
        match sweep(&deps, retention, &stop).await {
            Ok(swept) if swept == Swept::default() => {}
            Ok(swept) => tracing::info!(
                records = swept.records,
                events = swept.events,
                request_ids = swept.request_ids,
                sessions = swept.sessions,
                commands = swept.commands,
                "forgot what was old enough"
            ),
            Err(cause) => tracing::warn!(%cause, "a sweep ended early; the next one goes on"),
        }
        pause = every;
    }
}

async fn is_stopped(stop: &CancellationToken) -> bool {
    tokio::time::timeout(PAUSE, stop.cancelled()).await.is_ok()
}
