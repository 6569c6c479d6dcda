//! One call, folded over its machine.

use super::alerts::{over, raise, raise_keyed};
use super::append::{Onto, to_branch, to_main};
use super::call::{CredentialState, LastContact, SyncCall};
use super::commands;
use super::epochs::{MaySpeak, admit, push_gap};
use super::place::{Place, branch_from, follows_judged, place};
use super::reported::{take_applied, take_slots};
use super::view::{BranchKey, BranchReason, EpochStatus, MachineStanding, MachineView, Verdict};
use super::writes::{AlertKind, GapReason, Writes};
use crate::domain::command::Command;
use crate::domain::fleet::SILENT_AFTER_LEAST_MS;
use crate::domain::ids::{Ids, MachineId};
use vend_core::id::{ConfigId, Epoch};
use vend_core::record::EpochReason;
use vend_core::time::ClockQuality;

/// A clock that moved by less, ms, has not moved: the call took a while to come.
const CLOCK_SLACK_MS: i64 = 1_000;
/// Verdicts in one answer, at most.
const MAX_VERDICTS_PER_ANSWER: usize = 64;

/// What an operator can set of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base of `next_sync_after_ms`, spread to 75 % to 125 % per machine and call.
    pub base_interval_ms: u32,
    /// How long a replaced epoch may still be heard without being a clone, ms.
    pub stale_call_grace_ms: i64,
    /// How long after a dispense command was handed out a worker looks whether its result came, ms.
    pub doubt_after_ms: i64,
}

/// What a call is answered with; the operation adds config bytes, incarnation and time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The epoch of the call.
    pub epoch: Epoch,
    /// Received durably, on the device's own chain.
    pub accepted_through: u64,
    /// Applied, on the device's own chain.
    pub durable_through: u64,
    /// The next batch must start here.
    pub resend_from: Option<u64>,
    /// Verdicts not yet echoed, lowest first, bounded.
    pub verdicts: Vec<Verdict>,
    /// The journal must open a new epoch.
    pub open_epoch: Option<OpenEpoch>,
    /// The device must enrol anew, as this machine.
    pub reenroll_as: Option<MachineId>,
    /// How uploads are regarded.
    pub standing: Standing,
    /// The desired config, when another one is applied.
    pub config: Option<ConfigToSend>,
    /// Commands, lowest number first, bounded.
    pub commands: Vec<Command>,
    /// Wait this long, ms.
    pub next_sync_after_ms: u32,
}

/// The journal must open a new epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenEpoch {
    /// The last seq both sides agree on; 0 when none is known.
    pub last_common_seq: u64,
    /// Why.
    pub reason: EpochReason,
}

/// A desired assignment to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigToSend {
    /// Its number.
    pub number: u64,
    /// The config.
    pub config: ConfigId,
}

/// How a device's uploads are regarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Applied and counted.
    Active,
    /// Two devices speak as this machine.
    Cloned,
    /// Upload-only.
    Draining,
}

/// Folds one call over its machine's view. The view holds the hashes `hashes_needed` named.
pub fn fold(
    view: &mut MachineView,
    call: &SyncCall,
    settings: &Settings,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> Answer {
    let previous = touch(view, call, writes);
    let heard_ms = previous.map_or(0, |contact| contact.at_ms);
    if call.received_at_ms.saturating_sub(heard_ms) >= SILENT_AFTER_LEAST_MS {
        over(writes, call, AlertKind::MachineSilent, String::new());
    }
    let mut answer = Answer {
        epoch: call.epoch,
        accepted_through: 0,
        durable_through: 0,
        resend_from: None,
        verdicts: Vec::new(),
        open_epoch: None,
        reenroll_as: view.epochs.get(&call.epoch).and_then(|e| e.moved_to),
        standing: Standing::Active,
        config: None,
        commands: Vec::new(),
        next_sync_after_ms: spread(settings.base_interval_ms, call.machine, view.machine.sync_count),
    };
    if answer.reenroll_as.is_some() {
        // Nothing of a moved epoch is taken under the old name: the marks stay as the device has them.
        answer.accepted_through = call.accepted_through.min(call.last_seq);
        answer.durable_through = 0;
        return answer;
    }
    let credential = if view.upload_only { CredentialState::UploadOnly } else { call.credential_state };
    let may_speak = match (credential, view.machine.standing) {
        (CredentialState::UploadOnly, _) => {
            answer.standing = Standing::Draining;
            MaySpeak::Quarantine
        }
        (CredentialState::Active, MachineStanding::Cloned) => MaySpeak::Quarantine,
        (CredentialState::Active, MachineStanding::Active) => admit(view, call, settings, ids, writes),
    };
    match may_speak {
        MaySpeak::Append => {
            warn_if_behind(view, call, ids, writes);
            append(view, call, previous, &mut answer, ids, writes);
            let through = view.epochs.get(&call.epoch).map_or(0, |e| e.durable_through);
            // A call of an earlier boot that comes late has fewer records than the mark.
            if call.last_seq >= through {
                view.machine.last_contact = Some(LastContact::of(call));
            }
            if answer.open_epoch.is_none() {
                take_slots(view, call, through, ids, writes);
                take_applied(view, call, writes);
                answer.config = config_to_send(view);
                if answer.resend_from.is_none() {
                    answer.commands = commands::hand_out(view, call, through, settings, writes);
                }
            }
        }
        MaySpeak::OnlyListen => own_marks(view, call, &mut answer),
        MaySpeak::Quarantine => {
            let reason = match credential {
                CredentialState::UploadOnly => BranchReason::Revoked,
                CredentialState::Active => {
                    answer.standing = Standing::Cloned;
                    BranchReason::Cloned
                }
            };
            set_apart(view, call, previous, reason, &mut answer, (ids, writes));
        }
    }
    if let Some(epoch) = view.epochs.get_mut(&call.epoch) {
        epoch.spoke_at_ms = call.received_at_ms;
    }
    // A device whose image is older than its own uploads must not take marks for records it has yet to write, nor for
    // records behind this batch: they may differ from what the server has under the same names.
    let proven = if call.records.is_empty() { call.last_seq } else { call.batch_end() };
    answer.accepted_through = answer.accepted_through.min(proven);
    answer.durable_through = answer.durable_through.min(proven);
    answer.verdicts = view.verdicts.values().take(MAX_VERDICTS_PER_ANSWER).cloned().collect();
    answer
}

/// Notes that the machine spoke, and forgets echoed verdicts. Gives the contact before. Boot and uptime stay those of the
/// board that counts, whoever this is: commands are bound to them.
fn touch(view: &mut MachineView, call: &SyncCall, writes: &mut Writes) -> Option<LastContact> {
    let machine = &mut view.machine;
    let previous = machine.last_contact;
    let contact = previous.map_or(LastContact::of(call), |known| known.carried_to(call.received_at_ms));
    machine.last_contact = Some(contact);
    machine.sync_count += 1;
    if machine.firmware != call.firmware {
        machine.firmware.clone_from(&call.firmware);
    }
    let offset_ms = match call.now.at.clock {
        ClockQuality::Unset => 0,
        _ => call.now.at.wall_ms.saturating_sub(call.received_at_ms),
    };
    let seldom = &mut machine.seldom;
    if seldom.clock != call.now.at.clock
        || offset_ms.saturating_sub(seldom.clock_offset_ms).saturating_abs() >= CLOCK_SLACK_MS
    {
        (seldom.clock, seldom.clock_offset_ms) = (call.now.at.clock, offset_ms);
    }
    // A device that has seen more verdicts than were ever made here outlived a restore: go on above its number.
    machine.verdict_number = machine.verdict_number.max(call.verdicts_seen_through);
    if call.verdicts_seen_through > machine.verdicts_seen {
        machine.verdicts_seen = call.verdicts_seen_through;
        view.verdicts = view.verdicts.split_off(&call.verdicts_seen_through.saturating_add(1));
        writes.verdicts_seen.push((call.machine, call.verdicts_seen_through));
    }
    view.machine_dirty = true;
    previous
}

fn warn_if_behind(view: &MachineView, call: &SyncCall, ids: &mut dyn Ids, writes: &mut Writes) {
    let mark = view.epochs.get(&call.epoch).map_or(0, |e| e.accepted_through);
    let branch_mark =
        view.branches.values().filter(|b| b.key.epoch == call.epoch).map(|b| b.last_seq).max().unwrap_or(0);
    if call.same_incarnation && call.accepted_through > mark.max(branch_mark) {
        let detail = format!(
            "the device was told that records through seq {} were received, the server holds them through seq {mark}; they are asked for again",
            call.accepted_through
        );
        raise(writes, ids, call, AlertKind::ServerBehindDevice, (call.epoch, mark + 1), detail);
    }
}

fn append(
    view: &mut MachineView,
    call: &SyncCall,
    previous: Option<LastContact>,
    answer: &mut Answer,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    match place(view, call) {
        Place::Main { skip } => {
            let opening_of = opening_is_unknown(view, call);
            to_main(view, call, previous, skip, ids, writes);
            if opening_of {
                note_step(view, call, ids, writes);
            }
            own_marks(view, call, answer);
            let mark = view.epochs.get(&call.epoch).map_or(0, |e| e.durable_through);
            if call.last_seq < mark && call.batch_end() == call.last_seq {
                answer.open_epoch =
                    Some(OpenEpoch { last_common_seq: call.last_seq, reason: EpochReason::TailLost });
            } else if call.last_seq > call.batch_end() && call.records.is_empty() {
                answer.resend_from = Some(mark + 1);
            }
        }
        Place::MainAfterGap { first_seq, last_seq } => {
            name_gap(view, call, (first_seq, last_seq), ids, writes);
            to_main(view, call, previous, 0, ids, writes);
            own_marks(view, call, answer);
        }
        Place::Branch { key, skip } => {
            let through = to_branch(view, call, previous, Onto::Known(key), skip, writes);
            (answer.accepted_through, answer.durable_through) = (through, through);
            let last_common_seq = view.branches.get(&key).map_or(0, |b| b.first_seq - 1);
            answer.open_epoch = Some(OpenEpoch { last_common_seq, reason: EpochReason::Forked });
        }
        Place::NewBranch { skip, last_common } => {
            let first = call.records[skip].seq;
            let is_late = note_late(view, call, skip, ids, writes);
            let through = to_branch(view, call, previous, Onto::New(BranchReason::Fork), skip, writes);
            (answer.accepted_through, answer.durable_through) = (through, through);
            answer.open_epoch = Some(OpenEpoch { last_common_seq: last_common, reason: EpochReason::Forked });
            if is_late {
                return;
            }
            let detail = format!(
                "record {first} came with another hash than the one that was applied first; what was applied stays, the other branch is in quarantine"
            );
            raise(writes, ids, call, AlertKind::JournalForked, (call.epoch, first), detail);
        }
        // Nothing of the device's chain is proven by this call: no mark may let it prune.
        Place::Resend { from } => answer.resend_from = Some(from),
        Place::Diverged => {
            (answer.accepted_through, answer.durable_through) = (call.last_seq, call.last_seq);
            answer.open_epoch = Some(OpenEpoch { last_common_seq: 0, reason: EpochReason::Forked });
            let detail = "the device's journal is another one than the server's and holds no record any more"
                .to_owned();
            raise(writes, ids, call, AlertKind::JournalForked, (call.epoch, call.first_seq), detail);
        }
    }
}

fn own_marks(view: &MachineView, call: &SyncCall, answer: &mut Answer) {
    if let Some(epoch) = view.epochs.get(&call.epoch) {
        answer.accepted_through = epoch.accepted_through.min(call.batch_end());
        answer.durable_through = epoch.durable_through.min(call.batch_end());
    }
}

fn name_gap(
    view: &mut MachineView,
    call: &SyncCall,
    seqs: (u64, u64),
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    // The first the server hears of the machine at all: whatever came before never had a chance to be held here.
    let first_ever = seqs.0 == 1 && view.epochs.len() == 1;
    let reason = if first_ever { GapReason::PastUnknown } else { GapReason::NotHeld };
    push_gap(writes, call, call.epoch, seqs, reason);
    view.gap_named_at_ms = call.received_at_ms;
    if let Some(epoch) = view.epochs.get_mut(&call.epoch) {
        epoch.accepted_through = seqs.1;
        epoch.durable_through = seqs.1;
        epoch.last_hash = Some(call.previous_hash);
        epoch.expected = None;
    }
    view.epochs_dirty.insert(call.epoch);
    let detail = format!("records {} to {} are held by nobody any more", seqs.0, seqs.1);
    raise(writes, ids, call, AlertKind::RecordsMissing, (call.epoch, seqs.0), detail);
}

fn opening_is_unknown(view: &MachineView, call: &SyncCall) -> bool {
    view.epochs.get(&call.epoch).is_some_and(|e| e.opening.is_none())
}

/// An epoch that begins with other totals than its parent ended with: the difference is what is missing, and is shown.
fn note_step(view: &MachineView, call: &SyncCall, ids: &mut dyn Ids, writes: &mut Writes) {
    let Some(epoch) = view.epochs.get(&call.epoch) else { return };
    let (Some(opening), Some(parent)) = (epoch.opening, epoch.parent.and_then(|p| view.epochs.get(&p)))
    else {
        return;
    };
    let Some(closing) = parent.expected.map(|ledger| ledger.totals) else { return };
    // After a fork the parent's end is another device's story.
    let comparable = epoch.reason != EpochReason::Forked && parent.status == EpochStatus::Replaced;
    if comparable && closing != opening {
        let detail = format!(
            "the epoch began with {} vends worth {} where its parent had ended with {} worth {}: a step of {} vends and {}",
            opening.vends,
            opening.vends_minor,
            closing.vends,
            closing.vends_minor,
            i128::from(opening.vends) - i128::from(closing.vends),
            i128::from(opening.vends_minor) - i128::from(closing.vends_minor),
        );
        raise(writes, ids, call, AlertKind::CountersStepped, (call.epoch, 1), detail);
    }
}

/// Records came behind a branch that a person has judged already: that is told, or nobody would look again. Whether it was.
fn note_late(
    view: &MachineView,
    call: &SyncCall,
    skip: usize,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> bool {
    if !follows_judged(view, call, skip) {
        return false;
    }
    let record = &call.records[skip];
    let key = BranchKey { epoch: call.epoch, first_hash: record.hash };
    let detail = format!(
        "records from seq {} on came behind a branch that was judged already; they wait in a branch of their own",
        record.seq
    );
    raise_keyed(writes, ids, call, AlertKind::RecordsAfterJudgement, key.alert_key(), record.seq, detail);
    true
}

/// Everything new goes to a branch; nothing counts, nothing is told.
fn set_apart(
    view: &mut MachineView,
    call: &SyncCall,
    previous: Option<LastContact>,
    reason: BranchReason,
    answer: &mut Answer,
    (ids, writes): (&mut dyn Ids, &mut Writes),
) {
    let mut placed = place(view, call);
    let new_on_main = match placed {
        Place::Main { skip } if skip < call.records.len() => Some(skip),
        Place::MainAfterGap { .. } if !call.records.is_empty() => Some(0),
        _ => None,
    };
    if let Some(skip) = new_on_main {
        placed = branch_from(view, call, skip, call.records[skip].seq - 1);
    }
    let through = match placed {
        Place::Branch { key, skip } => to_branch(view, call, previous, Onto::Known(key), skip, writes),
        Place::NewBranch { skip, .. } => {
            note_late(view, call, skip, ids, writes);
            to_branch(view, call, previous, Onto::New(reason), skip, writes)
        }
        Place::Main { .. } => {
            own_marks(view, call, answer);
            return;
        }
        Place::Resend { from } => {
            answer.resend_from = Some(from);
            return;
        }
        // It holds nothing that could be stored: let it go on.
        Place::MainAfterGap { .. } | Place::Diverged => call.last_seq,
    };
    (answer.accepted_through, answer.durable_through) = (through, through);
}

fn config_to_send(view: &MachineView) -> Option<ConfigToSend> {
    let machine = &view.machine;
    let config = machine.desired_config?;
    let wanted = machine.desired_number > 0
        && machine.applied_number != machine.desired_number
        && machine.rejected_number < machine.desired_number;
    wanted.then_some(ConfigToSend { number: machine.desired_number, config })
}

/// 75 % to 125 % of the base, by machine and call, so that a fleet that came back together does not stay together.
fn spread(base_ms: u32, machine: MachineId, sync_count: u64) -> u32 {
    // FNV-1a: any well-mixing hash does; it needs to be no secret.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in machine.as_bytes().iter().copied().chain(sync_count.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let percent = 75 + (hash >> 33) % 51;
    u32::try_from(u64::from(base_ms) * percent / 100).unwrap_or(u32::MAX)
}
