//! An event as a message: a CloudEvent 1.0 in structured JSON mode, and the subject it goes to.

use crate::domain::event::{Category, Event, EventData};
use crate::domain::fleet::LOW_STOCK;
use crate::domain::ids::Incarnation;
use crate::domain::sync::AlertKind;
use serde::Serialize;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Gives an event's data as the contract's message in proto3 JSON. The messages live under `grpc`, so it is handed in.
pub type EncodeData = Arc<dyn Fn(&Event) -> Result<serde_json::Value, String> + Send + Sync>;

/// Subject of changes of central stock and of slots.
pub const INVENTORY_UPDATES: &str = "inventory-updates";
/// Subject of alerts about stock or slots.
pub const INVENTORY_ALERTS: &str = "inventory-alerts";
/// Subject of orders, sales and all other alerts.
pub const TRANSACTION_EVENTS: &str = "transaction-events";
/// Every subject, without prefix.
pub const SUBJECTS: [&str; 3] = [INVENTORY_UPDATES, INVENTORY_ALERTS, TRANSACTION_EVENTS];

/// Kinds of alerts that go to [`INVENTORY_ALERTS`].
const ABOUT_INVENTORY: [&str; 2] = [LOW_STOCK, AlertKind::SlotDrift.as_str()];

/// Content type of a CloudEvent in structured JSON mode.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A message to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Without prefix.
    pub subject: &'static str,
    /// The event's id: JetStream tells repeats by it.
    pub id: String,
    /// W3C traceparent; may be empty.
    pub traceparent: String,
    /// The CloudEvent.
    pub payload: Vec<u8>,
}

/// Attribute names are lower case by the rules of CloudEvents, extensions included.
#[derive(Serialize)]
struct CloudEvent<'e> {
    specversion: &'static str,
    id: &'e str,
    source: String,
    r#type: String,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    traceparent: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    traceid: &'e str,
    shard: i64,
    sequence: String,
    data: serde_json::Value,
}

/// The message of an event.
///
/// # Errors
/// It can't be told in the contract's words.
pub fn message(event: &Event, incarnation: Incarnation, encode: &EncodeData) -> Result<Message, String> {
    let id = event.name.to_string();
    let cloud_event = CloudEvent {
        specversion: "1.0",
        id: &id,
        source: format!("/vendfleet/{incarnation}"),
        r#type: format!("dev.vendfleet.{}", event.data.kind()),
        subject: event.data.subject().to_string(),
        time: rfc3339(event.at_ms)?,
        datacontenttype: "application/json",
        traceparent: &event.traceparent,
        traceid: &event.trace_id,
        shard: event.shard,
        // Padded, so that the texts sort as the numbers do.
        sequence: format!("{:019}.{:019}", event.place.position, event.name.number.unwrap_or(0)),
        data: encode(event)?,
    };
    let payload = serde_json::to_vec(&cloud_event).map_err(|error| error.to_string())?;
    let traceparent = event.traceparent.clone();
    Ok(Message { subject: subject(&event.data), id, traceparent, payload })
}

/// Where an event goes.
pub fn subject(data: &EventData) -> &'static str {
    match data.category() {
        Category::Inventory => INVENTORY_UPDATES,
        Category::Order | Category::Sale => TRANSACTION_EVENTS,
        Category::Alert => match data {
            EventData::Alert { alert, .. } if ABOUT_INVENTORY.contains(&alert.kind.as_str()) => {
                INVENTORY_ALERTS
            }
            _ => TRANSACTION_EVENTS,
        },
    }
}

fn rfc3339(at_ms: i64) -> Result<String, String> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000)
        .map_err(|error| error.to_string())?
        .format(&Rfc3339)
        .map_err(|error| error.to_string())
}
