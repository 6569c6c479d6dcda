//! Quarantined branches as operators see them.

use crate::domain::fleet::DeviceStatus;
use crate::domain::ids::MachineId;
use crate::domain::sync::{Branch, BranchReason, BranchState, Hash, MachineStanding};
use bytes::Bytes;
use std::collections::BTreeSet;
use uuid::Uuid;
use vend_core::id::Epoch;

/// A branch with what an operator needs to judge it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BranchSummary {
    /// Its UUIDv7.
    pub id: Uuid,
    /// Whose.
    pub machine: MachineId,
    /// As the fold knows it.
    pub branch: Branch,
    /// When its last record was received, ms since the Unix epoch.
    pub updated_at_ms: i64,
    /// When it was adopted or discarded; 0 while held.
    pub ended_at_ms: i64,
    /// Who adopted or discarded it.
    pub ended_by: String,
    /// Their note.
    pub note: String,
    /// Records that counted when it was adopted.
    pub applied_records: u64,
    /// Records that became dead letters when it was adopted.
    pub dead_lettered_records: u64,
}

impl BranchSummary {
    /// Records in it: a branch is contiguous.
    pub fn records(&self) -> u64 {
        (self.branch.last_seq + 1).saturating_sub(self.branch.first_seq)
    }
}

/// Which branches a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BranchFilter {
    /// Only this machine's.
    pub machine: Option<MachineId>,
    /// Only this state.
    pub state: Option<BranchState>,
    /// Only this reason.
    pub reason: Option<BranchReason>,
}

/// A record set apart, as it was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BranchRecord {
    /// Its seq.
    pub seq: u64,
    /// Kind number as received.
    pub kind: u32,
    /// Schema as received.
    pub schema: u32,
    /// Body as received.
    pub body: Bytes,
    /// Hash as verified.
    pub hash: Hash,
    /// When the server received it, ms since the Unix epoch.
    pub received_at_ms: i64,
    /// It happened no earlier than this, ms since the Unix epoch.
    pub earliest_ms: i64,
    /// It happened no later than this, ms since the Unix epoch.
    pub latest_ms: i64,
}

/// The epochs that speak as a cloned machine at the same time; empty while it is not cloned.
pub fn rivals(device: &DeviceStatus, branches: &[BranchSummary]) -> BTreeSet<Epoch> {
    if device.standing != Some(MachineStanding::Cloned) {
        return BTreeSet::new();
    }
    let apart = branches
        .iter()
        .map(|summary| &summary.branch)
        .filter(|b| b.reason == BranchReason::Cloned && b.state == BranchState::Held)
        .map(|b| b.key.epoch);
    apart.chain(device.epoch).collect()
}
