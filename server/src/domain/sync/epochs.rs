//! Which epoch may speak: opening, replacing, and telling a clone from a late duplicate.

use super::GENESIS;
use super::alerts::raise;
use super::call::SyncCall;
use super::fold::Settings;
use super::place::{Place, place};
use super::view::{EpochRow, EpochStatus, MachineStanding, MachineView};
use super::writes::{AlertKind, GapReason, GapRow, Writes};
use crate::domain::ids::Ids;
use vend_core::id::Epoch;
use vend_core::record::EpochReason;

/// What an active machine's call may do to the main chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MaySpeak {
    /// Its epoch is current (perhaps since this call).
    Append,
    /// A late duplicate from a replaced epoch: answer, change nothing.
    OnlyListen,
    /// The machine is cloned (perhaps since this call): quarantine.
    Quarantine,
}

/// Decides whether the call's epoch may append; opens it when it is new.
pub(super) fn admit(
    view: &mut MachineView,
    call: &SyncCall,
    settings: &Settings,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> MaySpeak {
    match view.epochs.get(&call.epoch).map(|e| (e.status, e.replaced_at_ms)) {
        Some((EpochStatus::Current, _)) => MaySpeak::Append,
        Some((EpochStatus::Replaced, replaced_at_ms)) => {
            let late = call.received_at_ms.saturating_sub(replaced_at_ms) > settings.stale_call_grace_ms;
            if late || brings_news(view, call) {
                mark_cloned(view, call, ids, writes, "an epoch that another one had replaced spoke again");
                MaySpeak::Quarantine
            } else {
                MaySpeak::OnlyListen
            }
        }
        None => {
            let second_child = call.parent.and_then(|p| view.epochs.get(&p.epoch)).is_some_and(|parent| {
                parent.status == EpochStatus::Replaced && view.machine.current_epoch != Some(parent.epoch)
            });
            if second_child {
                mark_cloned(
                    view,
                    call,
                    ids,
                    writes,
                    "a second epoch named a parent that already had a successor",
                );
                return MaySpeak::Quarantine;
            }
            open(view, call, ids, writes);
            MaySpeak::Append
        }
    }
}

fn brings_news(view: &MachineView, call: &SyncCall) -> bool {
    match place(view, call) {
        Place::Main { skip } | Place::Branch { skip, .. } => skip < call.records.len(),
        Place::NewBranch { .. } | Place::MainAfterGap { .. } | Place::Resend { .. } | Place::Diverged => true,
    }
}

fn mark_cloned(view: &mut MachineView, call: &SyncCall, ids: &mut dyn Ids, writes: &mut Writes, why: &str) {
    view.machine.standing = MachineStanding::Cloned;
    view.machine_dirty = true;
    let detail = format!(
        "two devices speak as this machine: {why} (epoch {}); uploads go to quarantine, config and commands are withheld \
         until it is split",
        hex::encode(call.epoch.0)
    );
    raise(writes, ids, call, AlertKind::MachineCloned, (call.epoch, call.first_seq), detail);
}

fn open(view: &mut MachineView, call: &SyncCall, ids: &mut dyn Ids, writes: &mut Writes) {
    let parent = view.machine.current_epoch;
    if let Some(parent) = parent {
        close(view, call, parent, ids, writes);
    }
    let ordinal = view.epochs.values().map(|e| e.ordinal).max().unwrap_or(0) + 1;
    let named = call.parent;
    view.epochs.insert(
        call.epoch,
        EpochRow {
            epoch: call.epoch,
            ordinal,
            status: EpochStatus::Current,
            parent: named.map(|p| p.epoch).or(parent),
            parent_last_common: named.map_or(0, |p| p.last_common_seq),
            parent_highest: named.map_or(0, |p| p.highest_seq),
            reason: named.map_or(EpochReason::New, |p| p.reason),
            accepted_through: 0,
            durable_through: 0,
            last_hash: Some(GENESIS),
            opening: None,
            expected: None,
            diverged_seq: 0,
            opened_at_ms: call.received_at_ms,
            replaced_at_ms: 0,
            spoke_at_ms: call.received_at_ms,
            moved_to: None,
        },
    );
    view.epochs_dirty.insert(call.epoch);
    view.machine.current_epoch = Some(call.epoch);
    view.machine_dirty = true;
}

/// Replaces the current epoch. What the device knows it wrote there and can't bring any more becomes a named gap.
fn close(view: &mut MachineView, call: &SyncCall, parent: Epoch, ids: &mut dyn Ids, writes: &mut Writes) {
    let Some(row) = view.epochs.get_mut(&parent) else { return };
    row.status = EpochStatus::Replaced;
    row.replaced_at_ms = call.received_at_ms;
    view.epochs_dirty.insert(parent);
    let Some(named) = call.parent.filter(|p| p.epoch == parent) else {
        let detail = format!(
            "a new journal began without naming the one before; the server holds it through seq {}, what came after is not known",
            row.durable_through
        );
        raise(writes, ids, call, AlertKind::RecordsMissing, (parent, row.durable_through), detail);
        return;
    };
    match named.reason {
        EpochReason::TailLost => {
            let detail = format!(
                "the device lost its records after seq {}; the server holds them through seq {}",
                named.last_common_seq, row.durable_through
            );
            raise(writes, ids, call, AlertKind::TailLost, (parent, named.last_common_seq), detail);
        }
        // A forked journal's own records past the fork are in quarantine: they are not missing.
        EpochReason::Forked => {}
        EpochReason::New | EpochReason::Salvaged => {
            if named.highest_seq > row.durable_through {
                let (first_seq, last_seq) = (row.durable_through + 1, named.highest_seq);
                row.accepted_through = last_seq;
                row.durable_through = last_seq;
                row.last_hash = None;
                row.expected = None;
                push_gap(writes, call, parent, (first_seq, last_seq), GapReason::Damaged);
                let detail =
                    format!("records {first_seq} to {last_seq} could not be read from a damaged journal");
                raise(writes, ids, call, AlertKind::RecordsMissing, (parent, first_seq), detail);
            }
        }
    }
}

/// Names records that nobody holds.
pub(super) fn push_gap(
    writes: &mut Writes,
    call: &SyncCall,
    epoch: Epoch,
    seqs: (u64, u64),
    reason: GapReason,
) {
    writes.gaps.push(GapRow {
        machine: call.machine,
        epoch,
        first_seq: seqs.0,
        last_seq: seqs.1,
        reason,
        at_ms: call.received_at_ms,
    });
}
