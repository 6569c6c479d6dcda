//! Inventory, alerts, facts about the server.

use super::out::{epoch_out, uuid_out};
use crate::domain::fleet::{
    Alert, AlertFilter, AlertState, LOW_SPACE, LOW_STOCK, MACHINE_SILENT, REVOKED_UNSENT, Severity,
    SlotInventory, severity,
};
use crate::domain::ids::{AlertId, MachineId};
use crate::domain::order::{GATEWAY_CONTRADICTION, LATE_APPROVAL, ORDER_UNSETTLED};
use crate::domain::pool::{LATE_VEND, MACHINE_RESTING, PURCHASE_IN_DOUBT, SOLD_LOCALLY};
use crate::domain::sync::AlertKind;
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::grpc::request::person;
use crate::operations::{Deps, fleet};
use std::collections::HashMap;
use tonic::Request;
use uuid::Uuid;
use vend_core::id::ProductId;
use vendfleet_proto::v1;

/// What each alert is called below and in the contract. A wire type without a row is one this server raises no alert of.
const ALERT_TYPES: [(&str, v1::AlertType); 23] = [
    (AlertKind::RecordsMissing.as_str(), v1::AlertType::Gap),
    (AlertKind::JournalForked.as_str(), v1::AlertType::Fork),
    (AlertKind::MachineCloned.as_str(), v1::AlertType::MachineCloned),
    (AlertKind::TailLost.as_str(), v1::AlertType::TailLost),
    (AlertKind::ServerBehindDevice.as_str(), v1::AlertType::DeviceAhead),
    (AlertKind::CountersDiverged.as_str(), v1::AlertType::CountersDisagree),
    (AlertKind::CountersStepped.as_str(), v1::AlertType::CountersDisagree),
    (AlertKind::SlotDrift.as_str(), v1::AlertType::InventoryDrift),
    (AlertKind::DeadLetter.as_str(), v1::AlertType::DeadLetter),
    (AlertKind::ConfigRefused.as_str(), v1::AlertType::ConfigRejected),
    (AlertKind::MachineFault.as_str(), v1::AlertType::MachineFault),
    (REVOKED_UNSENT, v1::AlertType::RevokedUnsent),
    (LOW_STOCK, v1::AlertType::LowStock),
    (ORDER_UNSETTLED, v1::AlertType::OrderUnsettled),
    (LATE_APPROVAL, v1::AlertType::LateApproval),
    (GATEWAY_CONTRADICTION, v1::AlertType::GatewayContradiction),
    (PURCHASE_IN_DOUBT, v1::AlertType::PurchaseInDoubt),
    (LATE_VEND, v1::AlertType::LateVend),
    (SOLD_LOCALLY, v1::AlertType::SoldLocally),
    (MACHINE_RESTING, v1::AlertType::MachineResting),
    (MACHINE_SILENT, v1::AlertType::MachineSilent),
    (LOW_SPACE, v1::AlertType::LowSpace),
    (AlertKind::RecordsAfterJudgement.as_str(), v1::AlertType::RecordsAfterJudgement),
];

pub(super) async fn get_machine_inventory(
    deps: &Deps,
    request: Request<v1::GetMachineInventoryRequest>,
) -> Result<v1::GetMachineInventoryResponse, ApiError> {
    let mut fields = Fields::default();
    let machine = fields.uuid("machine_id", &request.get_ref().machine_id).map(MachineId);
    let (slots, config) = fleet::get_inventory(deps, fields.finish(machine)?).await?;
    Ok(v1::GetMachineInventoryResponse {
        slots: slots.into_iter().map(slot_out).collect(),
        config_id: config.map(|c| uuid_out(&c.0)).unwrap_or_default(),
    })
}

pub(super) async fn list_inventory_discrepancies(
    deps: &Deps,
    request: Request<v1::ListInventoryDiscrepanciesRequest>,
) -> Result<v1::ListInventoryDiscrepanciesResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListInventoryDiscrepancies", &message);
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let product = fields.optional_uuid("product_id", &message.product_id);
    let page = list.request::<(Uuid, i64)>(&mut fields, size, &token, (50, 500))?;
    let (machine, product) = fields.finish(machine.zip(product))?;
    let product = product.map(|id| ProductId(id.into_bytes()));
    let page = fleet::list_discrepancies(deps, machine.map(MachineId), product, &page).await?;
    let next_page_token = list.token(&page);
    let slots = page.items.into_iter().map(slot_out).collect();
    Ok(v1::ListInventoryDiscrepanciesResponse { slots, next_page_token })
}

pub(super) async fn list_alerts(
    deps: &Deps,
    request: Request<v1::ListAlertsRequest>,
) -> Result<v1::ListAlertsResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListAlerts", &message);
    let state = fields.member("state", message.state, |n| {
        Some(match v1::AlertState::try_from(n).ok()? {
            v1::AlertState::Unspecified => return None,
            v1::AlertState::Open => AlertState::Open,
            v1::AlertState::Acknowledged => AlertState::Acknowledged,
            v1::AlertState::Resolved => AlertState::Resolved,
        })
    });
    let kind = fields.member("type", message.r#type, |n| {
        v1::AlertType::try_from(n).ok().filter(|kind| *kind != v1::AlertType::Unspecified)
    });
    let level = fields.member("severity", message.severity, |n| {
        Some(match v1::AlertSeverity::try_from(n).ok()? {
            v1::AlertSeverity::Unspecified => return None,
            v1::AlertSeverity::Info => Severity::Info,
            v1::AlertSeverity::Warning => Severity::Warning,
            v1::AlertSeverity::Critical => Severity::Critical,
        })
    });
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let product = fields.optional_uuid("product_id", &message.product_id);
    let page = list.request::<Uuid>(&mut fields, size, &token, (50, 500))?;
    let parsed = state.zip(kind).zip(level).zip(machine.zip(product));
    let (((state, kind), level), (machine, product)) = fields.finish(parsed)?;
    let kinds = ALERT_TYPES
        .iter()
        .filter(|(name, wire)| {
            kind.is_none_or(|kind| kind == *wire) && level.is_none_or(|level| level == severity(name))
        })
        .map(|(name, _)| *name)
        .collect();
    let filter = AlertFilter {
        state,
        kinds: (kind.is_some() || level.is_some()).then_some(kinds),
        machine: machine.map(MachineId),
        product: product.map(|id| ProductId(id.into_bytes())),
    };
    let page = fleet::list_alerts(deps, &filter, &page).await?;
    let next_page_token = list.token(&page);
    let alerts = page.items.into_iter().map(alert_out).collect();
    Ok(v1::ListAlertsResponse { alerts, next_page_token })
}

pub(super) async fn acknowledge_alert(
    deps: &Deps,
    request: Request<v1::AcknowledgeAlertRequest>,
) -> Result<v1::AcknowledgeAlertResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut fields = Fields::default();
    let id = fields.uuid("alert_id", &request.get_ref().alert_id).map(AlertId);
    let alert = fleet::acknowledge_alert(deps, fields.finish(id)?, caller.subject).await?;
    Ok(v1::AcknowledgeAlertResponse { alert: Some(alert_out(alert)) })
}

pub(super) async fn resolve_alert(
    deps: &Deps,
    request: Request<v1::ResolveAlertRequest>,
) -> Result<v1::ResolveAlertResponse, ApiError> {
    let caller = person(request.extensions())?;
    let message = request.get_ref();
    let mut fields = Fields::default();
    let id = fields.uuid("alert_id", &message.alert_id).map(AlertId);
    let note = fields.text("note", &message.note);
    let (id, note) = fields.finish(id.zip(note))?;
    let alert = fleet::resolve_alert(deps, id, note, caller.subject).await?;
    Ok(v1::ResolveAlertResponse { alert: Some(alert_out(alert)) })
}

pub(super) async fn get_server_info(
    deps: &Deps,
    _: Request<v1::GetServerInfoRequest>,
) -> Result<v1::GetServerInfoResponse, ApiError> {
    let info = fleet::server_info(deps).await?;
    Ok(v1::GetServerInfoResponse {
        version: info.version.to_owned(),
        server_incarnation: info.incarnation.to_string(),
        storage: info.storage.to_owned(),
        schema_version: info.schema_version,
        time_ms: info.time_ms,
        start_time_ms: info.started_at_ms,
        replica: info.replica,
        queued_ingest: false,
        services: info.services,
    })
}

fn slot_out(slot: SlotInventory) -> v1::SlotInventory {
    let mut out = v1::SlotInventory {
        machine_id: slot.machine.to_string(),
        slot: slot.slot.into(),
        ..v1::SlotInventory::default()
    };
    if let Some(row) = slot.row {
        let as_of_epoch = epoch_out(row.epoch);
        out.product_id = row.product.or(row.reported_product).map(|p| uuid_out(&p.0)).unwrap_or_default();
        out.reserved = row.reserved;
        out.faulted = row.faulted;
        out.reported = row.reported.map(|units| v1::SlotLevel {
            units: units.into(),
            as_of_epoch: as_of_epoch.clone(),
            as_of_seq: row.reported_seq,
        });
        out.derived = row.product.map(|_| v1::SlotLevel {
            units: row.derived,
            as_of_epoch: as_of_epoch.clone(),
            as_of_seq: row.derived_seq,
        });
        out.drift = (row.drift_seq > 0).then(|| v1::SlotDrift {
            units: i64::from(row.reported.unwrap_or(0)).saturating_sub(row.derived),
            since_epoch: as_of_epoch,
            since_seq: row.drift_seq,
            since_time_ms: slot.drift_seen_ms,
        });
    }
    if let Some(planned) = slot.planned {
        out.product_id = uuid_out(&planned.product.0);
        out.price_minor = planned.price_minor;
        out.currency_code = planned.currency.as_str().to_owned();
        out.capacity = planned.capacity;
        out.par_level = planned.par;
    }
    out
}

pub(crate) fn alert_out(alert: Alert) -> v1::Alert {
    let state = alert.state() as i32;
    let kind = ALERT_TYPES.iter().find(|(name, _)| *name == alert.kind).map(|(_, wire)| *wire);
    let slot = (alert.kind == AlertKind::SlotDrift.as_str()).then(|| alert.key.parse().ok()).flatten();
    let mut details =
        HashMap::from([("kind".to_owned(), alert.kind.clone()), ("key".to_owned(), cut(&alert.key, 256))]);
    if let Some(order) = alert.order {
        details.insert("order_id".to_owned(), order.to_string());
    }
    v1::Alert {
        alert_id: alert.id.to_string(),
        r#type: kind.unwrap_or(v1::AlertType::Unspecified).into(),
        severity: severity(&alert.kind) as i32,
        state,
        message: cut(&alert.detail, 512),
        details,
        machine_id: alert.machine.map(|m| m.to_string()).unwrap_or_default(),
        epoch: alert.epoch.map(epoch_out).unwrap_or_default(),
        seq: alert.seq,
        slot,
        product_id: alert.product.map(|p| uuid_out(&p.0)).unwrap_or_default(),
        order_id: alert.order.map(|o| o.to_string()).unwrap_or_default(),
        purchase_id: alert.purchase.map(|p| p.to_string()).unwrap_or_default(),
        occurrences: alert.occurrences,
        create_time_ms: alert.created_at_ms,
        last_time_ms: alert.last_at_ms,
        acknowledged_by: alert.acknowledged_by,
        acknowledge_time_ms: alert.acknowledged_at_ms,
        resolved_by: alert.resolved_by,
        resolve_time_ms: alert.resolved_at_ms,
        note: alert.note,
        trace_id: alert.trace_id,
    }
}

/// At most so many bytes, at a character's end.
pub(super) fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}
