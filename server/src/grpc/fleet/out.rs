//! The fleet's values as the contract has them.

use crate::domain::fleet::{DeviceStatus, MachineDetail, Uploads};
use crate::domain::ids::MachineId;
use crate::domain::pool::Shown;
use crate::operations::Moment;
use uuid::Uuid;
use vend_core::id::Epoch;
use vend_core::time::ClockQuality;
use vendfleet_proto::v1;

pub(crate) fn uuid_out(bytes: &[u8; 16]) -> String {
    Uuid::from_bytes(*bytes).to_string()
}

pub(crate) fn epoch_out(epoch: Epoch) -> String {
    hex::encode(epoch.0)
}

pub(crate) fn machine_out(detail: MachineDetail, now: Moment) -> v1::Machine {
    let MachineDetail { machine, device, pool } = detail;
    v1::Machine {
        machine_id: machine.id.to_string(),
        kind: machine.kind as i32,
        archived: machine.is_archived(),
        name: machine.name,
        location: machine.location,
        group: machine.group,
        tags: machine.tags,
        serial: machine.serial,
        virtual_delay_ms: u32::try_from(machine.virtual_delay_ms).unwrap_or(0),
        pool: Some(pool_out(&pool.shown(now.clock_ms))),
        device: device.map(|device| device_out(machine.id, machine.model, device, now)),
        etag: machine.version.to_string(),
        create_time_ms: machine.created_at_ms,
        update_time_ms: machine.updated_at_ms,
        archive_time_ms: machine.archived_at_ms,
    }
}

fn pool_out(shown: &Shown) -> v1::PoolStatus {
    v1::PoolStatus {
        state: shown.standing as i32,
        session_id: shown.session.map(|session| session.to_string()).unwrap_or_default(),
        usage_count: u64::try_from(shown.usage).unwrap_or(0),
        last_picked_time_ms: shown.last_picked_ms,
        failures_in_a_row: u32::try_from(shown.failures).unwrap_or(u32::MAX),
        resting_until_time_ms: shown.resting_until_ms,
        purchase_id: shown.purchase.map(|purchase| purchase.to_string()).unwrap_or_default(),
    }
}

fn device_out(machine: MachineId, model: String, device: DeviceStatus, now: Moment) -> v1::DeviceStatus {
    let standing = match device.uploads(now.own_ms) {
        None => v1::UploadStanding::Unspecified,
        Some(Uploads::Active) => v1::UploadStanding::Active,
        Some(Uploads::Cloned) => v1::UploadStanding::Cloned,
        Some(Uploads::Draining) => v1::UploadStanding::Draining,
        Some(Uploads::Revoked) => v1::UploadStanding::Revoked,
    };
    v1::DeviceStatus {
        connected: device.connected_until_ms > now.clock_ms,
        last_sync_time_ms: device.last_sync_ms,
        standing: standing.into(),
        epoch: device.epoch.map(epoch_out).unwrap_or_default(),
        last_seq: device.last_seq,
        accepted_through: device.accepted_through,
        durable_through: device.durable_through,
        config: Some(config_status_out(machine, &device)),
        firmware: device.firmware,
        model,
        out_of_service: device.out_of_service,
        clock_offset_ms: device.clock_offset_ms,
        clock_quality: match device.clock {
            ClockQuality::Unset => v1::ClockQuality::Unspecified,
            ClockQuality::FreeRunning => v1::ClockQuality::FreeRunning,
            ClockQuality::Synced => v1::ClockQuality::Synced,
        }
        .into(),
    }
}

pub(super) fn config_status_out(machine: MachineId, device: &DeviceStatus) -> v1::ConfigStatus {
    let refusals = device.refusals.lines().filter_map(|line| {
        let (field, reason) = line.rsplit_once(": ")?;
        Some(v1::ConfigRefusal { field: field.to_owned(), reason: reason.to_owned() })
    });
    v1::ConfigStatus {
        machine_id: machine.to_string(),
        desired_number: device.desired_number,
        desired_config_id: device.desired_config.map(|c| uuid_out(&c.0)).unwrap_or_default(),
        desired_cause: i32::try_from(device.desired_cause).unwrap_or(0),
        desired_time_ms: device.desired_at_ms,
        applied_number: device.applied_number,
        applied_config_id: device.applied_config.map(|c| uuid_out(&c.0)).unwrap_or_default(),
        applied_as_of_seq: if device.applied_number == 0 { 0 } else { device.durable_through },
        rejected_number: device.rejected_number,
        refusals: refusals.collect(),
    }
}
