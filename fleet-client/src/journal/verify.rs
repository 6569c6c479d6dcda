//! Is what the journal holds what was written? Every record's hash, every seal, and SQLite's own check.
//!
//! Found on the device alone: any flipped bit in a held record, in head, configs or epochs; a record that is missing
//! between the oldest held and the head; a broken file structure; a write-ahead log that breaks off before its end
//! (see `wal.rs`), which SQLite itself takes for the end of the log.
//!
//! Not to be found here: a whole file put back to an earlier, sound state (a restored image, a medium that lost what it
//! said it had synced, a log cut off cleanly between two commits). The server finds it by its mark: the device's last
//! seq is below it (`TAIL_LOST`) or hashes differ (`FORK`).

use super::error::{JournalError, Result};
use super::sqlite::schema::{named, uint};
use super::sqlite::sealed::{CONFIGS_ID, EpochRow, FIRST_EPOCH_ID, HEAD_ID, Head, seal};
use rusqlite::Connection;
use vendfleet_wire::Link;

/// The sealed rows of a journal.
#[derive(Default)]
pub(in crate::journal) struct Held {
    pub(in crate::journal) head: Option<Head>,
    pub(in crate::journal) configs: Vec<u8>,
    /// Oldest first.
    pub(in crate::journal) epochs: Vec<EpochRow>,
}

/// What a sound journal holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Epochs known.
    pub epochs: u64,
    /// Records held, over all epochs.
    pub records: u64,
}

/// Reads the sealed rows and checks their seals.
pub(in crate::journal) fn load(conn: &Connection) -> Result<Held> {
    let mut held = Held::default();
    let mut rows = conn.prepare("SELECT id, bytes, checksum FROM sealed ORDER BY id").map_err(named)?;
    let mut rows = rows.query([]).map_err(named)?;
    while let Some(row) = rows.next().map_err(named)? {
        let (id, bytes, checksum): (i64, Vec<u8>, Vec<u8>) =
            (row.get(0).map_err(named)?, row.get(1).map_err(named)?, row.get(2).map_err(named)?);
        if checksum != seal(id, &bytes) {
            return Err(damaged(format!("the seal of row {id} does not fit its bytes")));
        }
        let unreadable = || damaged(format!("sealed row {id} can't be read"));
        match id {
            HEAD_ID => held.head = Some(Head::from_bytes(&bytes).ok_or_else(unreadable)?),
            CONFIGS_ID => held.configs = bytes,
            id if id >= FIRST_EPOCH_ID => {
                held.epochs.push(EpochRow::from_bytes(id, &bytes).ok_or_else(unreadable)?);
            }
            _ => return Err(damaged(format!("sealed row {id} is not known"))),
        }
    }
    Ok(held)
}

/// Checks everything that is held.
pub(in crate::journal) fn verify(conn: &Connection, held: &Held) -> Result<Verified> {
    let check: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(named)?;
    if check != "ok" {
        return Err(damaged(format!("quick_check: {check}")));
    }
    let Some(newest) = held.epochs.last() else {
        return match held.head {
            None => no_records_outside(conn, 0),
            Some(_) => Err(damaged("a head without an epoch")),
        };
    };
    let head = held.head.as_ref().ok_or_else(|| damaged("epochs without a head"))?;
    if head.epoch_id != newest.id || newest.closed.is_some() {
        return Err(damaged("the head is not in the newest epoch"));
    }
    let mut records = 0;
    let mut floor = 0;
    for epoch in &held.epochs {
        let last = match epoch.closed {
            Some(last) => last,
            None if epoch.id == newest.id => (head.last_seq, head.last_hash),
            None => return Err(damaged("an older epoch that was never closed")),
        };
        if epoch.base < floor || epoch.pruned_through > last.0 {
            return Err(damaged("epochs overlap"));
        }
        floor = epoch.base.saturating_add(last.0);
        records += chain(conn, epoch, last)?;
    }
    if !head.state.is_empty() {
        vendfleet_wire::state::decode_state(&head.state).map_err(|e| damaged(e.to_string()))?;
    }
    if !held.configs.is_empty() {
        vendfleet_wire::state::decode_configs(&held.configs).map_err(|e| damaged(e.to_string()))?;
    }
    no_records_outside(conn, records)?;
    Ok(Verified { epochs: held.epochs.len() as u64, records })
}

/// The held records of one epoch: contiguous, chained from what was pruned to what the head says is last.
fn chain(conn: &Connection, epoch: &EpochRow, last: (u64, super::Hash)) -> Result<u64> {
    let mut statement = conn
        .prepare_cached(
            "SELECT position, kind, schema, body, hash FROM record WHERE position > ?1 AND position <= ?2 ORDER BY position",
        )
        .map_err(named)?;
    let from = epoch.base.saturating_add(epoch.pruned_through);
    let to = epoch.base.saturating_add(last.0);
    let mut rows =
        statement.query([super::sqlite::schema::int(from), super::sqlite::schema::int(to)]).map_err(named)?;
    let (mut seq, mut hash) = (epoch.pruned_through, epoch.pruned_hash);
    while let Some(row) = rows.next().map_err(named)? {
        let read = |i| row.get_ref(i).map_err(named);
        let number = |i| Ok::<_, JournalError>(uint(read(i)?.as_i64().map_err(|e| damaged(e.to_string()))?));
        let blob = |i| read(i)?.as_blob().map_err(|e| damaged(e.to_string()));
        let link = Link {
            seq: number(0)?.wrapping_sub(epoch.base),
            kind: u32::try_from(number(1)?).unwrap_or(u32::MAX),
            schema: u32::try_from(number(2)?).unwrap_or(u32::MAX),
            body: blob(3)?,
            hash: blob(4)?,
        };
        hash = vendfleet_wire::verify_chain(&epoch.name, seq + 1, &hash, [link])
            .map_err(|e| damaged(format!("seq {}: {}", e.seq, e.rule)))?;
        seq += 1;
    }
    if (seq, hash) != last {
        return Err(damaged(format!("records end at seq {seq}, the head says {}", last.0)));
    }
    Ok(seq - epoch.pruned_through)
}

fn no_records_outside(conn: &Connection, expected: u64) -> Result<Verified> {
    let found: i64 = conn.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).map_err(named)?;
    if uint(found) != expected {
        return Err(damaged(format!("{found} records in the file, {expected} in the chains")));
    }
    Ok(Verified::default())
}

fn damaged(what: impl Into<String>) -> JournalError {
    JournalError::Damaged(what.into())
}
