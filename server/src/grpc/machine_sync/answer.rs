//! A `SyncAnswer` into a `SyncResponse`.

use crate::domain::command::{Command, Order};
use crate::domain::sync::{Disposition, Standing};
use crate::operations::sync::SyncAnswer;
use vend_core::record::EpochReason;
use vendfleet_proto::v1;
use vendfleet_wire::format_uuid;

/// Dresses an answer for the wire.
pub(super) fn response(dressed: SyncAnswer, keep_days: u32, claim_token: Option<String>) -> v1::SyncResponse {
    let answer = dressed.answer;
    let verdicts = answer
        .verdicts
        .iter()
        .map(|verdict| v1::SyncVerdict {
            number: verdict.number,
            epoch: verdict.epoch.0.to_vec(),
            first_seq: verdict.first_seq,
            last_seq: verdict.last_seq,
            disposition: match verdict.disposition {
                Disposition::Applied => v1::Disposition::Applied,
                Disposition::DeadLetter => v1::Disposition::DeadLetter,
                Disposition::Quarantined => v1::Disposition::Quarantined,
            }
            .into(),
            reason: verdict.reason.wire_name().to_owned(),
        })
        .collect();
    let config = answer.config.zip(dressed.config).map(|(wanted, bytes)| v1::ConfigAssignment {
        number: wanted.number,
        config_id: format_uuid(&bytes.id.0),
        sha256: bytes.sha256.to_vec(),
        config: bytes.body.clone(),
    });
    v1::SyncResponse {
        epoch: answer.epoch.0.to_vec(),
        accepted_through: answer.accepted_through,
        durable_through: answer.durable_through,
        resend_from: answer.resend_from,
        verdicts,
        server_incarnation: dressed.incarnation.to_string(),
        server_time_ms: dressed.server_time_ms,
        next_sync_after_ms: answer.next_sync_after_ms,
        config,
        commands: answer.commands.into_iter().map(command).collect(),
        open_epoch: answer.open_epoch.map(|open| v1::OpenEpoch {
            epoch: answer.epoch.0.to_vec(),
            last_common_seq: open.last_common_seq,
            reason: epoch_reason(open.reason).into(),
        }),
        reenroll: claim_token.map(|claim_token| v1::Reenroll { claim_token }),
        standing: match answer.standing {
            Standing::Active => v1::UploadStanding::Active,
            Standing::Cloned => v1::UploadStanding::Cloned,
            Standing::Draining => v1::UploadStanding::Draining,
        }
        .into(),
        keep_days,
    }
}

fn command(command: Command) -> v1::MachineCommand {
    use v1::machine_command::Command as Wire;
    v1::MachineCommand {
        number: command.number,
        epoch: command.epoch.0.to_vec(),
        boot_id: command.boot.map(|boot| boot.0.to_vec()).unwrap_or_default(),
        expires_uptime_ms: command.expires_uptime_ms,
        command: Some(match command.order {
            Order::Dispense(dispense) => Wire::Dispense(v1::DispenseCommand {
                transaction_id: dispense.purchase.as_bytes().to_vec(),
                slot: dispense.slot.into(),
                product_id: dispense.product.0.to_vec(),
                price_minor: dispense.price_minor,
                currency_code: dispense.currency.as_str().to_owned(),
            }),
            Order::OutOfService(reason) => Wire::OutOfService(v1::OutOfServiceCommand { reason }),
            Order::ReturnToService => Wire::ReturnToService(v1::ReturnToServiceCommand {}),
        }),
    }
}

fn epoch_reason(reason: EpochReason) -> v1::EpochReason {
    match reason {
        EpochReason::New => v1::EpochReason::New,
        EpochReason::Salvaged => v1::EpochReason::Salvaged,
        EpochReason::Forked => v1::EpochReason::Forked,
        EpochReason::TailLost => v1::EpochReason::TailLost,
    }
}
