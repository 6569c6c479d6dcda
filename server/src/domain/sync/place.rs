//! Where a batch belongs: on the main chain, on a branch, or nowhere yet.

use super::call::{CredentialState, SyncCall};
use super::view::{Branch, BranchKey, BranchState, EpochRow, MachineStanding, MachineView};
use super::{GENESIS, Hash};
use std::ops::RangeInclusive;

/// Where a batch belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// On the main chain; `records[skip..]` are new to it.
    Main { skip: usize },
    /// On the main chain behind records that nobody holds any more.
    MainAfterGap { first_seq: u64, last_seq: u64 },
    /// On a known branch; `records[skip..]` are new to it.
    Branch { key: BranchKey, skip: usize },
    /// A branch begins with `records[skip]`.
    NewBranch { skip: usize, last_common: u64 },
    /// Not placeable: the device must send from here first.
    Resend { from: u64 },
    /// The device's chain is another one, and it holds no record of it any more.
    Diverged,
}

/// The part of the chains whose hashes a call must be held against; `None` when the marks suffice, as they do for a batch
/// that just continues the main chain. At most one batch and one record long.
#[must_use]
pub fn hashes_needed(view: &MachineView, call: &SyncCall) -> Option<RangeInclusive<u64>> {
    let main = MainChain::of(view, call);
    let branches_end = branches_of(view, call).map(|b| b.last_seq).max();
    let before = call.first_seq - 1;
    if branches_end.is_none() && before == main.mark && main.last_hash == Some(call.previous_hash) {
        return None;
    }
    let first = before.max(1);
    let last = call.batch_end().min(main.mark.max(branches_end.unwrap_or(0)));
    (first <= last).then_some(first..=last)
}

/// Branches of one machine that no operator has judged yet, at most: every call of a machine is held against all of them.
pub const MAX_OPEN_BRANCHES: usize = 32;

/// Whether the call would begin a branch that the machine has no room for any more. It is to be refused before the fold.
#[must_use]
pub fn has_no_room(view: &MachineView, call: &SyncCall) -> bool {
    let open = view.branches.values().filter(|branch| branch.state == BranchState::Held).count();
    if open < MAX_OPEN_BRANCHES {
        return false;
    }
    let apart = view.upload_only
        || call.credential_state == CredentialState::UploadOnly
        || view.machine.standing == MachineStanding::Cloned;
    let begins = |index: usize| {
        let last_common = call.records[index].seq - 1;
        matches!(branch_from(view, call, index, last_common), Place::NewBranch { .. })
    };
    match place(view, call) {
        Place::NewBranch { .. } => true,
        Place::Main { skip } if apart && skip < call.records.len() => begins(skip),
        Place::MainAfterGap { .. } if apart && !call.records.is_empty() => begins(0),
        _ => false,
    }
}

/// Places a batch. Reads only.
pub(super) fn place(view: &MachineView, call: &SyncCall) -> Place {
    let main = MainChain::of(view, call);
    let before = call.first_seq - 1;
    if before > main.mark {
        return beyond(view, call, &main);
    }
    match main.hash_at(view, call, before) {
        Some(hash) if hash == call.previous_hash => on_main(view, call, &main, true),
        // Inside a gap, or past the server's own retention: the overlap itself must show whose chain it is.
        None => continue_some_branch(view, call).unwrap_or_else(|| on_main(view, call, &main, false)),
        Some(_) => off_main(view, call),
    }
}

struct MainChain {
    mark: u64,
    last_hash: Option<Hash>,
}

impl MainChain {
    fn of(view: &MachineView, call: &SyncCall) -> Self {
        match view.epochs.get(&call.epoch) {
            Some(EpochRow { accepted_through, last_hash, .. }) => {
                Self { mark: *accepted_through, last_hash: *last_hash }
            }
            None => Self { mark: 0, last_hash: Some(GENESIS) },
        }
    }

    fn hash_at(&self, view: &MachineView, call: &SyncCall, seq: u64) -> Option<Hash> {
        match seq {
            0 => Some(GENESIS),
            _ if seq == self.mark => self.last_hash,
            _ => view.main_hashes.get(&(call.epoch, seq)).copied(),
        }
    }
}

fn branches_of<'v>(view: &'v MachineView, call: &SyncCall) -> impl Iterator<Item = &'v Branch> {
    let epoch = call.epoch;
    view.branches.values().filter(move |branch| branch.key.epoch == epoch)
}

fn branch_hash_at(view: &MachineView, branch: &Branch, seq: u64) -> Option<Hash> {
    match seq {
        _ if seq == branch.last_seq => Some(branch.last_hash),
        _ if seq + 1 == branch.first_seq => Some(branch.root_hash),
        _ => view.branch_hashes.get(&(branch.key, seq)).copied(),
    }
}

fn beyond(view: &MachineView, call: &SyncCall, main: &MainChain) -> Place {
    if let Some(placed) = continue_some_branch(view, call) {
        return placed;
    }
    if call.oldest_seq <= main.mark + 1 {
        return Place::Resend { from: main.mark + 1 };
    }
    let sends_oldest = call.first_seq == call.oldest_seq;
    let holds_unsent = call.records.is_empty() && call.last_seq >= call.first_seq;
    if !sends_oldest || holds_unsent {
        return Place::Resend { from: call.oldest_seq };
    }
    Place::MainAfterGap { first_seq: main.mark + 1, last_seq: call.first_seq - 1 }
}

fn on_main(view: &MachineView, call: &SyncCall, main: &MainChain, linked: bool) -> Place {
    let mut unproven_from = (!linked).then_some(0);
    let mut overlap = 0;
    for record in call.records.iter().take_while(|r| r.seq <= main.mark) {
        match main.hash_at(view, call, record.seq) {
            // One equal hash proves everything before it.
            Some(hash) if hash == record.hash => unproven_from = None,
            Some(_) => return fork(view, call, unproven_from.unwrap_or(overlap)),
            None => unproven_from = unproven_from.or(Some(overlap)),
        }
        overlap += 1;
    }
    match unproven_from {
        Some(0) if !linked && call.first_seq > call.oldest_seq => Place::Resend { from: halfway(call) },
        // Brought for a seq inside a gap: it can't be counted any more behind the back of what was applied since.
        Some(from) if from < call.records.len() => fork(view, call, from),
        Some(_) | None => Place::Main { skip: overlap },
    }
}

fn off_main(view: &MachineView, call: &SyncCall) -> Place {
    if let Some(placed) = continue_some_branch(view, call) {
        return placed;
    }
    if call.first_seq > call.oldest_seq {
        return Place::Resend { from: halfway(call) };
    }
    if call.records.is_empty() { Place::Diverged } else { fork_unrooted(view, call) }
}

/// Halving towards the oldest held seq finds the common part in few calls without resending everything.
fn halfway(call: &SyncCall) -> u64 {
    call.oldest_seq + (call.first_seq - call.oldest_seq) / 2
}

fn fork(view: &MachineView, call: &SyncCall, index: usize) -> Place {
    branch_from(view, call, index, call.records[index].seq - 1)
}

/// The oldest record the device holds is already on another chain: nothing is known to be common.
fn fork_unrooted(view: &MachineView, call: &SyncCall) -> Place {
    branch_from(view, call, 0, 0)
}

pub(super) fn branch_from(view: &MachineView, call: &SyncCall, index: usize, last_common: u64) -> Place {
    let key = BranchKey { epoch: call.epoch, first_hash: call.records[index].hash };
    match view.branches.get(&key) {
        Some(branch) => continue_branch(view, call, branch, index),
        None => Place::NewBranch { skip: index, last_common },
    }
}

fn continue_some_branch(view: &MachineView, call: &SyncCall) -> Option<Place> {
    let before = call.first_seq - 1;
    let branch = branches_of(view, call).find(|branch| {
        (branch.first_seq..=branch.last_seq).contains(&before)
            && branch_hash_at(view, branch, before) == Some(call.previous_hash)
    })?;
    Some(continue_branch(view, call, branch, 0))
}

fn continue_branch(view: &MachineView, call: &SyncCall, branch: &Branch, from: usize) -> Place {
    let mut skip = from;
    for record in call.records[from..].iter().take_while(|r| r.seq <= branch.last_seq) {
        if branch_hash_at(view, branch, record.seq).is_some_and(|hash| hash != record.hash) {
            return branch_from(view, call, skip, record.seq - 1);
        }
        skip += 1;
    }
    if skip < call.records.len() && branch.state != BranchState::Held {
        // A person has judged what it held then, and nothing else: what comes now waits for a judgement of its own.
        return branch_from(view, call, skip, branch.first_seq.saturating_sub(1));
    }
    Place::Branch { key: branch.key, skip }
}

/// Whether a branch that begins with this record goes on where one that was judged before ended.
pub(super) fn follows_judged(view: &MachineView, call: &SyncCall, index: usize) -> bool {
    let first = call.records[index].seq;
    branches_of(view, call).any(|branch| branch.state != BranchState::Held && branch.last_seq + 1 == first)
}
