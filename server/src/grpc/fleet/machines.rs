//! Machines, their groups, and the split of a clone.

use super::out::{machine_out, uuid_out};
use crate::domain::fleet::{MachineChange, MachineFilter, MachineKind, NewMachine, Serial, Tags, check_kind};
use crate::domain::ids::MachineId;
use crate::domain::pool::Standing;
use crate::domain::text::{Label, Text};
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::grpc::request::{person, request_key};
use crate::operations::{Deps, fleet};
use tonic::Request;
use uuid::Uuid;
use vendfleet_proto::v1;

pub(super) async fn create_machine(
    deps: &Deps,
    request: Request<v1::CreateMachineRequest>,
) -> Result<v1::CreateMachineResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "CreateMachine", &request_id, &message);
    let new = new_machine(&mut fields, &message);
    let (key, new) = fields.finish(key.zip(new))?;
    let moment = deps.moment().await?;
    let machine = fleet::create_machine(deps, key, new).await?;
    Ok(v1::CreateMachineResponse { machine: Some(machine_out(machine, moment)) })
}

pub(super) async fn get_machine(
    deps: &Deps,
    request: Request<v1::GetMachineRequest>,
) -> Result<v1::GetMachineResponse, ApiError> {
    let mut fields = Fields::default();
    let id = fields.uuid("machine_id", &request.get_ref().machine_id).map(MachineId);
    let (id, moment) = (fields.finish(id)?, deps.moment().await?);
    let machine = fleet::get_machine(deps, id).await?;
    Ok(v1::GetMachineResponse { machine: Some(machine_out(machine, moment)) })
}

pub(super) async fn list_machines(
    deps: &Deps,
    request: Request<v1::ListMachinesRequest>,
) -> Result<v1::ListMachinesResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListMachines", &message);
    let kind = fields.member("kind", message.kind, |n| MachineKind::from_number(i64::from(n)));
    let group = fields.optional_label("group", &message.group);
    let tags = tags(&mut fields, "tags", &message.tags);
    let serial = fields.optional_text::<64>("serial", &message.serial);
    let pool_state = fields.member("pool_state", message.pool_state, |n| Standing::from_number(i64::from(n)));
    let page = list.request::<Uuid>(&mut fields, size, &token, (50, 500))?;
    let parsed = kind.zip(group).zip(tags.zip(serial)).zip(pool_state);
    let (((kind, group), (tags, serial)), pool_state) = fields.finish(parsed)?;
    let moment = deps.moment().await?;
    let filter = MachineFilter {
        include_archived: message.include_archived,
        kind,
        pool: pool_state.map(|standing| (standing, moment.clock_ms)),
        group: group.map(|g| g.as_str().to_owned()),
        tags: tags.iter().map(str::to_owned).collect(),
        serial: serial.map(Text::into_string),
    };
    let page = fleet::list_machines(deps, &filter, &page).await?;
    let next_page_token = list.token(&page);
    let machines = page.items.into_iter().map(|machine| machine_out(machine, moment)).collect();
    Ok(v1::ListMachinesResponse { machines, next_page_token })
}

pub(super) async fn update_machine(
    deps: &Deps,
    request: Request<v1::UpdateMachineRequest>,
) -> Result<v1::UpdateMachineResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "UpdateMachine", &request_id, &message);
    let id = fields.uuid("machine_id", &message.machine_id).map(MachineId);
    let etag = fields.text::<1, 64>("etag", &message.etag);
    let change = Some(MachineChange {
        name: message.name.as_ref().and_then(|t| fields.text("name", t)),
        location: message.location.as_ref().and_then(|t| fields.text("location", t)),
        group: message.group.as_ref().and_then(|t| fields.optional_label("group", t)),
        tags: message.tags.as_ref().and_then(|t| tags(&mut fields, "tags.values", &t.values)),
        serial: message.serial.as_ref().and_then(|t| fields.optional_text("serial", t)),
        virtual_delay_ms: message
            .virtual_delay_ms
            .and_then(|n| fields.within("virtual_delay_ms", i64::from(n))),
    });
    let ((key, id), (etag, change)) = fields.finish(key.zip(id).zip(etag.zip(change)))?;
    let moment = deps.moment().await?;
    let machine = fleet::update_machine(deps, key, id, etag.as_str(), change).await?;
    Ok(v1::UpdateMachineResponse { machine: Some(machine_out(machine, moment)) })
}

pub(super) async fn archive_machine(
    deps: &Deps,
    request: Request<v1::ArchiveMachineRequest>,
) -> Result<v1::ArchiveMachineResponse, ApiError> {
    let mut fields = Fields::default();
    let id = fields.uuid("machine_id", &request.get_ref().machine_id).map(MachineId);
    let (id, moment) = (fields.finish(id)?, deps.moment().await?);
    let machine = fleet::archive_machine(deps, id).await?;
    Ok(v1::ArchiveMachineResponse { machine: Some(machine_out(machine, moment)) })
}

pub(super) async fn list_machine_groups(
    deps: &Deps,
    request: Request<v1::ListMachineGroupsRequest>,
) -> Result<v1::ListMachineGroupsResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListMachineGroups", &message);
    let page = list.request::<String>(&mut fields, size, &token, (50, 500))?;
    fields.finish(Some(()))?;
    let page = fleet::list_groups(deps, &page).await?;
    let next_page_token = list.token(&page);
    let groups = page
        .items
        .into_iter()
        .map(|group| v1::MachineGroup {
            group: group.name,
            machines: group.machines,
            config_id: group.config.map(|c| uuid_out(&c.0)).unwrap_or_default(),
        })
        .collect();
    Ok(v1::ListMachineGroupsResponse { groups, next_page_token })
}

pub(super) async fn split_machine(
    deps: &Deps,
    request: Request<v1::SplitMachineRequest>,
) -> Result<v1::SplitMachineResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "SplitMachine", &request_id, &message);
    let id = fields.uuid("machine_id", &message.machine_id).map(MachineId);
    let epoch = fields.epoch("epoch", &message.epoch);
    let name = fields.text::<1, 64>("name", &message.name);
    let ((key, id), (epoch, name)) = fields.finish(key.zip(id).zip(epoch.zip(name)))?;
    let moment = deps.moment().await?;
    let split = fleet::split_machine(deps, key, id, epoch, name).await?;
    Ok(v1::SplitMachineResponse {
        new_machine: Some(machine_out(split.new_machine, moment)),
        kept_machine: Some(machine_out(split.kept_machine, moment)),
        claim_token_id: split.claim_token.to_string(),
        open_branches: split.open_branches,
    })
}

fn tags(fields: &mut Fields, path: &str, values: &[String]) -> Option<Tags> {
    let mut labels = Vec::new();
    for (index, value) in values.iter().enumerate().take(Tags::MAX + 1) {
        labels.push(fields.take(&format!("{path}[{index}]"), Label::parse(value))?);
    }
    fields.take(path, Tags::new(labels))
}

fn new_machine(fields: &mut Fields, message: &v1::CreateMachineRequest) -> Option<NewMachine> {
    let kind = fields.required_member("kind", message.kind, |n| MachineKind::from_number(i64::from(n)));
    let name = fields.text("name", &message.name);
    let location = fields.text("location", &message.location);
    let group = fields.optional_label("group", &message.group);
    let tags = tags(fields, "tags", &message.tags);
    let serial: Option<Option<Serial>> = fields.optional_text("serial", &message.serial);
    let virtual_delay_ms = fields.within("virtual_delay_ms", i64::from(message.virtual_delay_ms));
    if let Some(kind) = kind {
        for (field, rule) in check_kind(kind, !message.serial.is_empty(), message.virtual_delay_ms != 0) {
            fields.broke(field, rule);
        }
    }
    Some(NewMachine {
        kind: kind?,
        name: name?,
        location: location?,
        group: group?,
        tags: tags?,
        serial: serial?,
        virtual_delay_ms: virtual_delay_ms?,
    })
}
