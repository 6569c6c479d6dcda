//! What goes in and out of a journal.

use vend_core::id::Epoch;
use vend_core::machine::Stored;
use vend_core::record::{EpochReason, ParentEpoch};

/// A record's hash: SHA-256 over the record and the hash before it.
pub type Hash = [u8; 32];

/// What opening the journal found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// What the machine is rebuilt from: [`vend_core::machine::Machine::boot`]. Default for a new journal.
    pub stored: Stored,
    /// The epoch that the next commit writes into. When [`Self::opens_epoch`], the one it opens.
    pub epoch: Epoch,
    /// Set when the next commit must open [`Self::epoch`]: its first record is a boot that names [`Self::parent`]. Until
    /// then every other commit is refused.
    pub opens_epoch: bool,
    /// The parent to name in that boot; `None` for a machine's first journal, and when no epoch is to be opened.
    pub parent: Option<ParentEpoch>,
    /// Last seq allotted in the newest epoch held; zero when there is none.
    pub last_seq: u64,
    /// Set when a damaged file was set aside, now or before the epoch that follows it could be opened.
    pub salvage: Option<SalvageReport>,
}

/// What became of a damaged journal.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct SalvageReport {
    /// What was found wrong, first finding.
    pub damage: String,
    /// Name of the file set aside, in the journal's directory; its log lies beside it as `-wal`.
    pub set_aside: String,
    /// Records kept under their own names: the unbroken chain from the oldest held.
    pub kept: u64,
    /// Records readable behind the damage, written again into the new epoch.
    pub rewritten: u64,
    /// Records readable behind the damage that were not written again: the server has them, or there were more than
    /// [`super::MAX_REWRITTEN`].
    pub left_behind: u64,
    /// Records between the oldest held and the highest seen that could not be read.
    pub lost: u64,
    /// The stored state could not be read and was rebuilt from the records.
    pub state_rebuilt: bool,
}

/// What a commit got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The epoch written into.
    pub epoch: Epoch,
    /// Last seq allotted in it, by this commit or before; the machine's state is as of this record.
    pub last_seq: u64,
    /// Records numbered by this commit.
    pub written: u32,
    /// Telemetry (faults) left out because room is low.
    pub left_out: u32,
}

/// Where one epoch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochCursor {
    /// The epoch.
    pub epoch: Epoch,
    /// What it follows; to be named in every Sync of this epoch.
    pub parent: Option<ParentEpoch>,
    /// Oldest seq still held; `last_seq + 1` when none is.
    pub oldest_seq: u64,
    /// Last seq allotted.
    pub last_seq: u64,
    /// The server's mark as last acknowledged.
    pub accepted_through: u64,
    /// The server's other mark as last acknowledged.
    pub durable_through: u64,
    /// Commits go into this one.
    pub current: bool,
}

/// A run of records, ready for the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Where the epoch stands.
    pub cursor: EpochCursor,
    /// Seq of the first of `records`, or of the record that would be next.
    pub first_seq: u64,
    /// Hash of the record before `first_seq`; zero for seq 1.
    pub previous_hash: Hash,
    /// Contiguous from `first_seq`; their chain has been checked while reading.
    pub records: Vec<RawRecord>,
}

/// A record as it is stored and sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawRecord {
    /// Its number in its epoch.
    pub seq: u64,
    /// Kind number.
    pub kind: u32,
    /// Schema of the body.
    pub schema: u32,
    /// Serialised body.
    pub body: Vec<u8>,
    /// Its hash.
    pub hash: Hash,
}

/// What a Sync's answer changes, in one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledgement {
    /// The epoch the answer is about.
    pub epoch: Epoch,
    /// Believed up or down.
    pub accepted_through: u64,
    /// Believed up or down.
    pub durable_through: u64,
    /// The device's wall clock, milliseconds since the Unix epoch; measures `keep_days`.
    pub now_ms: i64,
    /// Days to keep records after `durable_through` has passed them.
    pub keep_days: u32,
    /// Verdicts to keep.
    pub verdicts: Vec<Verdict>,
    /// Facts to keep, see [`super::Journal::fact`].
    pub facts: Vec<(String, Vec<u8>)>,
}

/// What the server said about a run of records. Mirrors the contract's `SyncVerdict`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Rises per machine, from 1.
    pub number: u64,
    /// The records' epoch.
    pub epoch: Epoch,
    /// First record of the run.
    pub first_seq: u64,
    /// Last record of the run.
    pub last_seq: u64,
    /// Disposition number of the contract.
    pub disposition: i32,
    /// UPPER_SNAKE reason.
    pub reason: String,
}

/// The server's order to open a new epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochOrder {
    /// The epoch it is about.
    pub epoch: Epoch,
    /// The last seq both sides agree on.
    pub last_common_seq: u64,
    /// Why.
    pub reason: EpochReason,
}

/// How much can still be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Room {
    /// Sell.
    Plenty,
    /// Stop selling: what is left is for the vend in hand and its money.
    Low,
    /// Nothing fits any more.
    Full,
}
