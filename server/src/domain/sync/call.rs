//! A Sync call after it was parsed and its hashes were checked: it can't be malformed any more.

use super::Hash;
use crate::domain::ids::{CredentialId, MachineId};
use bytes::Bytes;
use vend_core::id::{BootId, ConfigId, Epoch, ProductId};
use vend_core::record::{ParentEpoch, Record};
use vend_core::time::Stamp;

/// What one machine said in one call.
#[derive(Clone, Debug)]
pub struct SyncCall {
    /// From the credential, never from the body.
    pub machine: MachineId,
    /// The credential it came with.
    pub credential: CredentialId,
    /// What that credential may still do.
    pub credential_state: CredentialState,
    /// The journal's epoch.
    pub epoch: Epoch,
    /// Oldest seq still held; `last_seq + 1` when none is.
    pub oldest_seq: u64,
    /// Last seq allotted; 0 when none is.
    pub last_seq: u64,
    /// The server's mark as the device last heard it.
    pub accepted_through: u64,
    /// Seq of the first record, or of the next when there is none; at least 1.
    pub first_seq: u64,
    /// Hash of the record before `first_seq`.
    pub previous_hash: Hash,
    /// Contiguous from `first_seq`, hashes verified from `previous_hash` on.
    pub records: Vec<RecordIn>,
    /// The epoch this one continues.
    pub parent: Option<ParentEpoch>,
    /// Verdict numbers up to this are stored on the device.
    pub verdicts_seen_through: u64,
    /// The incarnation the device last heard is this server's own.
    pub same_incarnation: bool,
    /// This moment on the device.
    pub now: Stamp,
    /// Slot levels as the machine has them.
    pub slots: Option<ReportedSlots>,
    /// The config in force.
    pub applied: Option<AppliedConfig>,
    /// Highest command number with a journalled result.
    pub commands_done_through: u64,
    /// It does not sell; as of `applied`, and nothing without it.
    pub out_of_service: bool,
    /// Firmware version.
    pub firmware: String,
    /// When the server received the call, ms since the Unix epoch.
    pub received_at_ms: i64,
    /// Trace id of the call, for the event it causes.
    pub trace_id: String,
}

impl SyncCall {
    /// Seq of the last record in the batch; `first_seq - 1` when it is empty.
    #[must_use]
    pub fn batch_end(&self) -> u64 {
        self.first_seq - 1 + self.records.len() as u64
    }
}

/// One received record: its bytes as they came, and its meaning or why it has none.
#[derive(Clone, Debug)]
pub struct RecordIn {
    /// Position in the epoch.
    pub seq: u64,
    /// Kind number as received.
    pub kind: u32,
    /// Body schema as received.
    pub schema: u32,
    /// Body bytes as received.
    pub body: Bytes,
    /// Verified hash.
    pub hash: Hash,
    /// Decoded, or why not.
    pub meaning: Result<Record, BadBody>,
}

/// Why a body has no meaning: the reason and what exactly broke.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadBody {
    /// UPPER_SNAKE: `BODY_UNREADABLE`, `KIND_UNKNOWN`, `SCHEMA_UNKNOWN`, `RULE_BROKEN`.
    pub reason: super::VerdictReason,
    /// The field and the rule.
    pub detail: String,
}

/// What a credential may still do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CredentialState {
    /// Everything.
    Active,
    /// Upload into quarantine until its drain ends (revoked, or its board was swapped out).
    UploadOnly,
}

/// Slot levels as of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportedSlots {
    /// Last seq whose effect is in them.
    pub as_of_seq: u64,
    /// Each slot once.
    pub slots: Vec<ReportedSlot>,
}

/// One slot as the machine has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportedSlot {
    /// Slot number.
    pub slot: u16,
    /// Product in it.
    pub product: ProductId,
    /// Units.
    pub units: u32,
    /// Out of order.
    pub faulted: bool,
}

/// The config in force on the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppliedConfig {
    /// Last seq whose effect is in this.
    pub as_of_seq: u64,
    /// Assignment in force; 0 when none is.
    pub number: u64,
    /// Config in force.
    pub config: Option<ConfigId>,
    /// Highest assignment refused; 0 when none was.
    pub rejected_number: u64,
}

/// The boot and uptime of a call, kept to place records in time and to bind commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastContact {
    /// The boot it came from.
    pub boot: BootId,
    /// Device uptime then, ms.
    pub uptime_ms: u64,
    /// Server time then, ms since the Unix epoch.
    pub at_ms: i64,
}

impl LastContact {
    /// What a call says of the device's own time.
    #[must_use]
    pub fn of(call: &SyncCall) -> Self {
        Self { boot: call.now.boot, uptime_ms: call.now.at.uptime_ms, at_ms: call.received_at_ms }
    }

    /// The same device at a later moment, as far as it can be told: it runs on.
    #[must_use]
    pub fn carried_to(self, at_ms: i64) -> Self {
        let at_ms = at_ms.max(self.at_ms);
        let since_ms = at_ms.saturating_sub(self.at_ms).unsigned_abs();
        Self { uptime_ms: self.uptime_ms.saturating_add(since_ms), at_ms, ..self }
    }
}
