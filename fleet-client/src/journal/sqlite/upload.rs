//! What the sync agent reads, and what it brings back.

use super::schema::{int, named, put_sealed, uint};
use super::sealed::EpochRow;
use super::{SqliteJournal, check_fact, retention, write_fact};
use crate::journal::MAX_VERDICTS_KEPT;
use crate::journal::error::{JournalError, Result};
use crate::journal::types::{Acknowledgement, Batch, EpochCursor, Hash, RawRecord, Verdict};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use vend_core::id::Epoch;
use vendfleet_wire::Link;

impl SqliteJournal {
    pub(super) fn cursor_of(&self, row: &EpochRow) -> EpochCursor {
        EpochCursor {
            epoch: row.name,
            parent: row.parent,
            oldest_seq: row.pruned_through + 1,
            last_seq: self.end(row).0,
            accepted_through: row.accepted_through,
            durable_through: row.durable_through,
            current: row.closed.is_none(),
        }
    }

    pub(super) fn read_batch(
        &mut self,
        epoch: Epoch,
        from_seq: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Batch> {
        let row = self.epoch(epoch)?;
        let cursor = self.cursor_of(row);
        let first_seq = from_seq.clamp(cursor.oldest_seq, cursor.last_seq + 1);
        let previous_hash = self.hash_before(row, first_seq)?;
        let mut batch = Batch { cursor, first_seq, previous_hash, records: Vec::new() };
        let count = cursor.last_seq - (first_seq - 1);
        let count = count.min(u64::try_from(max_records).unwrap_or(u64::MAX));
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT position, kind, schema, body, hash FROM record WHERE position >= ?1 AND position < ?2
                 ORDER BY position",
            )
            .map_err(named)?;
        let from = row.base + first_seq;
        let mut rows = statement.query([int(from), int(from + count)]).map_err(named)?;
        let (mut bytes, mut previous) = (0, previous_hash);
        while let Some(found) = rows.next().map_err(named)? {
            let record = raw_record(found, row.base)?;
            bytes += record.body.len();
            if bytes > max_bytes && !batch.records.is_empty() {
                return Ok(batch);
            }
            let RawRecord { seq, kind, schema, body, hash } = &record;
            let link = Link { seq: *seq, kind: *kind, schema: *schema, body, hash };
            let expected = first_seq + batch.records.len() as u64;
            previous = vendfleet_wire::verify_chain(&epoch, expected, &previous, [link])
                .map_err(|e| JournalError::Damaged(format!("seq {}: {}", e.seq, e.rule)))?;
            batch.records.push(record);
        }
        if batch.records.len() as u64 != count {
            return Err(JournalError::Damaged(format!("records are missing after seq {first_seq}")));
        }
        Ok(batch)
    }

    fn hash_before(&self, row: &EpochRow, seq: u64) -> Result<Hash> {
        let (last_seq, last_hash) = self.end(row);
        if seq == row.pruned_through + 1 {
            Ok(row.pruned_hash)
        } else if seq == last_seq + 1 {
            Ok(last_hash)
        } else {
            record_hash_at(&self.conn, row.base + seq - 1)
        }
    }

    pub(super) fn store_acknowledgement(&mut self, ack: &Acknowledgement) -> Result<()> {
        for (key, value) in &ack.facts {
            check_fact(key, value)?;
        }
        let index = self.epochs.iter().rposition(|row| row.name == ack.epoch);
        let mut changed = None;
        let mut mark = None;
        if let Some(row) = index.and_then(|i| self.epochs.get(i)) {
            let last_seq = self.end(row).0;
            let accepted_through = ack.accepted_through.min(last_seq);
            let durable_through = ack.durable_through.min(accepted_through);
            mark = (durable_through != row.durable_through).then_some((row.id, durable_through));
            if (accepted_through, durable_through) != (row.accepted_through, row.durable_through) {
                let version = row.version + 1;
                changed = Some(EpochRow { version, accepted_through, durable_through, ..row.clone() });
            }
        }
        if changed.is_some() || !ack.verdicts.is_empty() || !ack.facts.is_empty() {
            self.write(|tx| {
                if let Some(row) = &changed {
                    put_sealed(tx, row.id, &row.to_bytes())?;
                }
                if let Some((epoch_id, durable_through)) = mark {
                    retention::mark_durable(tx, epoch_id, durable_through, ack.now_ms)?;
                }
                ack.facts.iter().try_for_each(|(key, value)| write_fact(tx, key, value))?;
                write_verdicts(tx, &ack.verdicts)
            })?;
            if let Some((slot, row)) = index.and_then(|i| self.epochs.get_mut(i)).zip(changed) {
                *slot = row;
            }
        }
        self.prune_expired(ack.now_ms, ack.keep_days)
    }

    pub(super) fn read_verdicts(&mut self) -> Result<Vec<Verdict>> {
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT number, epoch, first_seq, last_seq, disposition, reason FROM verdict ORDER BY number",
            )
            .map_err(named)?;
        let verdict = |row: &Row<'_>| {
            Ok(Verdict {
                number: uint(row.get(0)?),
                epoch: Epoch(row.get(1)?),
                first_seq: uint(row.get(2)?),
                last_seq: uint(row.get(3)?),
                disposition: row.get(4)?,
                reason: row.get(5)?,
            })
        };
        statement.query_map([], verdict).and_then(Iterator::collect).map_err(named)
    }
}

fn write_verdicts(tx: &Transaction<'_>, verdicts: &[Verdict]) -> Result<()> {
    for v in verdicts {
        tx.prepare_cached("INSERT OR REPLACE INTO verdict VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .and_then(|mut s| {
                let (number, first, last) = (int(v.number), int(v.first_seq), int(v.last_seq));
                s.execute(params![number, v.epoch.0, first, last, v.disposition, v.reason])
            })
            .map_err(named)?;
    }
    if !verdicts.is_empty() {
        tx.execute(
            "DELETE FROM verdict WHERE number <=
               (SELECT number FROM verdict ORDER BY number DESC LIMIT 1 OFFSET ?1)",
            [i64::try_from(MAX_VERDICTS_KEPT).unwrap_or(i64::MAX)],
        )
        .map_err(named)?;
    }
    Ok(())
}

pub(super) fn record_hash_at(conn: &rusqlite::Connection, position: u64) -> Result<Hash> {
    let hash: Option<Hash> = conn
        .prepare_cached("SELECT hash FROM record WHERE position = ?1")
        .and_then(|mut s| s.query_row([int(position)], |row| row.get(0)).optional())
        .map_err(named)?;
    hash.ok_or_else(|| JournalError::Damaged(format!("no record at position {position}")))
}

/// Reads one row of `record`: position, kind, schema, body, hash.
pub(in crate::journal) fn raw_record(row: &Row<'_>, base: u64) -> Result<RawRecord> {
    let number = |i| row.get::<_, i64>(i).map(uint).map_err(named);
    Ok(RawRecord {
        seq: number(0)?.wrapping_sub(base),
        kind: u32::try_from(number(1)?).unwrap_or(u32::MAX),
        schema: u32::try_from(number(2)?).unwrap_or(u32::MAX),
        body: row.get(3).map_err(named)?,
        hash: row.get(4).map_err(named)?,
    })
}
