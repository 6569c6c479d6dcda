//! An event's data as JSON, for brokers: the proto3 JSON mapping of the contract's own message, made by reflection.

use super::event_out;
use crate::domain::event::Event;
use crate::domain::ids::Incarnation;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions, Value};
use std::sync::LazyLock;
use uuid::Uuid;

static EVENT: LazyLock<Result<MessageDescriptor, String>> = LazyLock::new(|| {
    let pool =
        DescriptorPool::decode(vendfleet_proto::FILE_DESCRIPTOR_SET).map_err(|error| error.to_string())?;
    pool.get_message_by_name("vendfleet.v1.Event").ok_or_else(|| "the contract has no Event".to_owned())
});

/// The message in the event's `data`: an OrderEvent, SaleEvent, InventoryEvent or AlertEvent.
///
/// # Errors
/// The contract has no words for it.
pub fn data_json(event: &Event) -> Result<serde_json::Value, String> {
    let descriptor = EVENT.as_ref().map_err(Clone::clone)?;
    // What stands beside the data is left out.
    let bytes = event_out(event, Incarnation(Uuid::nil())).encode_to_vec();
    let told =
        DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).map_err(|error| error.to_string())?;
    let data = descriptor.oneofs().find(|oneof| oneof.name() == "data");
    let field = data.and_then(|data| data.fields().find(|field| told.has_field(field)));
    let field = field.ok_or_else(|| "the event has no data".to_owned())?;
    match told.get_field(&field).as_ref() {
        Value::Message(data) => data
            .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
            .map_err(|error| error.to_string()),
        _ => Err("the event's data is no message".to_owned()),
    }
}
