//! Configs and their assignment.

use super::out::{config_status_out, uuid_out};
use crate::domain::fleet::{AssignmentTarget, ConfigRow, NewConfig, Progress, StatusFilter};
use crate::domain::ids::MachineId;
use crate::domain::text::{Label, Text};
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::grpc::request::{person, request_key};
use crate::grpc::status::unimplemented;
use crate::operations::{Deps, fleet};
use prost::Message as _;
use std::collections::BTreeSet;
use tonic::Request;
use uuid::Uuid;
use vend_core::config::Config;
use vend_core::id::ConfigId;
use vendfleet_proto::v1;

/// Machines named in one assignment, at most.
const MAX_MACHINES: usize = 500;
/// Farthest start of an assignment, ms from now: a year.
const MAX_AHEAD_MS: i64 = 31_622_400_000;

pub(super) async fn create_config(
    deps: &Deps,
    request: Request<v1::CreateConfigRequest>,
) -> Result<v1::CreateConfigResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "CreateConfig", &request_id, &message);
    let name: Option<Text<1, 64>> = fields.text("name", &message.name);
    let note = fields.text("note", &message.note);
    let config = config_in(&mut fields, message.config.take());
    let parsed = key.zip(name).zip(note.zip(config));
    let ((key, name), (note, config)) = fields.finish(parsed)?;
    let new = NewConfig { name, note, config, by: caller.subject };
    let row = fleet::create_config(deps, key, new).await?;
    Ok(v1::CreateConfigResponse { config: Some(config_out(row)?) })
}

pub(super) async fn get_config(
    deps: &Deps,
    request: Request<v1::GetConfigRequest>,
) -> Result<v1::GetConfigResponse, ApiError> {
    let mut fields = Fields::default();
    let id = fields.uuid("config_id", &request.get_ref().config_id).map(config_id);
    let row = fleet::get_config(deps, fields.finish(id)?).await?;
    Ok(v1::GetConfigResponse { config: Some(config_out(row)?) })
}

pub(super) async fn list_configs(
    deps: &Deps,
    request: Request<v1::ListConfigsRequest>,
) -> Result<v1::ListConfigsResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListConfigs", &message);
    let page = list.request::<Uuid>(&mut fields, size, &token, (20, 100))?;
    fields.finish(Some(()))?;
    let page = fleet::list_configs(deps, &page).await?;
    let next_page_token = list.token(&page);
    let configs = page.items.into_iter().map(config_out).collect::<Result<_, _>>()?;
    Ok(v1::ListConfigsResponse { configs, next_page_token })
}

pub(super) async fn assign_config(
    deps: &Deps,
    request: Request<v1::AssignConfigRequest>,
) -> Result<v1::AssignConfigResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "AssignConfig", &request_id, &message);
    let config = fields.uuid("config_id", &message.config_id).map(config_id);
    let target = target(&mut fields, &message);
    let now_ms = deps.context.now_ms();
    let latest = now_ms.saturating_add(MAX_AHEAD_MS);
    if !(0..=latest).contains(&message.start_time_ms) {
        fields.broke("start_time_ms", "must be zero, or at most a year ahead");
    }
    let ((key, config), target) = fields.finish(key.zip(config).zip(target))?;
    if message.start_time_ms > now_ms {
        let mut refusal = unimplemented("vendfleet.v1.FleetService/AssignConfig");
        refusal.message.push_str(" with start_time_ms ahead: rollouts are not served yet");
        return Err(refusal);
    }
    let assigned = fleet::assign_config(deps, key, config, target).await?;
    let statuses = assigned
        .statuses
        .iter()
        .filter_map(|detail| Some(config_status_out(detail.machine.id, detail.device.as_ref()?)));
    Ok(v1::AssignConfigResponse {
        machines: assigned.machines,
        statuses: statuses.collect(),
        start_time_ms: now_ms,
    })
}

pub(super) async fn list_config_statuses(
    deps: &Deps,
    request: Request<v1::ListConfigStatusesRequest>,
) -> Result<v1::ListConfigStatusesResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListConfigStatuses", &message);
    let desired = fields.optional_uuid("desired_config_id", &message.desired_config_id);
    let group = fields.optional_label("group", &message.group);
    let progress = fields.member("progress", message.progress, |n| {
        Some(match v1::ConfigProgress::try_from(n).ok()? {
            v1::ConfigProgress::Unspecified => return None,
            v1::ConfigProgress::None => Progress::None,
            v1::ConfigProgress::Pending => Progress::Pending,
            v1::ConfigProgress::Applied => Progress::Applied,
            v1::ConfigProgress::Rejected => Progress::Rejected,
        })
    });
    let page = list.request::<Uuid>(&mut fields, size, &token, (50, 500))?;
    let ((desired, group), progress) = fields.finish(desired.zip(group).zip(progress))?;
    let filter = StatusFilter {
        desired: desired.map(config_id),
        group: group.map(|g| g.as_str().to_owned()),
        progress,
    };
    let page = fleet::list_config_statuses(deps, &filter, &page).await?;
    let next_page_token = list.token(&page);
    let statuses = page
        .items
        .iter()
        .filter_map(|detail| Some(config_status_out(detail.machine.id, detail.device.as_ref()?)));
    Ok(v1::ListConfigStatusesResponse { statuses: statuses.collect(), next_page_token })
}

fn config_id(id: Uuid) -> ConfigId {
    ConfigId(id.into_bytes())
}

fn config_in(fields: &mut Fields, config: Option<v1::MachineConfig>) -> Option<Config> {
    let Some(mut config) = config else {
        fields.broke("config", "must be given");
        return None;
    };
    if !config.config_id.is_empty() {
        fields.broke("config.config_id", "must be empty: the server gives it");
    }
    config.config_id = Uuid::nil().to_string();
    match vendfleet_wire::config::from_proto(&config) {
        Ok(config) => Some(config),
        Err(error) => {
            fields.broke(format!("config.{}", error.field), error.rule);
            None
        }
    }
}

fn config_out(row: ConfigRow) -> Result<v1::Config, ApiError> {
    let content = if row.body.is_empty() {
        None
    } else {
        Some(v1::MachineConfig::decode(row.body.as_slice()).map_err(ApiError::internal)?)
    };
    Ok(v1::Config {
        config_id: uuid_out(&row.id.0),
        name: row.name,
        note: row.note,
        config: content,
        sha256: hex::encode(row.sha256),
        created_by: row.created_by,
        create_time_ms: row.created_at_ms,
    })
}

fn target(fields: &mut Fields, message: &v1::AssignConfigRequest) -> Option<AssignmentTarget> {
    match (message.machine_ids.is_empty(), message.group.is_empty()) {
        (true, true) | (false, false) => {
            fields.broke("machine_ids", "exactly one of machine_ids and group must be given");
            None
        }
        (true, false) => fields.take("group", Label::parse(&message.group)).map(AssignmentTarget::Group),
        (false, true) => machines(fields, &message.machine_ids).map(AssignmentTarget::Machines),
    }
}

fn machines(fields: &mut Fields, ids: &[String]) -> Option<Vec<MachineId>> {
    if ids.len() > MAX_MACHINES {
        fields.broke("machine_ids", format!("must be at most {MAX_MACHINES}"));
        return None;
    }
    let mut machines = BTreeSet::new();
    for (index, id) in ids.iter().enumerate() {
        let path = format!("machine_ids[{index}]");
        let id = fields.uuid(&path, id)?;
        if !machines.insert(MachineId(id)) {
            fields.broke(path, "must appear once");
            return None;
        }
    }
    Some(machines.into_iter().collect())
}
