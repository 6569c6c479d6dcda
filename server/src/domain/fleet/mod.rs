//! The fleet as operators see it: machines, identities, configs, and what becomes of records that were set aside.

mod branch;
mod claim;
mod config;
mod credential;
mod late;
mod machine;
mod names;
mod silence;
mod totals;
mod upkeep;
mod upload;

#[cfg(test)]
mod tests;

pub use branch::{BranchFilter, BranchRecord, BranchSummary, rivals};
pub use claim::{
    ClaimState, ClaimToken, ClaimVerdict, MAX_CLAIM_TTL_MS, NewClaim, REENROLL_TTL_MS, judge_claim,
};
pub use config::{
    AssignmentTarget, ConfigProblem, ConfigRow, DesiredCause, NewConfig, Progress, check_config, progress,
};
pub use credential::{Credential, CredentialState, MAX_DRAIN_MS, Revocation, RevokeRefusal, Unsent, revoke};
pub use late::{LateEffect, LateFold};
pub use machine::{
    DeviceStatus, Group, Machine, MachineChange, MachineDetail, MachineFilter, MachineKind, NewMachine,
    Serial, Split, StatusFilter, Tags, Uploads, check_kind,
};
pub use names::{alert_event_id, branch_id, dead_letter_id, gap_id, redriven_event_id, stock_event_id};
pub use silence::{Listening, MACHINE_SILENT, NotListening, SILENT_AFTER_LEAST_MS};
pub use totals::{Disagreement, MachineTotals, TotalsFold};
pub use upkeep::{
    Alert, AlertChange, AlertFilter, AlertState, DeadLetter, DeadLetterFilter, DeadLetterState, LOW_SPACE,
    LOW_STOCK, OrderLetter, Planned, PurchaseLetter, REVOKED_UNSENT, SetAside, SetAsideKind, Severity,
    SlotInventory, severity,
};
pub use upload::{
    Chain, EpochState, EpochSummary, Gap, OutcomeFilter, SettlementFact, StoredRecord, Transaction,
    TransactionCursor, TransactionFilter, TransactionKind,
};
