//! What to do with a damaged journal: set it aside, keep what can be proven under its old name, write what can be read
//! behind the damage again under a new one, and never use a number twice.
//!
//! Nothing is read through SQLite: it refuses a whole table for one bad page, and stops at the first bad frame of its log.
//! Pages are read as they lie ([`pages`]), rows recognised by their seals and hashes ([`found`]), and a fresh file is
//! built beside the old one. Only when it is whole and synced does it take the old one's place, in an order in which a
//! cut leaves either the old journal or the new one: see [`finish`].

mod files;
mod found;
mod pages;
mod rebuild;

use super::error::{JournalError, Result};
use super::sqlite::Options;
use super::sqlite::schema::{self, PAGE_BYTES, int, named, put_sealed};
use super::sqlite::sealed::{CONFIGS_ID, EpochRow, HEAD_ID, Head};
use super::types::SalvageReport;
use super::wal::{Log, Tail};
use files::finish;
pub(in crate::journal) use files::{paths, resume};
use found::{Found, FoundRecord};
use pages::Pages;
use rusqlite::params;
use std::fs::File;
use std::path::Path;
use vend_core::machine::{Configs, Durable};
use vend_core::record::{Body, Record};
use vendfleet_wire::Hash;

/// What the fresh file will hold.
struct Plan {
    epochs: Vec<(EpochRow, Vec<FoundRecord>)>,
    head: Option<Head>,
    configs: Vec<u8>,
    strays: Vec<FoundRecord>,
    /// Highest seq allotted in the newest epoch, as far as can be seen.
    highest_seq: u64,
    report: SalvageReport,
}

/// Sets the journal in `dir` aside and puts a fresh one in its place that holds what could be salvaged. The caller opens
/// it then, and finds that it must open an epoch.
pub(in crate::journal) fn salvage(dir: &Path, options: &Options, log: &Log, damage: String) -> Result<()> {
    let paths = paths(dir);
    let open = |path: &Path| File::open(path).map_err(|e| JournalError::Io(e.to_string()));
    let wal = paths.log.exists().then(|| open(&paths.log)).transpose()?;
    let page_bytes = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
    let mut pages = Pages::new(open(&paths.file)?, wal, &log.frames, page_bytes)
        .map_err(|e| JournalError::Io(e.to_string()))?;
    let mut found = Found::default();
    pages.rows(|row| found.take(row));
    drop(pages);
    let mut plan = plan(found, log.tail, damage);
    plan.report.set_aside = files::free_name(dir)?;
    files::drop_fresh(dir)?;
    build(&paths.fresh, options, &plan)?;
    files::seal_fresh(dir)?;
    finish(dir, &plan.report.set_aside)
}

fn plan(mut found: Found, tail: Tail, damage: String) -> Plan {
    let mut report = SalvageReport { damage, ..SalvageReport::default() };
    let rows: Vec<EpochRow> = found.epochs.values().cloned().collect();
    let mut epochs: Vec<(EpochRow, Vec<FoundRecord>)> = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let next_base = rows.get(index + 1).map_or(u64::MAX, |next| next.base);
        let limit = next_base.saturating_sub(row.base).min(row.closed.map_or(u64::MAX, |(last, _)| last));
        let chain = found.take_chain(row, limit);
        report.kept += chain.len() as u64;
        epochs.push((row.clone(), chain));
    }
    let newest = epochs.last().map(|(row, chain)| (row.clone(), end_of(row, chain)));
    let head = choose_head(&found, newest.as_ref(), tail);
    let newest_end = newest.as_ref().map_or(0, |(_, (seq, _))| *seq);
    let seen = |h: &&Head| newest.as_ref().is_some_and(|(row, _)| h.epoch_id == row.id);
    let mut highest_seq = match tail {
        Tail::Torn => head.iter().filter(seen).map(|h| h.last_seq).max(),
        Tail::Clean | Tail::Damaged => found.heads.values().filter(seen).map(|h| h.last_seq).max(),
    }
    .unwrap_or(0)
    .max(newest_end);

    let mut strays = Vec::new();
    let mut stray_records: Vec<(u64, Record)> = Vec::new();
    for (position, record) in readable(&mut found, &epochs) {
        let epoch = epoch_at(&rows, position);
        let seq = epoch.map_or(0, |row| position - row.base);
        if epoch.is_some_and(|row| seq <= row.pruned_through) {
            continue;
        }
        if newest.as_ref().is_some_and(|(row, _)| epoch.is_some_and(|e| e.id == row.id)) {
            highest_seq = highest_seq.max(seq);
        }
        let Some(meaning) = record.meaning() else { continue };
        if matches!(meaning.body, Body::Boot(_)) {
            report.left_behind += 1;
        } else if epoch.is_some_and(|row| seq <= row.accepted_through) || strays.len() >= super::MAX_REWRITTEN
        {
            report.left_behind += 1;
            stray_records.push((position, meaning));
        } else {
            stray_records.push((position, meaning));
            strays.push(record);
        }
    }
    report.rewritten = strays.len() as u64;
    let readable_behind = report.rewritten + report.left_behind;
    report.lost = (highest_seq - newest_end).saturating_sub(readable_behind);

    let (mut state, as_of) = match &head {
        Some(h) => {
            let base = rows.iter().find(|r| r.id == h.epoch_id).map_or(0, |r| r.base);
            (vendfleet_wire::state::decode_state(&h.state).ok(), base.saturating_add(h.last_seq))
        }
        None => (None, 0),
    };
    report.state_rebuilt = state.is_none();
    let mut newer = newer_than(as_of, &epochs);
    newer.extend(stray_records.into_iter().filter(|(position, _)| *position > as_of));
    newer.sort_by_key(|(position, _)| *position);
    if !newer.is_empty() {
        let records: Vec<Record> = newer.into_iter().map(|(_, record)| record).collect();
        rebuild::carry(state.get_or_insert_with(Durable::default), &records);
        report.state_rebuilt = true;
    }
    let configs_held =
        vendfleet_wire::state::decode_configs(&found.configs).is_ok_and(|c| c != Configs::default());
    if let Some(state) = &mut state
        && !configs_held
    {
        // Without its bytes a config is not in force; the server sends it again.
        (state.applied_number, state.applied_config, state.probation) = (0, None, None);
    }
    let commit_no = found.heads.keys().next_back().copied().unwrap_or(0) + 1;
    let head = newest.map(|(row, (last_seq, last_hash))| Head {
        commit_no,
        epoch_id: row.id,
        last_seq,
        last_hash,
        state: state.as_ref().map(vendfleet_wire::state::encode_state).unwrap_or_default(),
    });
    let configs = if configs_held { found.configs } else { Vec::new() };
    Plan { epochs, head, configs, strays, highest_seq, report }
}

/// The newest head; after a torn log the newest that the kept records bear out, since the torn one was never answered.
fn choose_head(found: &Found, newest: Option<&(EpochRow, (u64, Hash))>, tail: Tail) -> Option<Head> {
    let borne_out = |h: &&Head| {
        newest.is_some_and(|(row, (seq, hash))| {
            h.epoch_id == row.id && (h.last_seq < *seq || (h.last_seq == *seq && h.last_hash == *hash))
        })
    };
    let newest_of = |mut heads: Box<dyn Iterator<Item = &Head> + '_>| heads.next().cloned();
    match tail {
        Tail::Torn => newest_of(Box::new(found.heads.values().rev().filter(borne_out))),
        Tail::Clean | Tail::Damaged => None,
    }
    .or_else(|| newest_of(Box::new(found.heads.values().rev())))
}

fn end_of(row: &EpochRow, chain: &[FoundRecord]) -> (u64, Hash) {
    let hash = chain.last().map_or(row.pruned_hash, |r| r.hash);
    (row.pruned_through + chain.len() as u64, hash)
}

fn epoch_at(rows: &[EpochRow], position: u64) -> Option<&EpochRow> {
    rows.iter().rev().find(|row| position > row.base)
}

fn newer_than(as_of: u64, epochs: &[(EpochRow, Vec<FoundRecord>)]) -> Vec<(u64, Record)> {
    let mut newer = Vec::new();
    for (row, chain) in epochs {
        let first = row.base + row.pruned_through + 1;
        for (position, record) in (first..).zip(chain) {
            if position > as_of
                && let Some(meaning) = record.meaning()
            {
                newer.push((position, meaning));
            }
        }
    }
    newer
}

/// The records behind the damage that were written as they read now: proven by the hash before them, by the record
/// after them, or, where the one before is gone, by reading well.
fn readable(found: &mut Found, epochs: &[(EpochRow, Vec<FoundRecord>)]) -> Vec<(u64, FoundRecord)> {
    let rows: Vec<EpochRow> = epochs.iter().map(|(row, _)| row.clone()).collect();
    let records = std::mem::take(&mut found.records);
    let mut readable = Vec::new();
    let (mut last_position, mut previous): (u64, Vec<Hash>) = (0, Vec::new());
    for (&position, versions) in &records {
        let Some(row) = epoch_at(&rows, position) else {
            readable.extend(versions.iter().find(|v| v.meaning().is_some()).map(|v| (position, v.clone())));
            continue;
        };
        if last_position + 1 != position {
            let end =
                epochs.iter().find(|(r, _)| r.id == row.id).map(|(r, chain)| (r.base, end_of(r, chain)));
            previous = match end {
                Some((base, (seq, hash))) if base + seq + 1 == position => vec![hash],
                _ => Vec::new(),
            };
        }
        let hash = |v: &FoundRecord, seq: u64, before: &Hash| {
            vendfleet_wire::record_hash(&row.name, seq, v.kind, v.schema, before, &v.body)
        };
        let seq = position - row.base;
        let mut after_this: Vec<Hash> = Vec::new();
        let mut proven = None;
        for version in versions {
            let computed: Vec<Hash> = previous.iter().map(|before| hash(version, seq, before)).collect();
            let next = records.get(&(position + 1)).map(Vec::as_slice).unwrap_or_default();
            let borne_out =
                |h: &Hash| *h == version.hash || next.iter().any(|n| hash(n, seq + 1, h) == n.hash);
            if computed.iter().any(borne_out) || (previous.is_empty() && version.meaning().is_some()) {
                proven.get_or_insert_with(|| version.clone());
            }
            after_this.extend(computed);
            after_this.push(version.hash);
        }
        after_this.truncate(16);
        readable.extend(proven.map(|record| (position, record)));
        (last_position, previous) = (position, after_this);
    }
    readable
}

fn build(path: &Path, options: &Options, plan: &Plan) -> Result<()> {
    let mut conn = schema::connect(path, options)?;
    schema::prepare(&mut conn)?;
    let tx = schema::write(&mut conn)?;
    let newest = plan.epochs.len();
    for (index, (row, chain)) in plan.epochs.iter().enumerate() {
        let end = end_of(row, chain);
        let mut row = EpochRow { version: row.version + 1, ..row.clone() };
        row.closed = (index + 1 < newest).then_some(end);
        row.accepted_through = row.accepted_through.min(end.0);
        row.durable_through = row.durable_through.min(end.0);
        put_sealed(&tx, row.id, &row.to_bytes())?;
        let mut insert = tx
            .prepare("INSERT INTO record (position, kind, schema, body, hash) VALUES (?1, ?2, ?3, ?4, ?5)")
            .map_err(named)?;
        for (position, r) in (row.base + row.pruned_through + 1..).zip(chain) {
            insert.execute(params![int(position), r.kind, r.schema, r.body, r.hash]).map_err(named)?;
        }
    }
    if let Some(head) = &plan.head {
        put_sealed(&tx, HEAD_ID, &head.to_bytes())?;
    }
    if !plan.configs.is_empty() {
        put_sealed(&tx, CONFIGS_ID, &plan.configs)?;
    }
    for r in &plan.strays {
        tx.execute(
            "INSERT INTO stray (kind, schema, body) VALUES (?1, ?2, ?3)",
            params![r.kind, r.schema, r.body],
        )
        .map_err(named)?;
    }
    let report = serde_json::to_string(&plan.report).map_err(|e| JournalError::Io(e.to_string()))?;
    let parent = plan.epochs.last().map(|(row, _)| row.id);
    tx.execute(
        "INSERT INTO salvage (id, report, parent_id, highest_seq) VALUES (1, ?1, ?2, ?3)",
        params![report, parent, int(plan.highest_seq)],
    )
    .map_err(named)?;
    tx.commit().map_err(named)?;
    // The fresh file must be whole without its log before it takes the old one's place.
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        .map_err(named)
        .and_then(
            |busy| if busy == 0 { Ok(()) } else { Err(JournalError::Io("checkpoint was blocked".into())) },
        )?;
    conn.close().map_err(|(_, error)| named(error))
}
