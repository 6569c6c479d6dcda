//! The fastest way this SQLite takes the same rows: one connection, prepared statements, large transactions, durable.

use crate::load::{Machine, Sync};
use crate::raw::{EXPECTED, Head, NewEvent};
use rusqlite::{Connection, params};
use server::domain::ids::MachineId;
use std::path::Path;

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap()
}

pub fn run(file: &Path, order: &[(&Machine, &Sync)], opened: usize, syncs_per_commit: usize) {
    let mut connection = Connection::open(file).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.pragma_update(None, "foreign_keys", "ON").unwrap();
    connection.pragma_update(None, "cache_size", -65_536).unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 8_192).unwrap();
    connection.pragma_update(None, "temp_store", "MEMORY").unwrap();
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 2, "the raw limit keeps its promise too");
    let mut head = Head::from(opened);
    for group in order.chunks(syncs_per_commit) {
        let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        write(&tx, group, &mut head);
        tx.commit().unwrap();
    }
}

fn write(tx: &Connection, group: &[(&Machine, &Sync)], head: &mut Head) {
    let mut record = tx
        .prepare_cached(
            "INSERT INTO records (machine_id, epoch, seq, kind, schema_no, body, hash, transaction_id, disposition, \
             received_at_ms, earliest_ms, latest_ms) VALUES (?, ?, ?, ?, 1, ?, ?, ?, 1, ?, ?, ?)",
        )
        .unwrap();
    let mut machine_row = tx
        .prepare_cached(
            "UPDATE machine_sync SET last_boot = ?, last_uptime_ms = ?, last_contact_ms = ?, sync_count = sync_count + 1, \
             spoke_epoch = ?, spoke_last_seq = ? WHERE machine_id = ?",
        )
        .unwrap();
    let mut epoch_row = tx
        .prepare_cached(
            "UPDATE epochs SET accepted_through = ?, durable_through = ?, last_hash = ?, expected = ?, spoke_at_ms = ? \
             WHERE machine_id = ? AND epoch = ?",
        )
        .unwrap();
    let mut slot_row = tx
        .prepare_cached(
            "UPDATE slots SET derived = ?, derived_seq = ?, reported = ?, reported_seq = ?, agreed_seq = ? \
             WHERE machine_id = ? AND slot = ?",
        )
        .unwrap();
    let mut event = tx
        .prepare_cached(
            "INSERT INTO events (shard, position, event_id, kind, machine_id, epoch, first_seq, last_seq, at_ms, trace_id) \
             VALUES (0, ?, ?, 1, ?, ?, ?, ?, ?, ?)",
        )
        .unwrap();
    for (machine, sync) in group {
        let (id, epoch) = (MachineId::as_bytes(&machine.id), &machine.epoch.0);
        let at = sync.last().record.stamp.at;
        for e in &sync.entries {
            let transaction = e.record.body.transaction().map(|t| t.0);
            let ms = e.record.stamp.at.wall_ms;
            record
                .execute(params![id, epoch, int(e.seq), e.kind, &e.body[..], e.hash, transaction, ms, ms, ms])
                .unwrap();
        }
        let last = sync.last();
        let last_seq = int(last.seq);
        machine_row
            .execute(params![machine.boot.0, int(at.uptime_ms), at.wall_ms, epoch, last_seq, id])
            .unwrap();
        epoch_row.execute(params![last_seq, last_seq, last.hash, EXPECTED, at.wall_ms, id, epoch]).unwrap();
        for slot in Machine::slots_changed(sync) {
            let units = sync.levels[usize::from(slot) - 1];
            slot_row.execute(params![units, last_seq, units, last_seq, last_seq, id, slot]).unwrap();
        }
        let new = NewEvent::of(sync);
        let position = head.next();
        event
            .execute(params![
                position,
                new.id,
                id,
                epoch,
                int(sync.first_seq()),
                last_seq,
                at.wall_ms,
                new.trace_id
            ])
            .unwrap();
    }
    tx.prepare_cached("UPDATE event_heads SET position = position + ? WHERE shard = 0")
        .unwrap()
        .execute([i64::try_from(group.len()).unwrap()])
        .unwrap();
}
