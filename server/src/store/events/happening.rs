//! Events about central stock and alerts, made where they are caused and written at the end of that transaction.

use super::{AlertBody, KIND_ALERT, KIND_STOCK, NewEvent, ORDER_SHARD, SYNC_SHARD, StockBody, append};
use crate::domain::fleet::{Alert, AlertChange, alert_event_id, stock_event_id};
use crate::domain::ids::{EventId, MachineId};
use crate::domain::stock::{StockCause, StockMove};
use crate::store::{StoreError, Tx};
use uuid::Uuid;

/// The call something follows from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// Its trace id; empty when it had none.
    pub trace_id: String,
    /// Its W3C traceparent; empty when it had none.
    pub traceparent: String,
}

/// An event about central stock or an alert, before it has its position. Its id is derived from what it is about, so that a
/// transaction that is tried again writes the same event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    id: EventId,
    kind: i64,
    machine: Option<MachineId>,
    subject: [u8; 16],
    at_ms: i64,
    body: Vec<u8>,
    origin: Origin,
}

impl Happening {
    /// Central stock changed outside any order.
    pub fn stock(
        moved: &StockMove,
        cause: &StockCause,
        at_ms: i64,
        origin: &Origin,
    ) -> Result<Self, StoreError> {
        let about = match cause {
            StockCause::ProductCreated => Uuid::from_bytes(moved.product.0),
            StockCause::Adjusted(adjustment) => adjustment.id,
            StockCause::Purchased(purchase) | StockCause::GivenBack(purchase) => purchase.0,
        };
        Ok(Self {
            id: stock_event_id(about, at_ms),
            kind: KIND_STOCK,
            machine: None,
            subject: moved.product.0,
            at_ms,
            body: StockBody::write(moved, cause)?,
            origin: origin.clone(),
        })
    }

    /// Something happened to an alert, which is as given right after it.
    pub fn alert(change: AlertChange, alert: &Alert, origin: &Origin) -> Result<Self, StoreError> {
        let at_ms = change.at_ms(alert);
        Ok(Self {
            id: alert_event_id(alert.id, change, at_ms),
            kind: KIND_ALERT,
            machine: alert.machine,
            subject: alert.id.0.into_bytes(),
            at_ms,
            body: AlertBody::write(change, alert)?,
            origin: origin.clone(),
        })
    }

    /// The shard it belongs to: what is about a machine goes where its Syncs do.
    pub fn shard(&self) -> i64 {
        if self.machine.is_some() { SYNC_SHARD } else { ORDER_SHARD }
    }

    /// As [`append`] takes it, for a list that is written together with other events of its shard.
    pub fn event(&self) -> NewEvent<'_> {
        NewEvent {
            id: self.id,
            kind: self.kind,
            machine: self.machine,
            epoch: None,
            first_seq: 0,
            last_seq: 0,
            at_ms: self.at_ms,
            trace_id: &self.origin.trace_id,
            traceparent: &self.origin.traceparent,
            subject: Some(&self.subject),
            customer: None,
            body: Some(&self.body),
        }
    }
}

/// Writes these events, in order within each shard. Must be the last statement of its transaction.
pub async fn write(tx: &mut Tx, happenings: &[Happening]) -> Result<(), StoreError> {
    for shard in [SYNC_SHARD, ORDER_SHARD] {
        let events: Vec<NewEvent<'_>> =
            happenings.iter().filter(|happening| happening.shard() == shard).map(Happening::event).collect();
        append(tx, shard, &events).await?;
    }
    Ok(())
}
