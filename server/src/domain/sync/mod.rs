//! One Sync, decided: what a machine said, held against what is known of it.
//!
//! `fold` takes a machine's loaded view and its call, gives the call its answer and the store its writes. The rules and
//! their row numbers: `docs/sync-protocol.md`.

mod alerts;
mod append;
mod call;
mod clock;
mod commands;
mod epochs;
mod fold;
mod place;
mod reported;
mod view;
mod writes;

#[cfg(test)]
mod tests;

pub use call::{
    AppliedConfig, BadBody, CredentialState, LastContact, RecordIn, ReportedSlot, ReportedSlots, SyncCall,
};
pub use fold::{Answer, ConfigToSend, OpenEpoch, Settings, Standing, fold};
pub use place::{MAX_OPEN_BRANCHES, has_no_room, hashes_needed};
pub use view::{
    Branch, BranchKey, BranchReason, BranchState, EpochRow, EpochStatus, KnownCommand, Ledger, MachineRow,
    MachineStanding, MachineView, Seldom, SlotRow, Sold, Verdict,
};
pub use writes::{
    AlertKind, AlertOver, AlertRaise, AssignmentCause, AssignmentRow, ConfigFact, DeadLetterRow, Disposition,
    EventRow, GapReason, GapRow, HandOut, QuarantineRow, RecordRow, VerdictReason, Writes,
};

/// SHA-256 of a record, over itself and all before it in its epoch.
pub type Hash = [u8; 32];
/// The hash before seq 1.
pub const GENESIS: Hash = [0; 32];
