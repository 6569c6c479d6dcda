//! What a damaged journal's pages still say, and which of it holds together.

use super::pages::{Row, Value};
use crate::journal::sqlite::sealed::{CONFIGS_ID, EpochRow, FIRST_EPOCH_ID, HEAD_ID, Head, seal};
use crate::journal::types::Hash;
use std::collections::BTreeMap;
use vend_core::record::Record;

/// One record as found on a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FoundRecord {
    pub(super) kind: u32,
    pub(super) schema: u32,
    pub(super) body: Vec<u8>,
    pub(super) hash: Hash,
}

/// Everything that could be read, before it is asked whether it fits.
#[derive(Default)]
pub(super) struct Found {
    /// Heads with a fitting seal, by commit number.
    pub(super) heads: BTreeMap<u64, Head>,
    /// Newest epoch rows with a fitting seal, by row id.
    pub(super) epochs: BTreeMap<i64, EpochRow>,
    /// Configs with a fitting seal, in the order found.
    pub(super) configs: Vec<u8>,
    /// Records by position; several when versions differ.
    pub(super) records: BTreeMap<u64, Vec<FoundRecord>>,
}

impl Found {
    /// Sorts one row by its shape; rows of other tables and nonsense are passed over.
    pub(super) fn take(&mut self, row: Row) {
        let mut columns = row.columns.into_iter();
        let shape =
            (columns.next(), columns.next(), columns.next(), columns.next(), columns.next(), columns.next());
        match shape {
            (Some(Value::Null), Some(Value::Blob(bytes)), Some(Value::Blob(checksum)), None, None, None)
                if checksum == seal(row.id, &bytes) =>
            {
                self.take_sealed(row.id, bytes);
            }
            (
                Some(Value::Null),
                Some(Value::Integer(kind)),
                Some(Value::Integer(schema)),
                Some(Value::Blob(body)),
                Some(Value::Blob(hash)),
                None,
            ) => {
                if let (Ok(position), Ok(kind), Ok(schema), Ok(hash)) =
                    (u64::try_from(row.id), u32::try_from(kind), u32::try_from(schema), hash.try_into())
                {
                    let record = FoundRecord { kind, schema, body, hash };
                    let versions = self.records.entry(position).or_default();
                    if !versions.contains(&record) {
                        versions.push(record);
                    }
                }
            }
            _ => {}
        }
    }

    fn take_sealed(&mut self, id: i64, bytes: Vec<u8>) {
        match id {
            HEAD_ID => {
                if let Some(head) = Head::from_bytes(&bytes) {
                    self.heads.insert(head.commit_no, head);
                }
            }
            CONFIGS_ID => self.configs = bytes,
            id if id >= FIRST_EPOCH_ID => {
                if let Some(row) = EpochRow::from_bytes(id, &bytes)
                    && self.epochs.get(&id).is_none_or(|known| known.version <= row.version)
                {
                    self.epochs.insert(id, row);
                }
            }
            _ => {}
        }
    }

    /// The unbroken chain of one epoch, from what was pruned up to `limit`, taken out of what was found.
    pub(super) fn take_chain(&mut self, epoch: &EpochRow, limit: u64) -> Vec<FoundRecord> {
        let mut chain = Vec::new();
        let (mut seq, mut previous) = (epoch.pruned_through, epoch.pruned_hash);
        while seq < limit {
            let position = epoch.base.saturating_add(seq + 1);
            let fits = |r: &FoundRecord| {
                r.hash
                    == vendfleet_wire::record_hash(&epoch.name, seq + 1, r.kind, r.schema, &previous, &r.body)
            };
            let Some(versions) = self.records.get_mut(&position) else { break };
            let Some(index) = versions.iter().position(fits) else { break };
            let record = versions.swap_remove(index);
            self.records.remove(&position);
            previous = record.hash;
            seq += 1;
            chain.push(record);
        }
        chain
    }
}

impl FoundRecord {
    pub(super) fn meaning(&self) -> Option<Record> {
        vendfleet_wire::decode(self.kind, self.schema, &self.body).ok()
    }
}
