//! What machines uploaded, as operators read it: transactions, epochs, gaps.

use crate::domain::ids::MachineId;
use crate::domain::page::Keyset;
use crate::domain::sync::{EpochRow, GapReason};
use bytes::Bytes;
use uuid::Uuid;
use vend_core::id::{Epoch, ProductId, TransactionId};
use vend_core::record::{Kind, Record, Settlement, VendOutcome};

/// What a transaction is. The numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionKind {
    /// A vend with its outcome.
    Vend = 1,
    /// Cash that came in and belongs to no vend.
    CashIn = 2,
}

impl TransactionKind {
    /// The record kind it is read from.
    pub fn record_kind(self) -> Kind {
        match self {
            Self::Vend => Kind::Vend,
            Self::CashIn => Kind::CashIn,
        }
    }
}

/// What the motor said, without what was done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutcomeFilter {
    /// Success.
    Success,
    /// Failure.
    Failure,
    /// Not known.
    Unknown,
}

impl OutcomeFilter {
    /// Whether an outcome is meant.
    pub fn takes(self, outcome: VendOutcome) -> bool {
        matches!(
            (self, outcome),
            (Self::Success, VendOutcome::Success)
                | (Self::Failure, VendOutcome::Failure)
                | (Self::Unknown, VendOutcome::Unknown(_))
        )
    }
}

/// Which transactions a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TransactionFilter {
    /// Only this machine's.
    pub machine: Option<MachineId>,
    /// Only this kind.
    pub kind: Option<TransactionKind>,
    /// Only vends of this product.
    pub product: Option<ProductId>,
    /// Only vends with this outcome.
    pub outcome: Option<OutcomeFilter>,
    /// Received at or after, ms since the Unix epoch; 0: no bound.
    pub received_from_ms: i64,
    /// Received before, ms since the Unix epoch; 0: no bound.
    pub received_before_ms: i64,
}

/// A record that counts, as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// Whose.
    pub machine: MachineId,
    /// Where it is stored: its epoch, or for an adopted branch the branch's id.
    pub chain: Epoch,
    /// Its seq.
    pub seq: u64,
    /// Kind number as received.
    pub kind: u32,
    /// Schema as received.
    pub schema: u32,
    /// Body as received.
    pub body: Bytes,
    /// Hash as verified.
    pub hash: [u8; 32],
    /// When the server received it, ms since the Unix epoch.
    pub received_at_ms: i64,
    /// It happened no earlier than this, ms since the Unix epoch.
    pub earliest_ms: i64,
    /// It happened no later than this, ms since the Unix epoch.
    pub latest_ms: i64,
}

/// One chain of a machine's counted records: an epoch's main chain, or an adopted branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// What its records are stored under.
    pub id: Epoch,
    /// The epoch the device wrote them in.
    pub epoch: Epoch,
}

/// A sale, or cash without one, that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// As it is stored.
    pub stored: StoredRecord,
    /// The epoch the device wrote it in.
    pub epoch: Epoch,
    /// Its meaning.
    pub record: Record,
    /// Its id.
    pub id: TransactionId,
    /// Later facts about its money, in order, bounded.
    pub settlements: Vec<SettlementFact>,
}

/// A later fact about a transaction's money.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettlementFact {
    /// The epoch the device wrote it in.
    pub epoch: Epoch,
    /// Its seq.
    pub seq: u64,
    /// When the server received it, ms since the Unix epoch.
    pub received_at_ms: i64,
    /// What it says.
    pub settlement: Settlement,
}

/// Where an epoch stands in its machine's history. The numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochState {
    /// The one that counts now.
    Current = 1,
    /// Replaced by another.
    Replaced = 2,
    /// One of those that speak as a cloned machine at the same time.
    Rival = 3,
}

/// An epoch with what became of its records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochSummary {
    /// Whose.
    pub machine: MachineId,
    /// Its marks.
    pub row: EpochRow,
    /// Where it stands.
    pub state: EpochState,
    /// The last seq that is known to exist: as the device said, or as received.
    pub last_seq: u64,
    /// Records of the main chain that count.
    pub applied: u64,
    /// Records on branches that are not on the main chain.
    pub quarantined: u64,
    /// Records of the main chain that are dead letters.
    pub dead_lettered: u64,
    /// Records named in gaps.
    pub missing: u64,
}

/// Records nobody can deliver any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    /// Its UUIDv7.
    pub id: Uuid,
    /// Whose.
    pub machine: MachineId,
    /// Their epoch.
    pub epoch: Epoch,
    /// First missing seq.
    pub first_seq: u64,
    /// Last missing seq.
    pub last_seq: u64,
    /// How it was noticed.
    pub reason: GapReason,
    /// When it was named, ms since the Unix epoch.
    pub created_at_ms: i64,
}

/// Behind which transaction a page begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionCursor {
    /// In one machine's own order.
    Machine {
        /// What its record is stored under.
        chain: Epoch,
        /// Its seq.
        seq: u64,
    },
    /// In order of receipt.
    Fleet {
        /// Of the range of records it came in.
        position: i64,
        /// Its seq.
        seq: u64,
    },
}

impl Keyset for TransactionCursor {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Machine { chain, seq } => [chain.0.as_slice(), &seq.to_be_bytes()].concat(),
            Self::Fleet { position, seq } => [position.to_be_bytes(), seq.to_be_bytes()].concat(),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, seq) = bytes.split_last_chunk::<8>()?;
        let seq = u64::from_be_bytes(*seq);
        if let Ok(chain) = first.try_into() {
            return Some(Self::Machine { chain: Epoch(chain), seq });
        }
        Some(Self::Fleet { position: i64::from_be_bytes(first.try_into().ok()?), seq })
    }
}
