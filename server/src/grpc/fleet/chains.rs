//! Epochs, gaps and quarantine.

use super::out::epoch_out;
use crate::domain::fleet::{BranchFilter, BranchRecord, BranchSummary, EpochSummary, Gap};
use crate::domain::ids::MachineId;
use crate::domain::sync::{BranchReason, BranchState, GapReason};
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::grpc::request::{person, request_key};
use crate::operations::{Deps, fleet};
use prost::Message as _;
use tonic::Request;
use uuid::Uuid;
use vend_core::record::EpochReason;
use vendfleet_proto::v1;

pub(super) async fn list_epochs(
    deps: &Deps,
    request: Request<v1::ListEpochsRequest>,
) -> Result<v1::ListEpochsResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListEpochs", &message);
    let machine = fields.uuid("machine_id", &message.machine_id).map(MachineId);
    let page = list.request::<u64>(&mut fields, size, &token, (50, 500))?;
    let page = fleet::list_epochs(deps, fields.finish(machine)?, &page).await?;
    let next_page_token = list.token(&page);
    let epochs = page.items.into_iter().map(epoch_summary_out).collect();
    Ok(v1::ListEpochsResponse { epochs, next_page_token })
}

pub(super) async fn list_gaps(
    deps: &Deps,
    request: Request<v1::ListGapsRequest>,
) -> Result<v1::ListGapsResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListGaps", &message);
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let reason = fields.member("reason", message.reason, |n| {
        v1::GapReason::try_from(n).ok().filter(|reason| *reason != v1::GapReason::Unspecified)
    });
    let page = list.request::<Uuid>(&mut fields, size, &token, (50, 500))?;
    let (machine, reason) = fields.finish(machine.zip(reason))?;
    let reason = match reason {
        None | Some(v1::GapReason::Unspecified) => None,
        Some(v1::GapReason::NotHeld) => Some(GapReason::NotHeld),
        Some(v1::GapReason::PastUnknown) => Some(GapReason::PastUnknown),
        Some(v1::GapReason::Damaged) => Some(GapReason::Damaged),
        // What a device lost of its tail is on the server: no gap has this reason.
        Some(v1::GapReason::TailLost) => return Ok(v1::ListGapsResponse::default()),
    };
    let page = fleet::list_gaps(deps, machine.map(MachineId), reason, &page).await?;
    let next_page_token = list.token(&page);
    let gaps = page.items.iter().map(gap_out).collect();
    Ok(v1::ListGapsResponse { gaps, next_page_token })
}

pub(super) async fn list_quarantine_branches(
    deps: &Deps,
    request: Request<v1::ListQuarantineBranchesRequest>,
) -> Result<v1::ListQuarantineBranchesResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListQuarantineBranches", &message);
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let state = fields.member("state", message.state, |n| {
        Some(match v1::BranchState::try_from(n).ok()? {
            v1::BranchState::Unspecified => return None,
            v1::BranchState::Open => BranchState::Held,
            v1::BranchState::Adopted => BranchState::Adopted,
            v1::BranchState::Discarded => BranchState::Discarded,
        })
    });
    let reason = fields.member("reason", message.reason, |n| {
        Some(match v1::BranchReason::try_from(n).ok()? {
            v1::BranchReason::Unspecified => return None,
            v1::BranchReason::Fork => BranchReason::Fork,
            v1::BranchReason::Cloned => BranchReason::Cloned,
            v1::BranchReason::Draining => BranchReason::Revoked,
        })
    });
    let page = list.request::<Uuid>(&mut fields, size, &token, (50, 500))?;
    let (machine, (state, reason)) = fields.finish(machine.zip(state.zip(reason)))?;
    let filter = BranchFilter { machine: machine.map(MachineId), state, reason };
    let page = fleet::list_branches(deps, &filter, &page).await?;
    let next_page_token = list.token(&page);
    let branches = page.items.into_iter().map(branch_out).collect();
    Ok(v1::ListQuarantineBranchesResponse { branches, next_page_token })
}

pub(super) async fn list_quarantined_records(
    deps: &Deps,
    request: Request<v1::ListQuarantinedRecordsRequest>,
) -> Result<v1::ListQuarantinedRecordsResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListQuarantinedRecords", &message);
    let branch = fields.uuid("branch_id", &message.branch_id);
    let page = list.request::<u64>(&mut fields, size, &token, (50, 200))?;
    let branch = fields.finish(branch)?;
    let page = fleet::list_branch_records(deps, branch, &page).await?;
    let next_page_token = list.token(&page);
    let records = page.items.into_iter().map(|record| quarantined_out(branch, record)).collect();
    Ok(v1::ListQuarantinedRecordsResponse { records, next_page_token })
}

pub(super) async fn adopt_branch(
    deps: &Deps,
    request: Request<v1::AdoptBranchRequest>,
) -> Result<v1::AdoptBranchResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "AdoptBranch", &request_id, &message);
    let id = fields.uuid("branch_id", &message.branch_id);
    let note = fields.text("note", &message.note);
    let (key, (id, note)) = fields.finish(key.zip(id.zip(note)))?;
    let branch = fleet::adopt_branch(deps, key, id, note, caller.subject).await?;
    Ok(v1::AdoptBranchResponse {
        applied_records: branch.applied_records,
        dead_lettered_records: branch.dead_lettered_records,
        branch: Some(branch_out(branch)),
    })
}

pub(super) async fn discard_branch(
    deps: &Deps,
    request: Request<v1::DiscardBranchRequest>,
) -> Result<v1::DiscardBranchResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "DiscardBranch", &request_id, &message);
    let id = fields.uuid("branch_id", &message.branch_id);
    let note = fields.text("note", &message.note);
    let (key, (id, note)) = fields.finish(key.zip(id.zip(note)))?;
    let branch = fleet::discard_branch(deps, key, id, note, caller.subject).await?;
    Ok(v1::DiscardBranchResponse { branch: Some(branch_out(branch)) })
}

fn epoch_summary_out(summary: EpochSummary) -> v1::Epoch {
    let row = summary.row;
    let reason = match row.reason {
        EpochReason::New => v1::EpochReason::New,
        EpochReason::Salvaged => v1::EpochReason::Salvaged,
        EpochReason::Forked => v1::EpochReason::Forked,
        EpochReason::TailLost => v1::EpochReason::TailLost,
    };
    v1::Epoch {
        machine_id: summary.machine.to_string(),
        epoch: epoch_out(row.epoch),
        state: summary.state as i32,
        parent_epoch: row.parent.map(epoch_out).unwrap_or_default(),
        parent_last_common_seq: row.parent_last_common,
        reason: reason.into(),
        last_seq: summary.last_seq,
        accepted_through: row.accepted_through,
        durable_through: row.durable_through,
        durable_hash: row.last_hash.map(hex::encode).unwrap_or_default(),
        applied_records: summary.applied,
        quarantined_records: summary.quarantined,
        dead_lettered_records: summary.dead_lettered,
        missing_records: summary.missing,
        first_sync_time_ms: row.opened_at_ms,
        last_sync_time_ms: row.spoke_at_ms,
    }
}

fn gap_out(gap: &Gap) -> v1::Gap {
    let reason = match gap.reason {
        GapReason::NotHeld => v1::GapReason::NotHeld,
        GapReason::Damaged => v1::GapReason::Damaged,
        GapReason::PastUnknown => v1::GapReason::PastUnknown,
    };
    v1::Gap {
        gap_id: gap.id.to_string(),
        machine_id: gap.machine.to_string(),
        epoch: epoch_out(gap.epoch),
        first_seq: gap.first_seq,
        last_seq: gap.last_seq,
        reason: reason.into(),
        missing: None,
        create_time_ms: gap.created_at_ms,
    }
}

fn branch_out(summary: BranchSummary) -> v1::QuarantineBranch {
    let records = summary.records();
    let branch = summary.branch;
    let reason = match branch.reason {
        BranchReason::Fork => v1::BranchReason::Fork,
        BranchReason::Cloned => v1::BranchReason::Cloned,
        BranchReason::Revoked => v1::BranchReason::Draining,
    };
    let state = match branch.state {
        BranchState::Held => v1::BranchState::Open,
        BranchState::Adopted => v1::BranchState::Adopted,
        BranchState::Discarded => v1::BranchState::Discarded,
    };
    v1::QuarantineBranch {
        branch_id: summary.id.to_string(),
        machine_id: summary.machine.to_string(),
        epoch: epoch_out(branch.key.epoch),
        first_seq: branch.first_seq,
        last_seq: branch.last_seq,
        reason: reason.into(),
        state: state.into(),
        credential_id: branch.credential.to_string(),
        records,
        vends: branch.sold.vends,
        vends_minor: branch.sold.minor,
        currency_code: if branch.sold.vends == 0 { String::new() } else { branch.sold.currency.to_string() },
        create_time_ms: branch.opened_at_ms,
        update_time_ms: summary.updated_at_ms,
        end_time_ms: summary.ended_at_ms,
        ended_by: summary.ended_by,
        note: summary.note,
    }
}

fn quarantined_out(branch: Uuid, record: BranchRecord) -> v1::QuarantinedRecord {
    // Shown as the contract has it; whether it keeps its rules is judged when it is adopted.
    let decoded = v1::RecordBody::decode(record.body.as_ref()).ok();
    v1::QuarantinedRecord {
        branch_id: branch.to_string(),
        record: Some(v1::Record {
            seq: record.seq,
            kind: record.kind,
            schema: record.schema,
            body: record.body,
            hash: record.hash.to_vec(),
        }),
        decoded,
        received_time_ms: record.received_at_ms,
    }
}
