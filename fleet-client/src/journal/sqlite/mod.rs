//! The journal on SQLite: one file, one connection, one transaction per commit.
//!
//! A commit writes two pages into the write-ahead log (the last record page, and the page with the head) and syncs it
//! once. The log is folded into the file every 1 MiB. The file is bounded by `max_bytes`, the log by about 1.3 MiB.
//!
//! What gives way when room gets low, in this order: records durable on the server and past their days; records
//! durable on the server and within their days, oldest first; telemetry, which is then not written any more. Unsent
//! records never: at `Low` the machine stops selling, and what is left is for the vend in hand.

mod commit;
mod open;
mod retention;
pub(in crate::journal) mod schema;
pub(in crate::journal) mod sealed;
mod told;
mod upload;

pub(in crate::journal) use upload::raw_record;

use super::error::{JournalError, Result};
use super::types::{Acknowledgement, Batch, Committed, EpochCursor, EpochOrder, Recovered, Room, Verdict};
use super::verify::Verified;
use super::{Journal, MAX_FACT_BYTES};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use schema::{named, uint};
use sealed::{EpochRow, Head};
use std::path::PathBuf;
use told::Told;
use vend_core::id::Epoch;
use vend_core::machine::Commit;
use vend_core::record::ParentEpoch;

/// Bounds of a journal.
#[derive(Clone, Debug)]
pub struct Options {
    /// Largest size of the file, bytes; the log beside it needs about 1.3 MiB more. Default 16 MiB: some 40,000 vends.
    pub max_bytes: u64,
    /// Room kept for the vend in hand, bytes. Default 256 KiB.
    pub reserve_bytes: u64,
    /// The SQLite VFS to use, by name: for flash with a driver of its own, and for tests. Its files must be readable at their
    /// paths, and it must promise `SQLITE_IOCAP_POWERSAFE_OVERWRITE`, as the platform's does. Default: the platform's.
    pub vfs: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_bytes: 16 * 1024 * 1024, reserve_bytes: 256 * 1024, vfs: None }
    }
}

/// A journal in a directory of its own.
pub struct SqliteJournal {
    conn: Connection,
    dir: PathBuf,
    options: Options,
    /// Oldest first; what the sealed rows say.
    epochs: Vec<EpochRow>,
    head: Option<Head>,
    recovered: Recovered,
    opening: Option<Opening>,
    /// The last write was refused for want of room.
    refused: bool,
    /// A write failed half way: its frames must leave the log before others follow them.
    rewind: bool,
    told: Told,
    _lock: super::lock::JournalLock,
}

/// An epoch that the next commit opens, if it begins with the boot record that says so.
struct Opening {
    fresh: Epoch,
    parent: Option<ParentEpoch>,
    /// Nothing else may be committed before.
    required: bool,
}

impl SqliteJournal {
    /// Checks everything that is held: see [`super::verify`].
    ///
    /// # Errors
    /// [`JournalError::Damaged`] with the first finding.
    pub fn verify(&mut self) -> Result<Verified> {
        let held = super::verify::load(&self.conn)?;
        super::verify::verify(&self.conn, &held)
    }

    /// Writes every held record as a line of JSON: see [`super::export`].
    ///
    /// # Errors
    /// When the medium can't be read or `out` can't be written.
    pub fn export(&mut self, out: &mut dyn std::io::Write) -> Result<u64> {
        let held = super::verify::load(&self.conn)?;
        super::export::export(&self.conn, &held, out)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Runs one write transaction; all or nothing.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        if self.rewind {
            // Its frames still lie in the log; a later start could take them for damage.
            let truncated = self
                .conn
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
                .map_err(named);
            self.note(&truncated);
            if truncated? != 0 {
                return Err(JournalError::Io("checkpoint was blocked".into()));
            }
            self.rewind = false;
        }
        let result = schema::write(&mut self.conn).and_then(|tx| {
            let value = work(&tx)?;
            tx.commit().map_err(named)?;
            Ok(value)
        });
        match &result {
            Ok(_) => self.told.note(&self.conn),
            Err(JournalError::Full(_) | JournalError::Io(_)) => self.rewind = true,
            Err(_) => {}
        }
        self.note(&result);
        result
    }

    fn note<T>(&mut self, result: &Result<T>) {
        self.refused = matches!(result, Err(JournalError::Full(_)));
    }

    fn epoch(&self, name: Epoch) -> Result<&EpochRow> {
        self.epochs.iter().rev().find(|row| row.name == name).ok_or(JournalError::UnknownEpoch(name))
    }

    /// Last seq and hash of an epoch.
    fn end(&self, row: &EpochRow) -> (u64, super::Hash) {
        let head = || self.head.as_ref().map(|h| (h.last_seq, h.last_hash));
        row.closed.or_else(head).unwrap_or_default()
    }
}

impl Journal for SqliteJournal {
    fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    fn commit(&mut self, commit: &Commit) -> Result<Committed> {
        self.commit_one(commit)
    }

    fn cursor(&mut self) -> Result<Option<EpochCursor>> {
        let unaccepted = |row: &&EpochRow| self.end(row).0 > row.accepted_through;
        Ok(self.epochs.iter().find(unaccepted).or_else(|| self.epochs.last()).map(|row| self.cursor_of(row)))
    }

    fn batch(&mut self, epoch: Epoch, from_seq: u64, max_records: usize, max_bytes: usize) -> Result<Batch> {
        self.read_batch(epoch, from_seq, max_records, max_bytes)
    }

    fn acknowledge(&mut self, acknowledgement: &Acknowledgement) -> Result<()> {
        self.store_acknowledgement(acknowledgement)
    }

    fn open_epoch(&mut self, order: &EpochOrder, fresh: Epoch) -> Result<Option<ParentEpoch>> {
        let (Some(newest), Some(head)) = (self.epochs.last(), &self.head) else { return Ok(None) };
        if newest.name != order.epoch || self.opening.as_ref().is_some_and(|o| o.required) {
            return Ok(None);
        }
        let parent = ParentEpoch {
            epoch: newest.name,
            last_common_seq: order.last_common_seq,
            highest_seq: head.last_seq,
            reason: order.reason,
        };
        self.opening = Some(Opening { fresh, parent: Some(parent), required: false });
        Ok(Some(parent))
    }

    fn verdicts_seen_through(&mut self) -> Result<u64> {
        let seen: Option<i64> = self
            .conn
            .prepare_cached("SELECT max(number) FROM verdict")
            .and_then(|mut s| s.query_row([], |row| row.get(0)))
            .map_err(named)?;
        Ok(seen.map_or(0, uint))
    }

    fn verdicts(&mut self) -> Result<Vec<Verdict>> {
        self.read_verdicts()
    }

    fn fact(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        self.conn
            .prepare_cached("SELECT value FROM fact WHERE key = ?1")
            .and_then(|mut s| s.query_row([key], |row| row.get(0)).optional())
            .map_err(named)
    }

    fn put_fact(&mut self, key: &str, value: &[u8]) -> Result<()> {
        check_fact(key, value)?;
        self.write(|tx| write_fact(tx, key, value))
    }

    fn room(&mut self) -> Room {
        self.room_left()
    }
}

fn check_fact(key: &str, value: &[u8]) -> Result<()> {
    if key.len() + value.len() > MAX_FACT_BYTES {
        let rule = format!("must be at most {MAX_FACT_BYTES} bytes");
        return Err(JournalError::Refused { field: "fact", rule });
    }
    Ok(())
}

fn write_fact(tx: &Transaction<'_>, key: &str, value: &[u8]) -> Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO fact (key, value) VALUES (?1, ?2)")
        .and_then(|mut s| s.execute(params![key, value]))
        .map_err(named)?;
    Ok(())
}
