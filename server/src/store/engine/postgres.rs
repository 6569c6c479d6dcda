//! PostgreSQL 15 or newer: one pool, with limits on every statement, lock and idle transaction.

use super::super::{StoreError, StoreOptions};
use super::Pools;
use crate::context::Context;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// `server_version_num` of PostgreSQL 15.
const OLDEST_VERSION: i64 = 150_000;
/// A transaction of ours never waits for anything but the database: one that idles this long was left behind.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);
/// Prepared statements kept per connection.
const STATEMENTS: usize = 256;

/// Sessions that were opened before this moment are closed instead of used again. After a failover, sessions on what is a
/// standby now, or that were begun while the database was set read-only, stay read-only for as long as they live.
#[derive(Clone, Debug)]
pub(in crate::store) struct Distrusted {
    /// The pool tells a session's age in real time, so this is real time in tests, too.
    real: Context,
    /// Microseconds of its [`Context::elapsed`].
    before_us: Arc<AtomicU64>,
}

impl Distrusted {
    fn now_us(&self) -> u64 {
        u64::try_from(self.real.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// No session that is open now is trusted any more.
    pub(in crate::store) fn until_now(&self) {
        self.before_us.fetch_max(self.now_us(), Ordering::Relaxed);
    }

    fn covers(&self, age: Duration) -> bool {
        let age_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        self.now_us().saturating_sub(age_us) < self.before_us.load(Ordering::Relaxed)
    }
}

/// Connects.
pub(in crate::store) async fn open(url: &str, options: &StoreOptions) -> Result<Pools, StoreError> {
    let distrusted = Distrusted { real: Context::system(), before_us: Arc::default() };
    let looked_at = distrusted.clone();
    let connect: PgConnectOptions = url.parse()?;
    let connect = connect.application_name("vendfleet").statement_cache_capacity(STATEMENTS);
    let (statement_timeout, lock_timeout) = (options.statement_timeout, options.lock_timeout);
    let pool = PgPoolOptions::new()
        .max_connections(options.connections.max(1))
        .acquire_timeout(options.acquire_timeout)
        // A round trip per use; a connection that died meanwhile is noticed at BEGIN, see `Store::begin`.
        .test_before_acquire(false)
        .before_acquire(move |_, session| {
            let is_trusted = !looked_at.covers(session.age);
            Box::pin(std::future::ready(Ok(is_trusted)))
        })
        .after_connect(move |connection, _| Box::pin(prepare(connection, statement_timeout, lock_timeout)))
        .connect_with(connect)
        .await?;
    Ok(Pools::Postgres { pool, distrusted })
}

/// Asserts the version and sets this session's limits. Not as start-up options: connection poolers refuse those.
async fn prepare(
    connection: &mut PgConnection,
    statement_timeout: Duration,
    lock_timeout: Duration,
) -> Result<(), sqlx::Error> {
    let version: i64 = sqlx::query_scalar("SELECT current_setting('server_version_num')::BIGINT")
        .fetch_one(&mut *connection)
        .await?;
    if version < OLDEST_VERSION {
        let why =
            format!("PostgreSQL {}.{} is too old; 15 or newer is needed", version / 10_000, version % 10_000);
        return Err(sqlx::Error::Configuration(why.into()));
    }
    let set = "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false), \
               set_config('idle_in_transaction_session_timeout', $3, false), \
               set_config('default_transaction_isolation', 'read committed', false), set_config('jit', 'off', false), \
               set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' \
                   ELSE current_setting('synchronous_commit') END, false)";
    sqlx::query(set)
        .bind(statement_timeout.as_millis().to_string())
        .bind(lock_timeout.as_millis().to_string())
        .bind(IDLE_IN_TRANSACTION.as_millis().to_string())
        .execute(connection)
        .await?;
    Ok(())
}
