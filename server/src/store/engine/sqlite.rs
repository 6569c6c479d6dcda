//! SQLite: one writer connection and a pool of readers on one file in WAL mode.

use super::super::{StoreError, StoreOptions};
use super::Pools;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use std::path::Path;

/// Versions before this can corrupt a WAL database that several connections use (https://sqlite.org/releaselog/3_51_3.html).
const OLDEST_VERSION: (u32, u32, u32) = (3, 51, 3);
/// Page cache of the writer, KiB.
const WRITER_CACHE_KIB: u32 = 65_536;
/// Page cache of each reader, KiB.
const READER_CACHE_KIB: u32 = 8_192;
/// Pages in the WAL before a commit moves them into the database: 32 MiB of 4 KiB pages.
const CHECKPOINT_PAGES: u32 = 8_192;
/// A WAL that grew larger is cut back to this, bytes.
const WAL_SIZE_LIMIT: u32 = 128 << 20;
/// Prepared statements kept per connection: bulk inserts have one per chunk size.
const STATEMENTS: usize = 512;

/// Opens the file, making it when there is none.
pub(in crate::store) async fn open(path: &Path, options: &StoreOptions) -> Result<Pools, StoreError> {
    let base = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.lock_timeout)
        .foreign_keys(true)
        .statement_cache_capacity(STATEMENTS)
        .pragma("temp_store", "MEMORY")
        // A failing disk must be an error of a statement, never a SIGBUS in a mapped page.
        .pragma("mmap_size", "0")
        .pragma("journal_size_limit", WAL_SIZE_LIMIT.to_string())
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string());
    let writer = pool(options)
        .max_connections(1)
        .connect_with(base.clone().pragma("cache_size", format!("-{WRITER_CACHE_KIB}")))
        .await?;
    let readers = pool(options)
        .max_connections(options.connections.max(1))
        .connect_with(base.pragma("cache_size", format!("-{READER_CACHE_KIB}")).pragma("query_only", "ON"))
        .await?;
    Ok(Pools::Sqlite { writer, readers })
}

fn pool(options: &StoreOptions) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .min_connections(1)
        .acquire_timeout(options.acquire_timeout)
        // The file does not go away between two statements; a look before each would cost as much as the statement.
        .test_before_acquire(false)
        .max_lifetime(None)
        .idle_timeout(None)
        .after_connect(|connection, _| Box::pin(check(connection)))
}

/// Asserts on every connection what acknowledgements rest on, as the database itself says it.
async fn check(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut *connection).await?;
    if parse_version(&version).is_none_or(|found| found < OLDEST_VERSION) {
        return Err(unsuitable(format!(
            "SQLite {version} may corrupt a WAL database; 3.51.3 or newer is needed"
        )));
    }
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    let foreign_keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&mut *connection).await?;
    if (synchronous, journal.as_str(), foreign_keys) != (2, "wal", 1) {
        return Err(unsuitable(format!(
            "SQLite did not take its settings: synchronous {synchronous} (2 needed), journal_mode {journal} (wal needed), \
             foreign_keys {foreign_keys} (1 needed)"
        )));
    }
    Ok(())
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

fn unsuitable(why: String) -> sqlx::Error {
    sqlx::Error::Configuration(why.into())
}
