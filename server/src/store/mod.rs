//! Everything that is kept: the only home of SQL.
//!
//! One [`Store`] runs on either of two engines and makes one set of promises on both, kept by the conformance suite in
//! `tests/tests/conformance.rs`. A statement that can be written once is written once, with `$1` placeholders; bulk
//! statements and locking may differ per engine ([`Session::engine`]).
//!
//! - Reads: [`Store::read`] gives a [`Session`].
//! - Writes: [`Store::run_tx`] runs a function in a transaction on a task of its own, and again when it lost a race. The
//!   hot path of Sync uses [`Store::begin_hot`] from its committer instead.
//! - **Architecture Invariant**: rows are locked in one order: `machine_sync` rows by machine id, pool rows by machine id,
//!   then whatever belongs to them, then request ids, orders by id, products by id, alerts, and event heads last, by shard.
//!
//! To add a table: a step in `migrations/` for both engines under one name, listed in `migrate.rs`; to add a promise: a
//! function of the conformance suite.

pub mod alerts;
mod backup;
mod bulk;
pub mod catalog;
pub mod clock;
pub mod commands;
mod engine;
mod error;
pub mod events;
pub mod fleet;
mod keyed;
pub mod leases;
mod meta;
mod migrate;
mod options;
pub mod orders;
mod packed;
pub mod pool;
pub mod presence;
pub mod requests;
mod retention;
pub mod silence;
pub mod stock;
mod sync;
mod turns;
mod tx;
mod value;
mod waiting;

pub use engine::Engine;
pub use error::{Cause, StoreError, UniqueKey};
pub use migrate::{SCHEMA_STEPS, SCHEMA_VERSION};
pub use options::{StoreOptions, Target};
pub use retention::{PruneCursor, Pruned};
pub use sync::HotTx;
pub use turns::{Turn, Turns};
pub use tx::{End, Session, Tx, TxFuture};
pub use value::{Arg, Columns, Row, int};
pub use waiting::{ConfigBody, Waiting};

use crate::context::Context;
use engine::Pools;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tracing::Instrument as _;

/// Pause after a lost race grows from this, doubling, with full jitter.
const BACK_OFF_FIRST: Duration = Duration::from_millis(5);
/// And never longer than this.
const BACK_OFF_MOST: Duration = Duration::from_millis(250);

/// The database. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Store {
    pools: Pools,
    context: Context,
    retries: u32,
    connections: u32,
    counts: Arc<Counts>,
    /// SQLite's one writer's.
    turns: Turns,
    /// Whether the room that is left is kept for what was begun.
    is_reserved: Arc<AtomicBool>,
    /// Rises with every commit of this process that wrote events.
    events: watch::Sender<u64>,
}

/// Counted since the start of the process; for metrics.
#[derive(Default, Debug)]
pub struct Counts {
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Of those, transactions known to have written rows.
    pub writes: AtomicU64,
    /// Races lost: deadlocks, serialization failures, locks not had in time.
    pub conflicts: AtomicU64,
    /// Of those, transactions that were tried again.
    pub retries: AtomicU64,
    /// Transactions that failed for want of room.
    pub full: AtomicU64,
    /// Transactions that failed because the database was not available.
    pub unavailable: AtomicU64,
}

impl Store {
    /// Connects, and asserts what the promises rest on. Doesn't migrate.
    pub async fn open(options: &StoreOptions, context: Context) -> Result<Self, StoreError> {
        let pools = match &options.target {
            Target::Sqlite(path) => engine::sqlite::open(path, options).await?,
            Target::Postgres(url) => engine::postgres::open(url, options).await?,
        };
        let (retries, connections) = (options.retries, options.connections);
        Ok(Self {
            pools,
            context,
            retries,
            connections,
            counts: Arc::default(),
            turns: Turns::default(),
            is_reserved: Arc::default(),
            events: watch::Sender::new(0),
        })
    }

    /// Which engine is behind.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres { .. } => Engine::Postgres,
        }
    }

    /// What happened so far; for metrics.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Changes when this process committed events: a hint that reading on may be worth it. Other processes' commits don't show.
    #[must_use]
    pub fn events_committed(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }

    /// Turns for so many lanes of hot writes: who shares one commits one after the other. SQLite has one writer, which lanes
    /// would otherwise wait for each with a batch that was closed long before, so all share one; on PostgreSQL each lane has its
    /// own.
    #[must_use]
    pub fn turns(&self, lanes: usize) -> Vec<Turns> {
        match self.pools {
            Pools::Sqlite { .. } => vec![self.turns.clone()],
            Pools::Postgres { .. } => (0..lanes.max(1)).map(|_| Turns::default()).collect(),
        }
    }

    /// A connection to read with. Bounded by the pool; held only as long as a request needs it.
    pub async fn read(&self) -> Result<Session, StoreError> {
        // The pool's future takes 14 KiB: on the heap, so that calls which rarely read don't carry it.
        Box::pin(self.acquire()).await
    }

    async fn acquire(&self) -> Result<Session, StoreError> {
        match &self.pools {
            Pools::Sqlite { readers, .. } => Ok(Session::sqlite(readers.acquire().await?)),
            Pools::Postgres { pool, .. } => {
                let mut attempt = 0;
                loop {
                    let mut connection = pool.acquire().await?;
                    match sqlx::Connection::ping(&mut *connection).await {
                        Ok(()) => return Ok(Session::postgres(connection)),
                        Err(error) if attempt >= self.connections => return Err(error.into()),
                        // It died in the pool, and maybe all of them did: the next one is a fresh one in the end.
                        Err(_) => {
                            attempt += 1;
                            connection.detach();
                        }
                    }
                }
            }
        }
    }

    /// Runs `work` in a transaction, on a task of its own: a caller that goes away can't leave it half open. Tried again, with
    /// jitter and within the configured bound, when it lost a race; `work` must therefore do nothing but use the
    /// transaction. `name` is for logs.
    ///
    /// ```text
    /// store.run_tx("archive_product", id, |tx, id| Box::pin(async move {
    ///     let rows = tx.execute("UPDATE products SET archived_at_ms = $2 WHERE product_id = $1", &[id.into(), 1.into()]).await?;
    ///     Ok(if rows == 1 { End::Commit(true) } else { End::RollBack(false) })
    /// })).await
    /// ```
    pub async fn run_tx<I, T, W>(&self, name: &'static str, input: I, work: W) -> Result<T, StoreError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        W: for<'t> Fn(&'t mut Tx, &'t I) -> TxFuture<'t, T> + Send + Sync + 'static,
    {
        let store = self.clone();
        let task = async move {
            let mut attempt = 0;
            loop {
                match store.attempt(&input, &work).await {
                    Ok(value) => return Ok(value),
                    Err(error) => match store.back_off(name, attempt, &error) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(error),
                    },
                }
                attempt += 1;
            }
        };
        on_its_own(task).await
    }

    async fn attempt<I, T, W>(&self, input: &I, work: &W) -> Result<T, StoreError>
    where
        W: for<'t> Fn(&'t mut Tx, &'t I) -> TxFuture<'t, T>,
    {
        let mut tx = self.begin().await?;
        match work(&mut tx, input).await {
            Ok(End::Commit(value)) => {
                tx.commit(&self.counts).await?;
                Ok(value)
            }
            Ok(End::RollBack(value)) => {
                tx.roll_back().await?;
                Ok(value)
            }
            Err(error) => {
                // The first error is the one that tells; a connection that can't even roll back is given up.
                if let Err(second) = tx.roll_back().await {
                    tracing::debug!(error = %second, "could not roll back");
                }
                Err(error)
            }
        }
    }

    /// Begins a write. Only on a task that is never dropped half-way (sqlx #4393).
    async fn begin(&self) -> Result<Tx, StoreError> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => {
                Ok(Tx::begin(Session::sqlite(writer.acquire().await?), self.events.clone()).await?)
            }
            Pools::Postgres { pool, .. } => {
                let mut attempt = 0;
                loop {
                    let session = Session::postgres(pool.acquire().await?);
                    match Tx::begin(session, self.events.clone()).await {
                        Ok(tx) => return Ok(tx),
                        // A connection that died in the pool: nothing was begun, the next may be a live one.
                        Err(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) if attempt < self.connections => {
                            attempt += 1;
                        }
                        Err(sqlx::Error::Database(error))
                            if is_gone(&*error) && attempt < self.connections =>
                        {
                            attempt += 1;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }

    /// How long to wait before a write that failed with `error` is tried again; `None`: don't. `attempt` counts from 0.
    /// Counts conflicts.
    #[must_use]
    pub fn back_off(&self, name: &'static str, attempt: u32, error: &StoreError) -> Option<Duration> {
        match error {
            StoreError::Conflict(cause) => {
                self.counts.conflicts.fetch_add(1, Ordering::Relaxed);
                if attempt >= self.retries {
                    tracing::warn!(name, attempt, %cause, "lost a race for the same rows, giving up");
                    return None;
                }
                self.counts.retries.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(name, attempt, %cause, "lost a race for the same rows, trying again");
                let most = BACK_OFF_FIRST.saturating_mul(1 << attempt.min(16)).min(BACK_OFF_MOST);
                Some(self.context.jitter(most))
            }
            StoreError::Unavailable(cause) | StoreError::ReadOnly(cause) | StoreError::Full(cause) => {
                self.counts.unavailable.fetch_add(1, Ordering::Relaxed);
                match error {
                    StoreError::ReadOnly(_) => self.pools.distrust(),
                    StoreError::Full(_) => drop(self.counts.full.fetch_add(1, Ordering::Relaxed)),
                    _ => {}
                }
                tracing::warn!(name, %cause, "the database is not available");
                None
            }
            _ => None,
        }
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres { pool, .. } => pool.close().await,
        }
    }
}

/// `admin_shutdown`, `crash_shutdown`, `idle_in_transaction_session_timeout`: said on a connection's way out.
fn is_gone(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| ["57P01", "57P02", "57P05", "25P03"].contains(&code.as_ref()))
}

/// Runs to its end whatever becomes of the caller.
async fn on_its_own<T: Send + 'static>(
    task: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(task.in_current_span()).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(error) => Err(StoreError::Unavailable(error.into())),
        },
    }
}
