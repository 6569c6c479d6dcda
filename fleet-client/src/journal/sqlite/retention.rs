//! Room, and what gives way to make it.

use super::SqliteJournal;
use super::schema::{PAGE_BYTES, int, named, put_sealed, uint};
use super::sealed::EpochRow;
use super::upload::record_hash_at;
use crate::journal::MAX_PRUNED_PER_CALL;
use crate::journal::error::Result;
use crate::journal::types::Room;
use rusqlite::{OptionalExtension, Transaction, params};

/// Marks closer together than this share a row, milliseconds: one an hour bounds the table.
const MARK_SPACING_MS: i64 = 3_600_000;
/// Below this nothing is written any more, bytes: one commit with a full record and a large state.
const FULL_BELOW_BYTES: u64 = 48 * 1024;
/// Most pages given back to the medium by one call.
const MAX_PAGES_FREED_PER_CALL: u64 = 64;
/// Fewer free pages than this stay in the file for the next records.
const FREE_PAGES_KEPT: u64 = 256;
/// Epochs remembered; those before them, once pruned empty, are forgotten.
const MAX_EPOCHS_KEPT: usize = 64;
const MS_PER_DAY: i64 = 86_400_000;

/// Notes when a mark was reached, so that days can be counted from it.
pub(super) fn mark_durable(tx: &Transaction<'_>, epoch_id: i64, through: u64, now_ms: i64) -> Result<()> {
    // Lowered marks, and a clock that was ahead, must not leave rows that never come due.
    tx.execute(
        "DELETE FROM durable_at WHERE epoch_id = ?1 AND through >= ?2",
        params![epoch_id, int(through)],
    )
    .and_then(|_| tx.execute("UPDATE durable_at SET at_ms = ?1 WHERE at_ms > ?1", [now_ms]))
    .map_err(named)?;
    let recent: Option<i64> = tx
        .query_row(
            "SELECT max(id) FROM durable_at WHERE epoch_id = ?1 AND at_ms > ?2",
            params![epoch_id, now_ms.saturating_sub(MARK_SPACING_MS)],
            |row| row.get(0),
        )
        .map_err(named)?;
    match recent {
        Some(id) => tx.execute("UPDATE durable_at SET through = ?1 WHERE id = ?2", params![int(through), id]),
        None => tx.execute(
            "INSERT INTO durable_at (epoch_id, through, at_ms) VALUES (?1, ?2, ?3)",
            params![epoch_id, int(through), now_ms],
        ),
    }
    .map_err(named)?;
    Ok(())
}

impl SqliteJournal {
    /// Prunes what is durable on the server and past its days.
    pub(super) fn prune_expired(&mut self, now_ms: i64, keep_days: u32) -> Result<()> {
        let due_before = now_ms.saturating_sub(i64::from(keep_days).saturating_mul(MS_PER_DAY));
        for index in 0..self.epochs.len() {
            let Some(row) = self.epochs.get(index) else { break };
            let due: Option<i64> = self
                .conn
                .prepare_cached("SELECT max(through) FROM durable_at WHERE epoch_id = ?1 AND at_ms <= ?2")
                .and_then(|mut s| s.query_row(params![row.id, due_before], |r| r.get(0)).optional())
                .map_err(named)?
                .flatten();
            let through = due.map_or(0, uint).min(row.durable_through);
            if through > row.pruned_through {
                return self.prune(index, through);
            }
        }
        Ok(())
    }

    /// Drops the oldest records of one epoch up to `through`, within the bound per call. Number and hash of the last one
    /// dropped stay, so the rest of the chain can still be checked.
    fn prune(&mut self, index: usize, through: u64) -> Result<()> {
        let Some(row) = self.epochs.get(index).cloned() else { return Ok(()) };
        let through = through.min(row.pruned_through + MAX_PRUNED_PER_CALL);
        let pruned_hash = record_hash_at(&self.conn, row.base + through)?;
        let row = EpochRow { version: row.version + 1, pruned_through: through, pruned_hash, ..row };
        let forgotten = self.forgettable(&row);
        self.write(|tx| {
            tx.prepare_cached("DELETE FROM record WHERE position > ?1 AND position <= ?2")
                .and_then(|mut s| s.execute([int(row.base), int(row.base + row.pruned_through)]))
                .map_err(named)?;
            tx.execute(
                "DELETE FROM durable_at WHERE epoch_id = ?1 AND through <= ?2",
                params![row.id, int(row.pruned_through)],
            )
            .map_err(named)?;
            put_sealed(tx, row.id, &row.to_bytes())?;
            for id in &forgotten {
                tx.execute("DELETE FROM sealed WHERE id = ?1", [id]).map_err(named)?;
            }
            Ok(())
        })?;
        if let Some(slot) = self.epochs.get_mut(index) {
            *slot = row;
        }
        self.epochs.retain(|row| !forgotten.contains(&row.id));
        self.give_pages_back()
    }

    /// Epochs so old and empty that only the server need remember them.
    fn forgettable(&self, pruned: &EpochRow) -> Vec<i64> {
        let surplus = self.epochs.len().saturating_sub(MAX_EPOCHS_KEPT);
        let empty = |row: &&EpochRow| {
            let through = if row.id == pruned.id { pruned.pruned_through } else { row.pruned_through };
            row.closed.is_some_and(|(last, _)| last == through)
        };
        self.epochs.iter().take(surplus).filter(empty).map(|row| row.id).collect()
    }

    fn give_pages_back(&mut self) -> Result<()> {
        let free = self.pragma("freelist_count")?;
        if free > FREE_PAGES_KEPT {
            let pages = (free - FREE_PAGES_KEPT).min(MAX_PAGES_FREED_PER_CALL);
            return self.write(|tx| {
                let mut statement =
                    tx.prepare(&format!("PRAGMA incremental_vacuum({pages})")).map_err(named)?;
                let mut rows = statement.query([]).map_err(named)?;
                while rows.next().map_err(named)?.is_some() {}
                Ok(())
            });
        }
        Ok(())
    }

    pub(super) fn room_left(&mut self) -> Room {
        if self.refused && self.write(|tx| super::write_fact(tx, "journal.probe", &[])).is_err() {
            return Room::Full;
        }
        let room = self.measure();
        if room == Room::Plenty {
            return room;
        }
        // What the server has for good gives way, oldest first, days or not.
        for index in 0..self.epochs.len() {
            let Some(row) = self.epochs.get(index) else { break };
            let through = row.durable_through;
            if through > row.pruned_through {
                if let Err(error) = self.prune(index, through) {
                    tracing::warn!(%error, "journal could not make room");
                }
                break;
            }
        }
        self.measure()
    }

    fn measure(&self) -> Room {
        let free_pages = self.pragma("page_count").and_then(|used| {
            let free = self.pragma("freelist_count")?;
            Ok((self.options.max_bytes / PAGE_BYTES).saturating_sub(used).saturating_add(free))
        });
        match free_pages.map(|pages| pages.saturating_mul(PAGE_BYTES)) {
            Ok(bytes) if bytes >= self.options.reserve_bytes => Room::Plenty,
            Ok(bytes) if bytes >= FULL_BELOW_BYTES => Room::Low,
            Ok(_) | Err(_) => Room::Full,
        }
    }

    fn pragma(&self, name: &str) -> Result<u64> {
        self.conn
            .prepare_cached(&format!("PRAGMA {name}"))
            .and_then(|mut s| s.query_row([], |row| row.get::<_, i64>(0)))
            .map(uint)
            .map_err(named)
    }
}
