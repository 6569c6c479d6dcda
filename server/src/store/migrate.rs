//! Bringing a database to this version of the schema.

use super::engine::Pools;
use super::{Store, StoreError};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection as _, SqlSafeStr as _};
use std::borrow::Cow;

/// One step, for both engines under the same file name.
struct Step {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! step {
    ($version:literal, $name:literal) => {
        Step {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../../migrations/postgres/", $name, ".sql")),
        }
    };
}

/// Every step, oldest first. A step that was released never changes.
const STEPS: &[Step] = &[
    step!(1, "0001_init"),
    step!(2, "0002_orders"),
    step!(3, "0003_pool"),
    step!(4, "0004_retention"),
    step!(5, "0005_room_for_updates"),
    step!(13, "0013_open_orders"),
];

/// The version [`Store::migrate`] brings a database to.
pub const SCHEMA_VERSION: i64 = STEPS[STEPS.len() - 1].version;

/// How many steps lead there: their numbers need not follow one another.
pub const SCHEMA_STEPS: usize = STEPS.len();

fn migrator(sql: impl Fn(&Step) -> &'static str) -> Migrator {
    let migrations = STEPS.iter().map(|step| {
        let sql = sql(step).into_sql_str();
        Migration::new(step.version, Cow::Borrowed(step.name), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // The driver would take an advisory lock; a locked table does the same through poolers and Citus.
    migrator.set_locking(false);
    migrator
}

impl Store {
    /// Applies every step that is missing. Replicas that start together wait for one another. Idempotent.
    ///
    /// A database that a newer server has migrated, or whose steps differ from this server's, is refused.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => {
                let mut connection = writer.acquire().await?;
                migrator(|step| step.sqlite).run_direct(None, &mut *connection, false).await?;
            }
            Pools::Postgres { pool, .. } => {
                // Two at once may both try to make it; the loser finds it made.
                let made = sqlx::query("CREATE TABLE IF NOT EXISTS migration_lock (id BIGINT PRIMARY KEY)");
                if let Err(error) = made.execute(pool).await
                    && !is_already_there(&error)
                {
                    return Err(error.into());
                }
                // Connections of their own: a step may take longer than any statement of the server may, and the one that
                // holds the lock is idle in its transaction meanwhile.
                let mut holder = unhurried(pool).await?;
                let mut worker = unhurried(pool).await?;
                let mut lock = holder.begin().await?;
                sqlx::query("LOCK TABLE migration_lock IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await?;
                migrator(|step| step.postgres).run_direct(None, &mut worker, false).await?;
                lock.rollback().await?;
                worker.close().await?;
                holder.close().await?;
            }
        }
        self.ensure_meta().await
    }
}

async fn unhurried(pool: &sqlx::PgPool) -> Result<sqlx::PgConnection, StoreError> {
    let mut connection = sqlx::PgConnection::connect_with(&pool.connect_options()).await?;
    let limits = "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false), \
                  set_config('idle_in_transaction_session_timeout', '0', false)";
    sqlx::query(limits).execute(&mut connection).await?;
    Ok(connection)
}

/// `unique_violation` on the catalogue, `duplicate_table`.
fn is_already_there(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "23505" || code == "42P07")
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            MigrateError::VersionMissing(version) => Self::Unsuitable(format!(
                "its schema is at step {version}, which this server does not know: it was migrated by a newer one"
            )),
            MigrateError::VersionMismatch(version) => {
                Self::Unsuitable(format!("step {version} of its schema differs from this server's"))
            }
            other => Self::Unsuitable(format!("its schema could not be brought to this version: {other}")),
        }
    }
}
