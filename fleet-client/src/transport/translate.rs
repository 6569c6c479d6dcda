//! Generated types to plain ones and back. What comes in is checked here, once, and can't be wrong after.

use super::{
    CallError, Enroll, Enrolled, FailureKind, Hint, OfferedConfig, ReportedState, Standing, SyncAnswer,
    SyncCall,
};
use crate::journal::{EpochOrder, RawRecord, Verdict};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use vend_core::id::{BootId, Epoch, ProductId, TransactionId};
use vend_core::machine::{Command, Order};
use vend_core::money::Currency;
use vend_core::record::{EpochReason, ParentEpoch};
use vend_core::time::{ClockQuality, Stamp};
use vendfleet_proto::v1;

pub(super) fn enroll_up(call: Enroll) -> v1::EnrollRequest {
    v1::EnrollRequest {
        claim_token: call.claim_token,
        device_secret: call.secret.to_vec(),
        serial: call.serial,
        model: call.model,
        firmware: call.firmware,
        csr_der: call.csr_der,
    }
}

pub(super) fn enroll_down(answer: v1::EnrollResponse) -> Result<Enrolled, CallError> {
    if answer.machine_id.is_empty() || answer.credential_id.is_empty() {
        return Err(broken("machine_id and credential_id must be set"));
    }
    Ok(Enrolled {
        machine_id: answer.machine_id,
        credential_id: answer.credential_id,
        certificate_der: answer.certificate_der,
        ca_pem: answer.ca_pem,
        server_time_ms: answer.server_time_ms,
    })
}

pub(super) fn sync_up(call: SyncCall) -> v1::SyncRequest {
    let out_of_service = call.state.as_ref().is_some_and(|state| state.out_of_service);
    let (slots, applied_config, commands_done_through) =
        call.state.as_ref().map_or((None, None, 0), state_up);
    v1::SyncRequest {
        epoch: call.epoch.0.to_vec(),
        oldest_seq: call.oldest_seq,
        last_seq: call.last_seq,
        accepted_through: call.accepted_through,
        first_seq: call.first_seq,
        previous_hash: call.previous_hash.to_vec(),
        records: call.records.into_iter().map(record_up).collect(),
        parent: call.parent.map(parent_up),
        verdicts_seen_through: call.verdicts_seen_through,
        server_incarnation: call.server_incarnation,
        now: Some(stamp_up(call.now)),
        slots,
        applied_config,
        commands_done_through,
        firmware: call.firmware,
        out_of_service,
    }
}

fn record_up(record: RawRecord) -> v1::Record {
    v1::Record {
        seq: record.seq,
        kind: record.kind,
        schema: record.schema,
        body: record.body.into(),
        hash: record.hash.to_vec(),
    }
}

fn state_up(state: &ReportedState) -> (Option<v1::ReportedSlots>, Option<v1::AppliedConfig>, u64) {
    let slots = state.slots.iter().map(|s| v1::ReportedSlot {
        slot: u32::from(s.slot),
        product_id: s.product.0.to_vec(),
        units: s.units,
        faulted: s.faulted,
    });
    let slots = v1::ReportedSlots { as_of_seq: state.as_of_seq, slots: slots.collect() };
    let applied = v1::AppliedConfig {
        as_of_seq: state.as_of_seq,
        assignment_number: state.assignment_number,
        config_id: state.config_id.map(|id| id.0.to_vec()).unwrap_or_default(),
        rejected_number: state.rejected_number,
    };
    (Some(slots), Some(applied), state.commands_done_through)
}

fn parent_up(parent: ParentEpoch) -> v1::ParentEpoch {
    let reason = match parent.reason {
        EpochReason::New => v1::EpochReason::New,
        EpochReason::Salvaged => v1::EpochReason::Salvaged,
        EpochReason::Forked => v1::EpochReason::Forked,
        EpochReason::TailLost => v1::EpochReason::TailLost,
    };
    v1::ParentEpoch {
        epoch: parent.epoch.0.to_vec(),
        last_common_seq: parent.last_common_seq,
        highest_seq: parent.highest_seq,
        reason: reason.into(),
    }
}

fn stamp_up(stamp: Stamp) -> v1::Stamp {
    let quality = match stamp.at.clock {
        ClockQuality::Unset => v1::ClockQuality::Unspecified,
        ClockQuality::FreeRunning => v1::ClockQuality::FreeRunning,
        ClockQuality::Synced => v1::ClockQuality::Synced,
    };
    v1::Stamp {
        boot_id: stamp.boot.0.to_vec(),
        uptime_ms: stamp.at.uptime_ms,
        wall_ms: stamp.at.wall_ms,
        clock_quality: quality.into(),
    }
}

pub(super) fn sync_down(answer: v1::SyncResponse) -> Result<SyncAnswer, CallError> {
    let standing = match answer.standing() {
        v1::UploadStanding::Unspecified | v1::UploadStanding::Active => Standing::Active,
        v1::UploadStanding::Cloned => Standing::Cloned,
        // A revoked credential gets no answer at all; only operators are shown that standing.
        v1::UploadStanding::Draining | v1::UploadStanding::Revoked => Standing::Draining,
    };
    let mut commands = Vec::new();
    let mut unreadable_commands = Vec::new();
    for command in answer.commands {
        let number = command.number;
        match command_down(command) {
            Some(command) => commands.push(command),
            None => unreadable_commands.push(number),
        }
    }
    Ok(SyncAnswer {
        epoch: Epoch(bytes16("epoch", &answer.epoch)?),
        accepted_through: answer.accepted_through,
        durable_through: answer.durable_through,
        resend_from: answer.resend_from,
        verdicts: answer.verdicts.into_iter().map(verdict_down).collect::<Result<_, _>>()?,
        server_incarnation: answer.server_incarnation,
        server_time_ms: answer.server_time_ms,
        next_sync_after_ms: answer.next_sync_after_ms,
        config: answer.config.map(|c| OfferedConfig { number: c.number, sha256: c.sha256, bytes: c.config }),
        commands,
        unreadable_commands,
        open_epoch: answer.open_epoch.as_ref().map(open_epoch_down).transpose()?,
        reenroll: answer.reenroll.map(|r| r.claim_token),
        standing,
        keep_days: answer.keep_days,
    })
}

fn verdict_down(verdict: v1::SyncVerdict) -> Result<Verdict, CallError> {
    Ok(Verdict {
        number: verdict.number,
        epoch: Epoch(bytes16("verdicts.epoch", &verdict.epoch)?),
        first_seq: verdict.first_seq,
        last_seq: verdict.last_seq,
        disposition: verdict.disposition,
        reason: verdict.reason,
    })
}

fn open_epoch_down(order: &v1::OpenEpoch) -> Result<EpochOrder, CallError> {
    let reason = match order.reason() {
        v1::EpochReason::TailLost => EpochReason::TailLost,
        v1::EpochReason::Salvaged => EpochReason::Salvaged,
        v1::EpochReason::New => EpochReason::New,
        // A reason this firmware does not know is obeyed all the same: the server asked for another epoch.
        v1::EpochReason::Forked | v1::EpochReason::Unspecified => EpochReason::Forked,
    };
    let epoch = Epoch(bytes16("open_epoch.epoch", &order.epoch)?);
    Ok(EpochOrder { epoch, last_common_seq: order.last_common_seq, reason })
}

fn command_down(command: v1::MachineCommand) -> Option<Command> {
    use v1::machine_command::Command as Wire;
    let order = match command.command? {
        Wire::Dispense(d) => Order::Dispense {
            transaction: TransactionId(d.transaction_id.try_into().ok()?),
            slot: u16::try_from(d.slot).ok()?,
            product: ProductId(d.product_id.try_into().ok()?),
            price_minor: d.price_minor,
            currency: Currency::parse(&d.currency_code)?,
        },
        Wire::OutOfService(_) => Order::OutOfService,
        Wire::ReturnToService(_) => Order::ReturnToService,
    };
    let boot = match command.boot_id.len() {
        0 => None,
        _ => Some(BootId(command.boot_id.try_into().ok()?)),
    };
    Some(Command {
        number: command.number,
        epoch: Epoch(command.epoch.try_into().ok()?),
        boot,
        expires_uptime_ms: (command.expires_uptime_ms > 0).then_some(command.expires_uptime_ms),
        order,
    })
}

pub(super) fn hint_down(answer: &v1::WatchResponse) -> Hint {
    Hint { waiting: !answer.reasons.is_empty() }
}

fn bytes16(field: &str, bytes: &[u8]) -> Result<[u8; 16], CallError> {
    bytes.try_into().map_err(|_| broken(format!("{field} must be 16 bytes, got {}", bytes.len())))
}

fn broken(message: impl Into<String>) -> CallError {
    CallError::local(FailureKind::Refused, "BAD_ANSWER", message)
}

/// A failed call as the agent needs it. `docs/sync-protocol.md`, "What the device does", 7.
pub(super) fn failure(status: &Status) -> CallError {
    let reason = status.get_details_error_info().map(|info| info.reason);
    let kind = match (status.code(), reason.as_deref()) {
        (_, Some("MACHINE_REVOKED")) => FailureKind::Revoked,
        (
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::ResourceExhausted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal,
            _,
        ) => FailureKind::Later,
        (Code::Unauthenticated, _) => FailureKind::Unauthenticated,
        (Code::InvalidArgument, _) => FailureKind::Invalid,
        _ => FailureKind::Refused,
    };
    CallError {
        kind,
        reason: reason.unwrap_or_else(|| format!("{:?}", status.code())),
        message: status.message().to_owned(),
        retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
    }
}

pub(super) fn timed_out(after: Duration) -> CallError {
    let message = format!("no answer within {} ms", after.as_millis());
    CallError::local(FailureKind::Later, "DEADLINE_EXCEEDED", message)
}
