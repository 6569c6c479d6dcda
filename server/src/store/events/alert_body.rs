//! Body of an event about an alert: the alert right after it. Its id is the event's subject, its machine the event's.

use super::body::{is_one, is_zero};
use crate::domain::fleet::{Alert, AlertChange};
use crate::domain::ids::{AlertId, MachineId};
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vend_core::id::{Epoch, ProductId};

/// Body of an event about an alert. Fields may be added with a default, never renamed or reused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlertBody {
    change: i64,
    kind: String,
    key: String,
    detail: String,
    /// Hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    seq: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    product: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purchase: Option<Uuid>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    occurrences: u64,
    created_at_ms: i64,
    last_at_ms: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    acknowledged_by: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    acknowledged_at_ms: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    resolved_by: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    resolved_at_ms: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    trace_id: String,
}

fn one() -> u64 {
    1
}

impl AlertBody {
    /// The body of what happened to an alert, as bytes.
    pub fn write(change: AlertChange, alert: &Alert) -> Result<Vec<u8>, StoreError> {
        let alert = alert.clone();
        let body = Self {
            change: change as i64,
            kind: alert.kind,
            key: alert.key,
            detail: alert.detail,
            epoch: alert.epoch.map(|epoch| hex::encode(epoch.0)),
            seq: crate::store::int(alert.seq)?,
            product: alert.product.map(|product| Uuid::from_bytes(product.0)),
            order: alert.order,
            purchase: alert.purchase,
            occurrences: alert.occurrences,
            created_at_ms: alert.created_at_ms,
            last_at_ms: alert.last_at_ms,
            acknowledged_by: alert.acknowledged_by,
            acknowledged_at_ms: alert.acknowledged_at_ms,
            resolved_by: alert.resolved_by,
            resolved_at_ms: alert.resolved_at_ms,
            note: alert.note,
            trace_id: alert.trace_id,
        };
        serde_json::to_vec(&body).map_err(|error| StoreError::Data(error.to_string()))
    }

    /// What happened, and the alert right after it, of an event with this subject and machine.
    pub fn read(
        bytes: &[u8],
        id: AlertId,
        machine: Option<MachineId>,
    ) -> Result<(AlertChange, Alert), StoreError> {
        let damaged = |what: &str| StoreError::corrupt(format!("an alert event's body: {what}"));
        let body: Self = serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))?;
        let change = AlertChange::from_number(body.change).ok_or_else(|| damaged("not a change"))?;
        let mut epoch = None;
        if let Some(text) = &body.epoch {
            let mut bytes = [0; 16];
            hex::decode_to_slice(text, &mut bytes).map_err(|_| damaged("not an epoch"))?;
            epoch = Some(Epoch(bytes));
        }
        let alert = Alert {
            id,
            kind: body.kind,
            key: body.key,
            machine,
            detail: body.detail,
            epoch,
            seq: u64::try_from(body.seq).map_err(|_| damaged("seq"))?,
            product: body.product.map(|product| ProductId(product.into_bytes())),
            order: body.order,
            purchase: body.purchase,
            occurrences: body.occurrences,
            created_at_ms: body.created_at_ms,
            last_at_ms: body.last_at_ms,
            acknowledged_by: body.acknowledged_by,
            acknowledged_at_ms: body.acknowledged_at_ms,
            resolved_by: body.resolved_by,
            resolved_at_ms: body.resolved_at_ms,
            note: body.note,
            trace_id: body.trace_id,
        };
        Ok((change, alert))
    }
}
