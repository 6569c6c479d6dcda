//! What a batch leaves behind, besides the dirty rows of its views. All of it is written in one transaction.

use super::Hash;
use super::view::{BranchKey, Verdict};
use crate::domain::fleet::MACHINE_SILENT;
use crate::domain::ids::{AlertId, EventId, MachineId, PurchaseId};
use bytes::Bytes;
use vend_core::id::{ConfigId, Epoch, TransactionId};

/// Rows to insert, in arrival order, for all machines of the batch.
#[derive(Clone, Default, Debug)]
pub struct Writes {
    /// Main-chain records.
    pub records: Vec<RecordRow>,
    /// Branch records.
    pub quarantined: Vec<QuarantineRow>,
    /// Dead letters; their raw row is in `records`.
    pub dead_letters: Vec<DeadLetterRow>,
    /// Named gaps.
    pub gaps: Vec<GapRow>,
    /// New verdicts.
    pub verdicts: Vec<(MachineId, Verdict)>,
    /// Verdicts up to a number that the device has echoed: to be deleted.
    pub verdicts_seen: Vec<(MachineId, u64)>,
    /// Alerts to raise, or to count up when one with the same key is open.
    pub alerts: Vec<AlertRaise>,
    /// Alerts that are over, if they are open at all.
    pub alerts_over: Vec<AlertOver>,
    /// New desired assignments.
    pub assignments: Vec<AssignmentRow>,
    /// What machines did with assignments.
    pub config_facts: Vec<ConfigFact>,
    /// Commands that got a number above what the machine knows: machine, old, new. Before anything else of commands.
    pub renumbered: Vec<(MachineId, u64, u64)>,
    /// Purchases whose command is in an answer now for the first time.
    pub handed_out: Vec<HandOut>,
    /// Purchases of whose command something is known now.
    pub heard: Vec<(MachineId, PurchaseId)>,
    /// Events, in order; the store numbers them last.
    pub events: Vec<EventRow>,
}

/// A purchase's command is in an answer now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandOut {
    /// Whose.
    pub machine: MachineId,
    /// The purchase.
    pub purchase: PurchaseId,
    /// How long until a worker looks whether its result came, ms.
    pub look_again_in_ms: i64,
}

/// One record of a main chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordRow {
    /// Whose.
    pub machine: MachineId,
    /// Its epoch.
    pub epoch: Epoch,
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
    /// Set when it counts and belongs to a sale; `(machine, transaction, kind)` is unique.
    pub transaction: Option<TransactionId>,
    /// `Applied` or `DeadLetter`.
    pub disposition: Disposition,
    /// When the server received it, ms since the Unix epoch.
    pub received_at_ms: i64,
    /// It happened no earlier than this, ms since the Unix epoch.
    pub earliest_ms: i64,
    /// It happened no later than this, ms since the Unix epoch.
    pub latest_ms: i64,
}

/// What became of a record. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Disposition {
    /// Stored and counted.
    Applied = 1,
    /// Stored raw, not counted.
    DeadLetter = 2,
    /// Stored apart, not counted.
    Quarantined = 3,
}

/// Why a record was not simply applied. `wire_name` is what travels, `as_str` what is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VerdictReason {
    /// The body is not a `RecordBody`.
    BodyUnreadable,
    /// A kind this server doesn't know.
    KindUnknown,
    /// A schema this server doesn't know.
    SchemaUnknown,
    /// Whole, but another kind's than the record says.
    KindMismatch,
    /// Readable, but a field breaks its rule.
    RuleBroken,
    /// `(machine, transaction_id, kind)` counts already.
    DuplicateTransaction,
    /// Same name, other hash.
    Fork,
    /// Two devices speak as this machine.
    MachineCloned,
    /// The credential is upload-only.
    CredentialDraining,
    /// A redrive or an adoption made it count.
    Adopted,
}

impl VerdictReason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::BodyUnreadable,
        Self::KindUnknown,
        Self::SchemaUnknown,
        Self::KindMismatch,
        Self::RuleBroken,
        Self::DuplicateTransaction,
        Self::Fork,
        Self::MachineCloned,
        Self::CredentialDraining,
        Self::Adopted,
    ];

    /// What is wrong with a body whose `field` breaks its rule.
    #[must_use]
    pub fn of_body(field: &str, is_other_kind: bool) -> Self {
        match field {
            _ if is_other_kind => Self::KindMismatch,
            "kind" => Self::KindUnknown,
            "schema" => Self::SchemaUnknown,
            "body" => Self::BodyUnreadable,
            _ => Self::RuleBroken,
        }
    }

    /// The UPPER_SNAKE name that the contract gives it.
    #[must_use]
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::CredentialDraining => "CREDENTIAL_DRAINING",
            named => named.as_str(),
        }
    }

    /// The UPPER_SNAKE name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BodyUnreadable => "BODY_UNREADABLE",
            Self::KindUnknown => "KIND_UNKNOWN",
            Self::SchemaUnknown => "SCHEMA_UNKNOWN",
            Self::KindMismatch => "KIND_MISMATCH",
            Self::RuleBroken => "RULE_BROKEN",
            Self::DuplicateTransaction => "DUPLICATE_TRANSACTION",
            Self::Fork => "FORK",
            Self::MachineCloned => "MACHINE_CLONED",
            // Its first name, in rows that are there.
            Self::CredentialDraining => "MACHINE_REVOKED",
            Self::Adopted => "ADOPTED",
        }
    }
}

/// One record of a branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuarantineRow {
    /// Whose.
    pub machine: MachineId,
    /// The branch.
    pub branch: BranchKey,
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

/// A record that could not be applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetterRow {
    /// Whose.
    pub machine: MachineId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its seq.
    pub seq: u64,
    /// Why.
    pub reason: VerdictReason,
    /// The field and the rule.
    pub detail: String,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace id of the call that set it aside.
    pub trace_id: String,
}

/// Records that nobody can bring any more, named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GapRow {
    /// Whose.
    pub machine: MachineId,
    /// The epoch.
    pub epoch: Epoch,
    /// First missing seq.
    pub first_seq: u64,
    /// Last missing seq.
    pub last_seq: u64,
    /// How it was noticed.
    pub reason: GapReason,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
}

/// How a gap was noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GapReason {
    /// The device no longer holds what the server does not have.
    NotHeld,
    /// The device's journal was damaged and these could not be read.
    Damaged,
    /// They are from before the server first heard of the machine, and the device does not hold them any more.
    PastUnknown,
}

/// Kinds of alert a Sync can raise. `wire_name` is what travels, `as_str` what is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AlertKind {
    /// Named records are missing for good.
    RecordsMissing,
    /// Same name, other hash.
    JournalForked,
    /// Two devices speak as one machine.
    MachineCloned,
    /// The server had lost something that a device had been told was safe.
    ServerBehindDevice,
    /// Lifetime totals and the sum of records part.
    CountersDiverged,
    /// An epoch began with other totals than its parent ended with.
    CountersStepped,
    /// A device lost records that the server holds.
    TailLost,
    /// A machine reports a fault.
    MachineFault,
    /// A machine refused its desired config.
    ConfigRefused,
    /// A record could not be applied.
    DeadLetter,
    /// Reported and derived levels of a slot differ.
    SlotDrift,
    /// Records came for a branch that had been judged already: they are in a new one.
    RecordsAfterJudgement,
    /// A machine was not heard for too long.
    MachineSilent,
}

impl AlertKind {
    /// The UPPER_SNAKE name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RecordsMissing => "RECORDS_MISSING",
            Self::JournalForked => "JOURNAL_FORKED",
            Self::MachineCloned => "MACHINE_CLONED",
            Self::ServerBehindDevice => "SERVER_BEHIND_DEVICE",
            Self::CountersDiverged => "COUNTERS_DIVERGED",
            Self::CountersStepped => "COUNTERS_STEPPED",
            Self::TailLost => "TAIL_LOST",
            Self::MachineFault => "MACHINE_FAULT",
            Self::ConfigRefused => "CONFIG_REFUSED",
            Self::DeadLetter => "DEAD_LETTER",
            Self::SlotDrift => "SLOT_DRIFT",
            Self::RecordsAfterJudgement => "RECORDS_AFTER_JUDGEMENT",
            Self::MachineSilent => MACHINE_SILENT,
        }
    }
}

/// An alert that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertOver {
    /// Whose.
    pub machine: MachineId,
    /// What.
    pub kind: AlertKind,
    /// Tells one alert of a kind from another.
    pub key: String,
    /// Trace that ended it.
    pub trace_id: String,
}

/// An alert to raise. One with the same `(machine, kind, key)` that is still open is counted up instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertRaise {
    /// Used when it is new.
    pub id: AlertId,
    /// Whose.
    pub machine: MachineId,
    /// What.
    pub kind: AlertKind,
    /// Tells one alert of a kind from another, e.g. the epoch's hex.
    pub key: String,
    /// The epoch concerned.
    pub epoch: Option<Epoch>,
    /// The record concerned; 0 when none is.
    pub seq: u64,
    /// One sentence for the operator.
    pub detail: String,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace id of the call that raised it.
    pub trace_id: String,
}

/// A new desired assignment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssignmentRow {
    /// Whose.
    pub machine: MachineId,
    /// Its number; rises per machine.
    pub number: u64,
    /// The config.
    pub config: ConfigId,
    /// What caused it.
    pub cause: AssignmentCause,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
}

/// What caused an assignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssignmentCause {
    /// An operator published.
    Publish,
    /// The machine knew a higher number than the server.
    Reissue,
}

/// What a machine did with an assignment, from its verdict record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigFact {
    /// Whose.
    pub machine: MachineId,
    /// The assignment.
    pub number: u64,
    /// Applied (true) or refused or rolled back (false).
    pub applied: bool,
    /// What was wrong, `field: REASON` per line; empty when applied.
    pub refusals: String,
    /// When the server learnt it, ms since the Unix epoch.
    pub at_ms: i64,
}

/// An event before it has its position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRow {
    /// Tells repeats.
    pub id: EventId,
    /// Whose.
    pub machine: MachineId,
    /// The epoch of the records it is about.
    pub epoch: Epoch,
    /// First record.
    pub first_seq: u64,
    /// Last record.
    pub last_seq: u64,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace id of the call that caused it.
    pub trace_id: String,
}
