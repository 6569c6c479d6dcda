//! Ids of rows that a fold makes without naming them. Derived, so that whoever writes and whoever reads agree without a
//! round trip, and a repeated write makes no second name.

use crate::domain::fleet::AlertChange;
use crate::domain::ids::{AlertId, EventId, MachineId};
use crate::domain::sync::{BranchKey, Hash};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use vend_core::id::Epoch;

/// A branch's UUIDv7. Its sixteen bytes are also the epoch under which the branch's records count once it is adopted: the
/// seqs of a fork are taken in the epoch itself.
pub fn branch_id(machine: MachineId, key: &BranchKey, opened_at_ms: i64) -> Uuid {
    derived(b"branch", opened_at_ms, &[machine.as_bytes(), &key.epoch.0, &key.first_hash])
}

/// A gap's UUIDv7.
pub fn gap_id(machine: MachineId, epoch: Epoch, first_seq: u64, at_ms: i64) -> Uuid {
    derived(b"gap", at_ms, &[machine.as_bytes(), &epoch.0, &first_seq.to_be_bytes()])
}

/// A dead letter's UUIDv7.
pub fn dead_letter_id(machine: MachineId, epoch: Epoch, seq: u64, at_ms: i64) -> Uuid {
    derived(b"dead letter", at_ms, &[machine.as_bytes(), &epoch.0, &seq.to_be_bytes()])
}

/// The event of what happened to an alert, which each happens at most once.
pub fn alert_event_id(alert: AlertId, change: AlertChange, at_ms: i64) -> EventId {
    EventId(derived(b"alert event", at_ms, &[alert.as_bytes(), &[change as u8]]))
}

/// The event of a product's first stock, or of an adjustment: `about` is the product's or the adjustment's id.
pub fn stock_event_id(about: Uuid, at_ms: i64) -> EventId {
    EventId(derived(b"stock event", at_ms, &[about.as_bytes()]))
}

/// The event of a dead letter's record that counts since it was redriven, which happens once.
pub fn redriven_event_id(letter: Uuid, at_ms: i64) -> EventId {
    EventId(derived(b"redriven event", at_ms, &[letter.as_bytes()]))
}

fn derived(what: &[u8], at_ms: i64, parts: &[&[u8]]) -> Uuid {
    let mut hasher = Sha256::new();
    hasher.update(what);
    for part in parts {
        hasher.update(part);
    }
    let hash: Hash = hasher.finalize().into();
    let mut random = [0; 10];
    random.copy_from_slice(&hash[..10]);
    let ms = u64::try_from(at_ms).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
}
