//! What a machine stands at, read from its journal: to be laid beside what the server says of it.

use crate::agent::plan::Limits;
use crate::device::SharedJournal;
use crate::hardware::sim::Seen;
use crate::journal::{JournalError, export};
use crate::json;
use crate::unit::Snapshot;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use vend_core::counters::Totals;
use vend_core::id::Epoch;
use vend_core::machine::Books;
use vendfleet_wire::{format_uuid, kind_from_number};

/// Everything about one machine that a server can be asked for too.
#[derive(Clone, Debug, Serialize)]
pub struct MachineReport {
    /// The simulator's name for it.
    pub name: String,
    /// Empty when it is not enrolled.
    pub machine_id: String,
    /// Epochs still held, newest first.
    pub epochs: Vec<EpochReport>,
    /// Lifetime totals.
    pub lifetime: Value,
    /// Where every coin is, and whether the two identities hold.
    pub books: Value,
    /// Both money identities hold.
    pub money_conserved: bool,
    /// Assignment in force; 0: none.
    pub assignment_number: u64,
    /// Config in force.
    pub config_id: Option<String>,
    /// Highest assignment refused; 0: none.
    pub rejected_number: u64,
    /// What it is doing.
    pub state: Value,
    /// How often it was powered on in this run.
    pub boots: u32,
    /// Turns of motors in this run, as somebody beside the cabinet would have counted.
    pub motor_turns: u64,
    /// Units that fell in this run.
    pub dropped: u64,
    /// Turns beyond the vends that the journal counts, whatever their outcome: must be zero unless the journal was deleted
    /// or lost.
    pub turns_unrecorded: u64,
    /// Sales whose motor was driven twice: must be zero.
    pub driven_twice: u64,
    /// Why the machine could not be read, when it could not.
    pub error: Option<String>,
}

/// One epoch as the journal holds it.
#[derive(Clone, Debug, Serialize)]
pub struct EpochReport {
    /// Hex.
    pub epoch: String,
    /// What it follows.
    pub parent: Option<Value>,
    /// Oldest seq held.
    pub oldest_seq: u64,
    /// Last seq allotted.
    pub last_seq: u64,
    /// Hash of that record, hex: equal hashes prove equal chains.
    pub last_hash: String,
    /// The server's mark as last heard.
    pub accepted_through: u64,
    /// The server's other mark as last heard.
    pub durable_through: u64,
    /// Records held, by kind.
    pub records: BTreeMap<String, u64>,
}

impl MachineReport {
    /// Nothing is known of this machine but its name.
    #[must_use]
    pub(super) fn only_named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            machine_id: String::new(),
            epochs: Vec::new(),
            lifetime: Value::Null,
            books: Value::Null,
            money_conserved: false,
            assignment_number: 0,
            config_id: None,
            rejected_number: 0,
            state: Value::Null,
            boots: 0,
            motor_turns: 0,
            turns_unrecorded: 0,
            dropped: 0,
            driven_twice: 0,
            error: None,
        }
    }

    /// Reads a machine's journal to the end. Blocking.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub fn read(
        name: &str,
        machine_id: String,
        boots: u32,
        snapshot: &Snapshot,
        seen: &Seen,
        journal: &SharedJournal,
    ) -> Result<Self, JournalError> {
        let books = Books::of(&snapshot.durable);
        Ok(Self {
            name: name.to_owned(),
            machine_id,
            epochs: epochs(journal, snapshot.epoch)?,
            lifetime: export::totals(&snapshot.durable.counters.lifetime),
            books: json::books(&books),
            money_conserved: books.balance(),
            assignment_number: snapshot.durable.applied_number,
            config_id: snapshot.durable.applied_config.map(|id| format_uuid(&id.0)),
            rejected_number: snapshot.durable.rejected_number,
            state: json::state(&snapshot.view),
            boots,
            motor_turns: count(seen.driven.len()),
            turns_unrecorded: count(seen.driven.len())
                .saturating_sub(vends(&snapshot.durable.counters.lifetime)),
            dropped: seen.dropped,
            driven_twice: count(seen.driven_twice.len()),
            error: None,
        })
    }
}

/// The epochs a journal holds, from this one back along the parents. Blocking.
///
/// # Errors
/// When the journal can't be read.
pub fn epochs(journal: &SharedJournal, current: Epoch) -> Result<Vec<EpochReport>, JournalError> {
    let mut epochs = Vec::new();
    let mut next = Some(current);
    while let Some(epoch) = next {
        match one(journal, epoch) {
            Ok((report, parent)) => {
                epochs.push(report);
                next = parent;
            }
            Err(JournalError::UnknownEpoch(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(epochs)
}

fn one(journal: &SharedJournal, epoch: Epoch) -> Result<(EpochReport, Option<Epoch>), JournalError> {
    let Limits { batch_records, batch_bytes, .. } = Limits::default();
    let mut records = BTreeMap::new();
    let mut from = 0;
    loop {
        let batch = journal.with(|j| j.batch(epoch, from, batch_records, batch_bytes))?;
        for record in &batch.records {
            let kind = kind_from_number(record.kind).map_or("unknown", json::kind);
            *records.entry(kind.to_owned()).or_default() += 1;
        }
        if let Some(last) = batch.records.last() {
            from = last.seq.saturating_add(1);
            continue;
        }
        let cursor = batch.cursor;
        let report = EpochReport {
            epoch: hex::encode(epoch.0),
            parent: cursor.parent.as_ref().map(export::parent),
            oldest_seq: cursor.oldest_seq,
            last_seq: cursor.last_seq,
            last_hash: hex::encode(batch.previous_hash),
            accepted_through: cursor.accepted_through,
            durable_through: cursor.durable_through,
            records,
        };
        return Ok((report, cursor.parent.map(|p| p.epoch)));
    }
}

/// Every vend there was: each motor that was driven belongs to one of them.
fn vends(t: &Totals) -> u64 {
    [t.vends, t.free_vends, t.test_vends, t.failed_vends, t.unknown_vends].iter().sum()
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
