//! Ends the state of being cloned: one of the two devices becomes a machine of its own, all in one commit.
//!
//! What was counted stays where it was counted. The leaving device's epoch goes on under the new machine from the mark the old
//! one had; the records that were held apart while nobody knew whose they were become main chains again on both sides, by
//! the same fold a Sync goes through.

use super::body::read_body;
use super::{expect_real, lock_machine, machine_not_found, reenroll_token, resource};
use crate::auth::SecretKey;
use crate::context::Context;
use crate::domain::fleet::{
    AlertChange, ClaimToken, DesiredCause, Machine, MachineKind, REENROLL_TTL_MS, Split, rivals,
};
use crate::domain::ids::{CredentialId, MachineId};
use crate::domain::request::RequestKey;
use crate::domain::sync::{
    AlertKind, BranchKey, BranchReason, BranchState, CredentialState, EpochRow, EpochStatus, GENESIS,
    MachineStanding, MachineView, RecordIn, Settings, SyncCall, Writes, fold,
};
use crate::domain::text::Text;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{ContextIds, Failure, origin, write};
use crate::operations::request::begin;
use crate::store::events::{self, Happening, Origin};
use crate::store::fleet::{branches, claims, configs, judged, machines};
use crate::store::{Tx, alerts};
use std::collections::HashMap;
use uuid::Uuid;
use vend_core::id::Epoch;
use vend_core::record::EpochReason;
use vend_core::time::Stamp;

/// Who ends what a split ends.
const BY: &str = "split";
/// Records folded at a time; a Sync brings as many at most.
const RECORDS_PER_STEP: i64 = 512;

/// Splits a cloned machine: the device that speaks in `epoch` becomes a new machine of this name.
///
/// # Errors
/// MACHINE_NOT_FOUND, MACHINE_NOT_CLONED, IDEMPOTENCY_KEY_REUSED.
pub async fn split_machine(
    deps: &Deps,
    key: RequestKey,
    id: MachineId,
    epoch: Epoch,
    name: Text<1, 64>,
) -> Result<Split, ApiError> {
    let plan = Plan {
        old: id,
        new: MachineId(deps.context.new_id()),
        epoch,
        name: name.into_string(),
        claim: deps.context.new_id(),
        by_key: deps.key.clone(),
        context: deps.context.clone(),
        now_ms: deps.context.now_ms(),
        origin: origin(),
    };
    let split = write(deps, "split_machine", (key, plan), |tx, (key, plan)| Box::pin(split(tx, key, plan)));
    Ok(split.await?)
}

struct Plan {
    old: MachineId,
    new: MachineId,
    epoch: Epoch,
    name: String,
    claim: Uuid,
    by_key: SecretKey,
    context: Context,
    now_ms: i64,
    origin: Origin,
}

fn not_cloned(machine: MachineId, text: &str) -> Failure {
    ApiError::new(Reason::MachineNotCloned, text).with("machine_id", machine).into()
}

async fn split(tx: &mut Tx, key: &RequestKey, plan: &Plan) -> Result<Split, Failure> {
    if let Some(known) = begin(tx, key, &plan.new.to_string(), plan.now_ms).await? {
        let new = MachineId(resource(&known.resource_id)?);
        let claim = Uuid::from_slice(&known.response).map_err(ApiError::internal)?;
        return describe(tx, new, plan.old, claim).await;
    }
    let detail = expect_real(lock_machine(tx, plan.old).await?)?;
    let apart = branches::of_machine(tx, plan.old).await?;
    let device = detail.device.clone().unwrap_or_default();
    let mut rivals = rivals(&device, &apart);
    if rivals.is_empty() {
        return Err(not_cloned(plan.old, "machine_id: the machine is not cloned"));
    }
    if !rivals.remove(&plan.epoch) {
        return Err(not_cloned(
            plan.old,
            "epoch: must be one of the machine's rivals, as ListEpochs shows them",
        ));
    }
    let mut old = judged::load(tx, plan.old).await?.ok_or_else(|| machine_not_found(plan.old))?;

    make_machine(tx, plan, &detail.machine, device.desired_config).await?;
    branches::hand_over(tx, plan.old, plan.new, plan.epoch).await?;
    let mut new = judged::load(tx, plan.new).await?.ok_or_else(|| machine_not_found(plan.new))?;
    move_epoch(&mut old, &mut new, plan);
    keep_epoch(&mut old, &rivals.iter().copied().collect::<Vec<_>>(), plan);
    let stays_cloned = rivals.len() > 1;
    let mut ended = Vec::new();
    if !stays_cloned {
        old.machine.standing = MachineStanding::Active;
        let kind = AlertKind::MachineCloned.as_str();
        ended = alerts::end_all(tx, plan.old, kind, BY, plan.now_ms).await?;
    }
    old.machine_dirty = true;
    save(tx, plan, old, Writes::default()).await?;
    save(tx, plan, new, Writes::default()).await?;

    count_held(tx, plan, plan.new, plan.epoch).await?;
    if !stays_cloned && let Some(kept) = rivals.first() {
        count_held(tx, plan, plan.old, *kept).await?;
    }
    crate::store::requests::note_response(tx, key, plan.claim.as_bytes()).await?;
    let split = describe(tx, plan.new, plan.old, plan.claim).await?;
    let mut happenings = Vec::with_capacity(ended.len());
    for alert in &ended {
        happenings.push(Happening::alert(AlertChange::Resolved, alert, &plan.origin)?);
    }
    events::write(tx, &happenings).await?;
    Ok(split)
}

/// The new machine with its claim token and what its device is to sell.
async fn make_machine(
    tx: &mut Tx,
    plan: &Plan,
    old: &Machine,
    desired: Option<vend_core::id::ConfigId>,
) -> Result<(), Failure> {
    let machine = Machine {
        id: plan.new,
        kind: MachineKind::Real,
        name: plan.name.clone(),
        location: String::new(),
        // One serial stands for one machine, and the kept one has it.
        serial: String::new(),
        version: 1,
        created_at_ms: plan.now_ms,
        updated_at_ms: plan.now_ms,
        archived_at_ms: 0,
        ..old.clone()
    };
    machines::insert(tx, &machine).await?;
    if let Some(config) = desired {
        configs::assign(tx, &[plan.new], config, DesiredCause::Machine, plan.now_ms).await?;
    }
    let token = reenroll_token(&plan.by_key, plan.new, plan.epoch);
    let claim = ClaimToken {
        id: plan.claim,
        token_hash: plan.by_key.hash(token.as_bytes()),
        machine: Some(plan.new),
        serial: String::new(),
        name: String::new(),
        group: String::new(),
        created_by: BY.to_owned(),
        created_at_ms: plan.now_ms,
        expires_at_ms: plan.now_ms.saturating_add(REENROLL_TTL_MS),
        used_at_ms: 0,
        credential: None,
        revoked_at_ms: 0,
    };
    Ok(claims::insert(tx, &claim).await?)
}

/// The epoch leaves the old machine, which keeps a row that says where to, and goes on under the new one from the same mark.
fn move_epoch(old: &mut MachineView, new: &mut MachineView, plan: &Plan) {
    let ordinal = next_ordinal(old);
    let row = old.epochs.entry(plan.epoch).or_insert_with(|| fresh_row(plan.epoch, ordinal, plan.now_ms));
    let moved = EpochRow {
        ordinal: 1,
        status: EpochStatus::Current,
        // Its own beginning, under the machine it came from.
        parent: (row.accepted_through > 0).then_some(plan.epoch),
        parent_last_common: row.accepted_through,
        parent_highest: row.accepted_through,
        opening: row.expected.map(|ledger| ledger.totals).or(row.opening),
        replaced_at_ms: 0,
        moved_to: None,
        ..row.clone()
    };
    row.moved_to = Some(plan.new);
    row.status = EpochStatus::Replaced;
    if row.replaced_at_ms == 0 {
        row.replaced_at_ms = plan.now_ms;
    }
    old.epochs_dirty.insert(plan.epoch);
    old.branches.retain(|key, branch| key.epoch != plan.epoch || branch.reason != BranchReason::Cloned);
    new.epochs.insert(plan.epoch, moved);
    new.epochs_dirty.insert(plan.epoch);
    new.machine.current_epoch = Some(plan.epoch);
    // Its device knows the numbers that both had.
    new.machine.seldom.command_number =
        old.machine.seldom.command_number.max(old.machine.commands_done_through);
    new.machine_dirty = true;
}

/// The other device goes on as this machine. With more than two rivals the machine stays cloned, and its current epoch is
/// the one that was, or any of those left.
fn keep_epoch(old: &mut MachineView, left: &[Epoch], plan: &Plan) {
    let current = old.machine.current_epoch.filter(|epoch| left.contains(epoch));
    let Some(kept) = current.or_else(|| left.first().copied()) else {
        old.machine.current_epoch = None;
        return;
    };
    let ordinal = next_ordinal(old);
    let row = old.epochs.entry(kept).or_insert_with(|| fresh_row(kept, ordinal, plan.now_ms));
    row.status = EpochStatus::Current;
    row.replaced_at_ms = 0;
    old.epochs_dirty.insert(kept);
    old.machine.current_epoch = Some(kept);
    // Commands of this epoch may have been passed over while the other one was current.
    old.machine.seldom.has_commands = true;
}

fn next_ordinal(view: &MachineView) -> u64 {
    view.epochs.values().map(|row| row.ordinal).max().unwrap_or(0).saturating_add(1)
}

/// An epoch that was only ever heard while the machine was cloned.
fn fresh_row(epoch: Epoch, ordinal: u64, now_ms: i64) -> EpochRow {
    EpochRow {
        epoch,
        ordinal,
        status: EpochStatus::Current,
        parent: None,
        parent_last_common: 0,
        parent_highest: 0,
        reason: EpochReason::New,
        accepted_through: 0,
        durable_through: 0,
        last_hash: Some(GENESIS),
        opening: None,
        expected: None,
        diverged_seq: 0,
        opened_at_ms: now_ms,
        replaced_at_ms: 0,
        spoke_at_ms: now_ms,
        moved_to: None,
    }
}

async fn save(tx: &mut Tx, plan: &Plan, view: MachineView, writes: Writes) -> Result<(), Failure> {
    let id = view.machine.machine;
    let said = HashMap::from([(id, judged::last_said(tx, id).await?)]);
    let views = HashMap::from([(id, view)]);
    Ok(judged::write_views(tx, &views, &said, &writes, plan.now_ms).await?)
}

/// Counts what an epoch's device brought while the machine was cloned and what continues its main chain. A branch that
/// does not continue it stays held, for an operator to judge.
async fn count_held(tx: &mut Tx, plan: &Plan, machine: MachineId, epoch: Epoch) -> Result<(), Failure> {
    loop {
        let view = judged::load(tx, machine).await?.ok_or_else(|| machine_not_found(machine))?;
        let Some(row) = view.epochs.get(&epoch) else { return Ok(()) };
        let continues = view.branches.values().find(|branch| {
            branch.key.epoch == epoch
                && branch.reason == BranchReason::Cloned
                && branch.state == BranchState::Held
                && branch.first_seq == row.accepted_through.saturating_add(1)
                && row.last_hash == Some(branch.root_hash)
        });
        let Some(branch) = continues else { return Ok(()) };
        let (key, root_hash, first_seq) = (branch.key, branch.root_hash, branch.first_seq);
        fold_branch(tx, plan, machine, key, root_hash, first_seq).await?;
        let mut done = branches::of_machine(tx, machine)
            .await?
            .into_iter()
            .find(|summary| summary.branch.key == key)
            .ok_or_else(|| ApiError::internal("a branch that was just folded is missing"))?;
        done.branch.state = BranchState::Adopted;
        done.ended_at_ms = plan.now_ms;
        done.ended_by = BY.to_owned();
        done.applied_records = done.records();
        branches::end(tx, &done).await?;
    }
}

async fn fold_branch(
    tx: &mut Tx,
    plan: &Plan,
    machine: MachineId,
    key: BranchKey,
    root_hash: [u8; 32],
    first_seq: u64,
) -> Result<(), Failure> {
    let mut previous_hash = root_hash;
    let mut after = first_seq.saturating_sub(1);
    loop {
        let batch = branches::records(tx, machine, &key, after, RECORDS_PER_STEP).await?;
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(()) };
        let received_at_ms = last.received_at_ms;
        let call = SyncCall {
            first_seq: first.seq,
            last_seq: last.seq,
            oldest_seq: first.seq,
            accepted_through: after,
            previous_hash,
            received_at_ms,
            ..quiet_call(plan, machine, key.epoch)
        };
        (after, previous_hash) = (last.seq, last.hash);
        let records: Vec<RecordIn> = batch
            .into_iter()
            .map(|r| RecordIn {
                seq: r.seq,
                kind: r.kind,
                schema: r.schema,
                hash: r.hash,
                meaning: read_body(r.kind, r.schema, &r.body),
                body: r.body,
            })
            .collect();
        // The device did not speak just now: its last record's own stamp is the nearest to when it did.
        let now = records.iter().rev().find_map(|r| r.meaning.as_ref().ok().map(|m| m.stamp));
        let mut view = judged::load(tx, machine).await?.ok_or_else(|| machine_not_found(machine))?;
        let firmware = view.machine.firmware.clone();
        let call = SyncCall { records, now: now.unwrap_or_default(), firmware, ..call };
        let contact = view.machine.last_contact;
        // Only the main chain is meant; the branch itself would claim its records again.
        let held = std::mem::take(&mut view.branches);
        let settings = Settings { base_interval_ms: 0, stale_call_grace_ms: 0, doubt_after_ms: 0 };
        view.counted = already_counted(tx, machine, &call).await?;
        let mut writes = Writes::default();
        fold(&mut view, &call, &settings, &mut ContextIds(&plan.context), &mut writes);
        view.branches = held;
        view.branches_dirty.clear();
        view.machine.last_contact = contact;
        save(tx, plan, view, writes).await?;
    }
}

async fn already_counted(
    tx: &mut Tx,
    machine: MachineId,
    call: &SyncCall,
) -> Result<std::collections::HashSet<(vend_core::id::TransactionId, u32)>, Failure> {
    let mut counted = std::collections::HashSet::new();
    for record in &call.records {
        let transaction = record.meaning.as_ref().ok().and_then(|meaning| meaning.body.transaction());
        if let Some(transaction) = transaction
            && crate::store::fleet::records::counts(tx, machine, transaction, record.kind).await?
        {
            counted.insert((transaction, record.kind));
        }
    }
    Ok(counted)
}

/// A call that brings nothing but what is set on top of it.
fn quiet_call(plan: &Plan, machine: MachineId, epoch: Epoch) -> SyncCall {
    SyncCall {
        machine,
        credential: CredentialId(Uuid::nil()),
        credential_state: CredentialState::Active,
        epoch,
        oldest_seq: 1,
        last_seq: 0,
        accepted_through: 0,
        first_seq: 1,
        previous_hash: GENESIS,
        records: Vec::new(),
        parent: None,
        verdicts_seen_through: 0,
        same_incarnation: true,
        now: Stamp::default(),
        slots: None,
        applied: None,
        commands_done_through: 0,
        out_of_service: false,
        firmware: String::new(),
        received_at_ms: 0,
        trace_id: plan.origin.trace_id.clone(),
    }
}

async fn describe(tx: &mut Tx, new: MachineId, old: MachineId, claim_token: Uuid) -> Result<Split, Failure> {
    let new_machine = machines::find(tx, new).await?.ok_or_else(|| machine_not_found(new))?;
    let kept_machine = machines::find(tx, old).await?.ok_or_else(|| machine_not_found(old))?;
    let mut open = branches::of_machine(tx, new).await?;
    open.extend(branches::of_machine(tx, old).await?);
    let open = open.iter().filter(|summary| summary.branch.state == BranchState::Held).count();
    let open_branches = u32::try_from(open).unwrap_or(u32::MAX);
    Ok(Split { new_machine, kept_machine, claim_token, open_branches })
}
