//! What the server has, read from its tables in one go.

use std::collections::{BTreeMap, BTreeSet};

use vend_core::record::Record;
use vendfleet_wire::{Hash, decode};

use crate::fleet::rows::Rows;

/// As stored: counted.
pub(super) const APPLIED: i64 = 1;
/// As stored: kept raw.
pub(super) const DEAD_LETTER: i64 = 2;

/// What the server has of all machines.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Main chains by machine and epoch, by seq.
    pub(super) main: BTreeMap<(Name, Name), BTreeMap<u64, Kept>>,
    /// Which epoch a chain is of: its own, or, for a branch that an operator adopted and that counts under its own name, the
    /// branch's.
    pub(super) epoch_of: BTreeMap<Name, Name>,
    /// Quarantined and not adopted: epoch, seq, hash; with the number of branches each is on.
    pub(super) apart: BTreeMap<(Name, u64, Hash), u64>,
    /// Machines that ever had a branch.
    pub(super) branched: BTreeSet<Name>,
    /// Gaps by epoch: first and last seq.
    pub(super) gaps: BTreeMap<Name, Vec<(u64, u64)>>,
    /// Records with a row among the dead letters.
    pub(super) dead: BTreeSet<(Name, Name, u64)>,
    /// Every epoch: machine, epoch, ordinal, accepted, durable.
    pub(super) epochs: Vec<(Name, Name, u64, u64, u64)>,
}

pub(super) type Name = Vec<u8>;

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) kind: u32,
    pub(super) schema: u32,
    pub(super) body: Vec<u8>,
    pub(super) hash: Hash,
    pub(super) disposition: i64,
}

impl Kept {
    pub(super) fn meaning(&self) -> Option<Record> {
        decode(self.kind, self.schema, &self.body).ok()
    }
}

pub(super) async fn read(rows: &Rows) -> Held {
    let mut held = Held::default();
    type Stored = (Name, Name, i64, i64, i64, Vec<u8>, Vec<u8>, i64);
    let records: Vec<Stored> = rows
        .all("SELECT machine_id, epoch, seq, kind, schema_no, body, hash, disposition FROM records")
        .await;
    for (machine, epoch, seq, kind, schema, body, hash, disposition) in records {
        let (kind, schema) = (u32::try_from(kind).unwrap(), u32::try_from(schema).unwrap());
        let kept = Kept { kind, schema, body, hash: hash.try_into().unwrap(), disposition };
        held.main.entry((machine, epoch)).or_default().insert(number(seq), kept);
    }
    let branches: Vec<(Name, Name, Name)> =
        rows.all("SELECT machine_id, branch_id, epoch FROM branches").await;
    for (machine, branch, epoch) in branches {
        held.branched.insert(machine);
        held.epoch_of.insert(branch, epoch);
    }
    for (_, epoch) in held.main.keys() {
        held.epoch_of.entry(epoch.clone()).or_insert_with(|| epoch.clone());
    }
    let apart: Vec<(Name, i64, Vec<u8>)> = rows
        .all(
            "SELECT q.epoch, q.seq, q.hash FROM quarantined_records q JOIN branches b ON b.machine_id = q.machine_id \
             AND b.epoch = q.epoch AND b.first_hash = q.first_hash WHERE b.state <> 2",
        )
        .await;
    for (epoch, seq, hash) in apart {
        *held.apart.entry((epoch, number(seq), hash.try_into().unwrap())).or_default() += 1;
    }
    let gaps: Vec<(Name, i64, i64)> = rows.all("SELECT epoch, first_seq, last_seq FROM gaps").await;
    for (epoch, first, last) in gaps {
        held.gaps.entry(epoch).or_default().push((number(first), number(last)));
    }
    let dead: Vec<(Name, Name, i64)> =
        rows.all("SELECT machine_id, epoch, seq FROM dead_letters WHERE state <> 3").await;
    held.dead = dead.into_iter().map(|(machine, epoch, seq)| (machine, epoch, number(seq))).collect();
    let epochs: Vec<(Name, Name, i64, i64, i64)> = rows
        .all("SELECT machine_id, epoch, ordinal, accepted_through, durable_through FROM epochs ORDER BY machine_id, ordinal")
        .await;
    held.epochs = epochs
        .into_iter()
        .map(|(machine, epoch, n, accepted, durable)| {
            (machine, epoch, number(n), number(accepted), number(durable))
        })
        .collect();
    held
}

fn number(stored: i64) -> u64 {
    u64::try_from(stored).expect("never negative")
}
