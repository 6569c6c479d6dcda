//! What the store loads of a machine for one of its calls. The fold changes it in place; what is dirty is written.
//! A batch holds at most one call of a machine: the committer leaves a second one for the next batch.

use super::Hash;
use super::call::LastContact;
use crate::domain::command::Command;
use crate::domain::ids::{CredentialId, MachineId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use vend_core::counters::Totals;
use vend_core::id::{ConfigId, Epoch, ProductId, TransactionId};
use vend_core::money::{Currency, Minor};
use vend_core::record::{Body, EpochReason, VendOutcome};
use vend_core::time::ClockQuality;

/// Everything a fold needs to know of one machine, its row locked.
#[derive(Clone, Debug)]
pub struct MachineView {
    /// The machine's hot row.
    pub machine: MachineRow,
    /// The fold changed `machine`.
    pub machine_dirty: bool,
    /// Whether it was fit when it was loaded.
    pub was_fit: bool,
    /// Every epoch of this machine.
    pub epochs: HashMap<Epoch, EpochRow>,
    /// Epochs the fold changed or opened.
    pub epochs_dirty: HashSet<Epoch>,
    /// Held branches of the epochs that the batch's calls name.
    pub branches: HashMap<BranchKey, Branch>,
    /// Branches the fold changed or opened.
    pub branches_dirty: HashSet<BranchKey>,
    /// Hashes of main-chain records inside the range `hashes_needed` names.
    pub main_hashes: HashMap<(Epoch, u64), Hash>,
    /// Hashes of quarantined records inside that same range.
    pub branch_hashes: HashMap<(BranchKey, u64), Hash>,
    /// Slots by number. Loaded always.
    pub slots: BTreeMap<u16, SlotRow>,
    /// Slots the fold changed.
    pub slots_dirty: HashSet<u16>,
    /// Verdicts not yet echoed, by number.
    pub verdicts: BTreeMap<u64, Verdict>,
    /// `(transaction, kind)` pairs of the batch that count already. Loaded only when an insert met the unique index; the fold
    /// adds the batch's own.
    pub counted: HashSet<(TransactionId, u32)>,
    /// The call's credential may only upload since it was looked up: its board was swapped, or it was revoked, within the
    /// seconds that a look-up is believed. Loaded only where it decides: for an epoch that another one has replaced.
    pub upload_only: bool,
    /// Commands that may be handed out, and those that the call's records are about. Loaded only where there are any.
    pub commands: BTreeMap<u64, KnownCommand>,
    /// Commands the fold changed.
    pub commands_dirty: BTreeSet<u64>,
    /// When a gap of the call's epoch was last named, ms since the Unix epoch; 0: never. Loaded only where commands may be
    /// handed out.
    pub gap_named_at_ms: i64,
    /// The database's clock, ms since the Unix epoch; only where there are commands.
    pub clock_ms: i64,
    /// A device hears the answer of this fold: commands may be in it.
    pub is_heard: bool,
    /// `machine.seldom` as it was loaded.
    pub seldom_before: Seldom,
}

impl MachineView {
    /// A machine of which nothing but its hot row is loaded.
    #[must_use]
    pub fn of(machine: MachineRow) -> Self {
        Self {
            was_fit: machine.is_fit(),
            seldom_before: machine.seldom,
            machine,
            machine_dirty: false,
            epochs: HashMap::new(),
            epochs_dirty: HashSet::new(),
            branches: HashMap::new(),
            branches_dirty: HashSet::new(),
            main_hashes: HashMap::new(),
            branch_hashes: HashMap::new(),
            slots: BTreeMap::new(),
            slots_dirty: HashSet::new(),
            verdicts: BTreeMap::new(),
            counted: HashSet::new(),
            upload_only: false,
            commands: BTreeMap::new(),
            commands_dirty: BTreeSet::new(),
            gap_named_at_ms: 0,
            clock_ms: 0,
            is_heard: false,
        }
    }
}

/// A command, and whether it is still to be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownCommand {
    /// As it is kept.
    pub command: Command,
    /// Its purchase still wants it, or it has none.
    pub wanted: bool,
}

/// What of a machine's hot row changes so seldom that it is written only when it does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Seldom {
    /// The last command number given or heard of.
    pub command_number: u64,
    /// Some command may be handed out.
    pub has_commands: bool,
    /// It does not sell, as it last said.
    pub out_of_service: bool,
    /// How far its clock is ahead of ours, ms.
    pub clock_offset_ms: i64,
    /// How far its clock can be believed.
    pub clock: ClockQuality,
}

/// The hot row of a machine: one per machine, locked before anything else of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineRow {
    /// Whose row.
    pub machine: MachineId,
    /// How its uploads are regarded.
    pub standing: MachineStanding,
    /// The epoch that may append to a main chain; `None` before the first Sync.
    pub current_epoch: Option<Epoch>,
    /// Number of the newest verdict.
    pub verdict_number: u64,
    /// Verdicts the device has echoed.
    pub verdicts_seen: u64,
    /// Number of the desired assignment; 0 when nothing is desired.
    pub desired_number: u64,
    /// The desired config.
    pub desired_config: Option<ConfigId>,
    /// Assignment in force on the machine, as last reported; 0 when none.
    pub applied_number: u64,
    /// Config in force, as last reported.
    pub applied_config: Option<ConfigId>,
    /// Highest assignment the machine refused; 0 when none.
    pub rejected_number: u64,
    /// Commands up to this have a journalled result.
    pub commands_done_through: u64,
    /// When it last spoke, and the boot and uptime then of the board that counts: to place records in time, and for what
    /// commands are bound to.
    pub last_contact: Option<LastContact>,
    /// Syncs answered; spreads the pacing.
    pub sync_count: u64,
    /// Firmware as last reported.
    pub firmware: String,
    /// What changes seldom.
    pub seldom: Seldom,
}

impl MachineRow {
    /// Whether it could carry out a remote purchase, were it connected.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.standing == MachineStanding::Active
            && self.applied_config.is_some()
            && !self.seldom.out_of_service
    }
}

/// How a machine's uploads are regarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MachineStanding {
    /// Applied and counted.
    Active,
    /// Two devices speak as this machine: all goes to quarantine until an operator splits it.
    Cloned,
}

/// One epoch's marks; kept for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochRow {
    /// Its name.
    pub epoch: Epoch,
    /// 1 for the machine's first, then rising in the order they were opened.
    pub ordinal: u64,
    /// May it append?
    pub status: EpochStatus,
    /// The epoch before, as the device named it or as the server inferred it.
    pub parent: Option<Epoch>,
    /// Where it left its parent, as the device said; 0 when it didn't.
    pub parent_last_common: u64,
    /// Highest seq allotted in the parent, as the device said; 0 when unknown.
    pub parent_highest: u64,
    /// Why it was opened.
    pub reason: EpochReason,
    /// Durably received through (the main chain).
    pub accepted_through: u64,
    /// Applied through (the main chain); every seq up to here is a record, a dead letter or inside a gap.
    pub durable_through: u64,
    /// Hash of the main chain at `durable_through`; `None` when that seq is inside a gap.
    pub last_hash: Option<Hash>,
    /// Lifetime totals with which the epoch began, as its first readable money record or boot says.
    pub opening: Option<Totals>,
    /// Lifetime totals as recomputed up to `durable_through`; `None` when a gap or dead letter made them unknown.
    pub expected: Option<Ledger>,
    /// First record whose totals disagree with the sum; 0 when none.
    pub diverged_seq: u64,
    /// When it was opened, ms since the Unix epoch.
    pub opened_at_ms: i64,
    /// When it was replaced, ms since the Unix epoch; 0 while current.
    pub replaced_at_ms: i64,
    /// When it last spoke, ms since the Unix epoch.
    pub spoke_at_ms: i64,
    /// The machine that this epoch was split off to; it must enrol anew.
    pub moved_to: Option<MachineId>,
}

/// Lifetime totals and the currency they are in; what `vend_core::counters::advance` carries forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Currency of the last record that named one; `Currency::NONE` before.
    pub currency: Currency,
    /// The totals.
    pub totals: Totals,
}

/// May an epoch append to its main chain?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochStatus {
    /// Yes.
    Current,
    /// No: another one followed.
    Replaced,
}

/// A branch's name: its epoch and the hash of its first record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BranchKey {
    /// The epoch.
    pub epoch: Epoch,
    /// Hash of the branch's first record.
    pub first_hash: Hash,
}

impl BranchKey {
    /// Tells the alert about this branch from others of a kind.
    #[must_use]
    pub fn alert_key(&self) -> String {
        format!("{}:{}", hex::encode(self.epoch.0), hex::encode(self.first_hash))
    }
}

/// A chain that is stored apart and not counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Branch {
    /// Its name.
    pub key: BranchKey,
    /// Its first seq.
    pub first_seq: u64,
    /// Hash of the record before its first.
    pub root_hash: Hash,
    /// Its last seq.
    pub last_seq: u64,
    /// Hash at `last_seq`.
    pub last_hash: Hash,
    /// Why it is apart.
    pub reason: BranchReason,
    /// What an operator did with it. The fold appends to `Held` ones only: what comes behind a judged one begins another.
    pub state: BranchState,
    /// When it began, ms since the Unix epoch.
    pub opened_at_ms: i64,
    /// The credential its first record came with.
    pub credential: CredentialId,
    /// What it would add to the machine's sales: for the operator who judges it.
    pub sold: Sold,
}

/// Successful vends of a run of records.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sold {
    /// How many.
    pub vends: u64,
    /// What they were worth, minor units of `currency`.
    pub minor: Minor,
    /// That of the last of them; a change of currency starts `minor` anew, as it does a machine's own totals.
    pub currency: Currency,
}

impl Sold {
    /// Takes a record in.
    pub fn count(&mut self, body: &Body) {
        let Body::Vend(vend) = body else { return };
        if vend.outcome != VendOutcome::Success {
            return;
        }
        if vend.currency != self.currency {
            (self.currency, self.minor) = (vend.currency, 0);
        }
        self.vends = self.vends.saturating_add(1);
        self.minor = self.minor.saturating_add(vend.price_minor);
    }
}

/// Why a branch is apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BranchReason {
    /// Same name, other hash.
    Fork,
    /// Two devices spoke as one machine.
    Cloned,
    /// The credential had been revoked or its board swapped out.
    Revoked,
}

/// What an operator did with a branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BranchState {
    /// Nothing yet.
    Held,
    /// Its records count now.
    Adopted,
    /// Its records never will count; they stay stored.
    Discarded,
}

/// A slot's numbers. None overwrites another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotRow {
    /// Slot number.
    pub slot: u16,
    /// Product the derived level is about; `None` before any record spoke of the slot.
    pub product: Option<ProductId>,
    /// Derived by the server: last count + refills - vends.
    pub derived: i64,
    /// Last record in `derived`.
    pub derived_seq: u64,
    /// Product as the machine reports it.
    pub reported_product: Option<ProductId>,
    /// Reported by the machine; `None` when never reported.
    pub reported: Option<u32>,
    /// Last seq in `reported`.
    pub reported_seq: u64,
    /// The machine calls it out of order.
    pub faulted: bool,
    /// Epoch of `derived_seq` and `reported_seq`.
    pub epoch: Epoch,
    /// Last seq at which both agreed; 0 when they never did.
    pub agreed_seq: u64,
    /// First seq at which they were seen to differ; 0 while they agree. The drift began in `(agreed_seq, drift_seq]`.
    pub drift_seq: u64,
    /// Units held for remote purchases.
    pub reserved: u32,
}

/// A verdict that is repeated until it is echoed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Its number.
    pub number: u64,
    /// The records' epoch.
    pub epoch: Epoch,
    /// First of the run.
    pub first_seq: u64,
    /// Last of the run.
    pub last_seq: u64,
    /// What became of them.
    pub disposition: super::Disposition,
    /// Why.
    pub reason: super::VerdictReason,
}
