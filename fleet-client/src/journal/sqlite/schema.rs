//! The file: its tables, its pragmas, and how SQLite's errors are named.

use super::Options;
use super::sealed::seal;
use crate::journal::error::{JournalError, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, params};
use std::path::Path;

/// The engine the journal was proven with; older ones can corrupt a write-ahead log, newer ones have not been tried.
const SQLITE_VERSION: &str = "3.51.3";
/// "VFJ1": a file of ours.
const APPLICATION_ID: i64 = 0x5646_4a31;
const USER_VERSION: i64 = 1;

/// Bytes. The state of a machine with up to some 60 slots fits on one page beside its key, and a commit writes that page
/// and the last record page. Measured with 40 slots, a sale writes 7.0 kB with 2048, 13.3 kB with 4096, and 12.9 kB with
/// 1024, where the state spills over (`a_sale_is_two_syncs_and_less_than_8_kb`).
pub(in crate::journal) const PAGE_BYTES: u64 = 2048;
/// Pages in the write-ahead log before it is folded into the file: 1 MiB of them. Fewer would write the same pages more often,
/// more would cost room and a longer start.
const CHECKPOINT_PAGES: u64 = 1024 * 1024 / PAGE_BYTES;

/// `auto_vacuum`: pages are given back when asked.
const INCREMENTAL: i64 = 2;

const TABLES: &str = "
-- Head, configs and epochs, see sealed.rs.
CREATE TABLE sealed (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL, checksum BLOB NOT NULL);
-- Row ids only rise, so SQLite fills its pages to the brim; that is why this is not WITHOUT ROWID.
CREATE TABLE record (
  position INTEGER PRIMARY KEY, kind INTEGER NOT NULL, schema INTEGER NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE durable_at (
  id INTEGER PRIMARY KEY, epoch_id INTEGER NOT NULL, through INTEGER NOT NULL, at_ms INTEGER NOT NULL);
CREATE TABLE verdict (
  number INTEGER PRIMARY KEY, epoch BLOB NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
  disposition INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE fact (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
-- Set from a salvage until the epoch that follows it is opened.
CREATE TABLE salvage (
  id INTEGER PRIMARY KEY CHECK (id = 1), report TEXT NOT NULL, parent_id INTEGER, highest_seq INTEGER NOT NULL);
-- Records salvaged from behind the damage, to be written again after the boot record of the new epoch.
CREATE TABLE stray (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, schema INTEGER NOT NULL, body BLOB NOT NULL);
";

/// Opens or makes the file. While it is not known to be sound, closing it changes nothing on the medium.
pub(in crate::journal) fn connect(path: &Path, options: &Options) -> Result<Connection> {
    let version = rusqlite::version();
    if version != SQLITE_VERSION {
        return Err(JournalError::Unusable(format!("SQLite is {version}, must be {SQLITE_VERSION}")));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = match &options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
        None => Connection::open_with_flags(path, flags),
    }
    .map_err(named)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(named)?;
    conn.set_prepared_statement_cache_capacity(32);
    // First of all, because the next pragma may read the file and so touch its log: no shared-memory file, and SQLite holds its own lock for as long as we live.
    conn.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(())).map_err(named)?;
    set(&conn, "page_size", int(PAGE_BYTES), None)?;
    // Setting it writes a page, even when it is set: over the frames of a killed write, before those have left the log.
    let auto_vacuum: i64 = conn.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).map_err(named)?;
    if auto_vacuum != INCREMENTAL {
        set(&conn, "auto_vacuum", INCREMENTAL, None)?;
    }
    set(&conn, "journal_mode", "WAL", Some("wal"))?;
    set(&conn, "synchronous", "FULL", Some("2"))?;
    set(&conn, "fullfsync", 1_i64, Some("1"))?;
    set(&conn, "wal_autocheckpoint", int(CHECKPOINT_PAGES), Some(&CHECKPOINT_PAGES.to_string()))?;
    set(&conn, "journal_size_limit", int((CHECKPOINT_PAGES + 64) * PAGE_BYTES), None)?;
    set(&conn, "cache_spill", "OFF", None)?;
    set(&conn, "cache_size", -512_i64, None)?;
    set(&conn, "temp_store", "MEMORY", None)?;
    set(&conn, "cell_size_check", 1_i64, None)?;
    set(&conn, "trusted_schema", 0_i64, None)?;
    let max_pages = options.max_bytes / PAGE_BYTES;
    set(&conn, "max_page_count", int(max_pages), None)?;
    Ok(conn)
}

/// Makes the tables of a new file; checks that an old one is ours.
pub(in crate::journal) fn prepare(conn: &mut Connection) -> Result<()> {
    let read = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(named);
    let (application, version) = (read("application_id")?, read("user_version")?);
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(named)?;
    if tables == 0 && application == 0 && version == 0 {
        let tx = write(conn)?;
        tx.execute_batch(TABLES).map_err(named)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(named)?;
        tx.pragma_update(None, "user_version", USER_VERSION).map_err(named)?;
        return tx.commit().map_err(named);
    }
    if application != APPLICATION_ID {
        return Err(JournalError::Damaged(format!(
            "application_id is {application}, must be {APPLICATION_ID}"
        )));
    }
    if version > USER_VERSION {
        return Err(JournalError::Unusable(format!("written by a newer firmware (version {version})")));
    }
    if version != USER_VERSION {
        return Err(JournalError::Damaged(format!("user_version is {version}, must be {USER_VERSION}")));
    }
    Ok(())
}

/// A transaction that is a write from its first moment.
pub(in crate::journal) fn write(conn: &mut Connection) -> Result<Transaction<'_>> {
    conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(named)
}

/// SQLite's integers are signed; no number of ours gets near the difference.
pub(in crate::journal) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// And back; negative ones are damage, which the chain or a seal names better than we could here.
pub(in crate::journal) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Writes one sealed row.
pub(in crate::journal) fn put_sealed(tx: &Connection, id: i64, bytes: &[u8]) -> Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO sealed (id, bytes, checksum) VALUES (?1, ?2, ?3)")
        .and_then(|mut s| s.execute(params![id, bytes, seal(id, bytes)]))
        .map_err(named)?;
    Ok(())
}

fn set(conn: &Connection, name: &str, value: impl rusqlite::ToSql, expected: Option<&str>) -> Result<()> {
    conn.pragma_update(None, name, value).map_err(named)?;
    let Some(expected) = expected else { return Ok(()) };
    let found = conn
        .pragma_query_value(None, name, |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                other => other.as_str().unwrap_or_default().to_owned(),
            })
        })
        .map_err(named)?;
    if found == expected {
        Ok(())
    } else {
        Err(JournalError::Unusable(format!("PRAGMA {name} is {found}, must be {expected}")))
    }
}

/// What SQLite's error means to a journal.
#[allow(clippy::needless_pass_by_value)] // for map_err
pub(in crate::journal) fn named(error: rusqlite::Error) -> JournalError {
    use rusqlite::Error as E;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => JournalError::Full("no room left on the medium or within max_bytes"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            JournalError::Damaged(error.to_string())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::InUse,
        Some(_) => match &error {
            // A table or column that is gone: the schema itself was hit.
            E::SqliteFailure(e, _) | E::SqlInputError { error: e, .. } if e.extended_code == 1 => {
                JournalError::Damaged(error.to_string())
            }
            _ => JournalError::Io(error.to_string()),
        },
        // A value of another type than was written.
        None => JournalError::Damaged(error.to_string()),
    }
}
