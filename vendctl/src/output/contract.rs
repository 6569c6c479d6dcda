//! The contract's descriptors: JSON of any message, names of any enum.

use crate::failure::Failure;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, EnumDescriptor, MessageDescriptor, SerializeOptions,
};
use std::io::Write;
use std::sync::LazyLock;
use vendfleet_proto::v1;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(vendfleet_proto::FILE_DESCRIPTOR_SET)
        .expect("the contract's build made its descriptors")
});

/// A message of the contract, by its name in package `vendfleet.v1`.
pub(crate) trait Contract: prost::Message + Default {
    /// Its name.
    const NAME: &'static str;
}

/// Messages that are shown.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        $(impl Contract for v1::$name { const NAME: &'static str = stringify!($name); })+
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),+];
    };
}

contract!(
    AdoptBranchResponse,
    AdjustStockResponse,
    Alert,
    AssignConfigResponse,
    ClaimToken,
    Command,
    Config,
    ConfigStatus,
    CreateClaimTokenResponse,
    Credential,
    DeadLetter,
    Epoch,
    Gap,
    GetMachineInventoryResponse,
    GetMachineTotalsResponse,
    GetServerInfoResponse,
    Machine,
    MachineConfig,
    MachineSession,
    Order,
    Product,
    Purchase,
    QuarantineBranch,
    QuarantinedRecord,
    RecordBody,
    ResetMachineResponse,
    SlotInventory,
    SplitMachineResponse,
    StreamEventsResponse,
    Totals,
    Transaction,
    WatchOrdersResponse,
);

/// The descriptor of a message.
pub(crate) fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("vendfleet.v1.{name}")).expect("the contract has this message")
}

/// The message as descriptors see it.
pub(crate) fn reflect<M: Contract>(message: &M) -> Result<DynamicMessage, Failure> {
    DynamicMessage::decode(descriptor(M::NAME), message.encode_to_vec().as_slice())
        .map_err(|error| Failure::Contract(format!("{}: {error}", M::NAME)))
}

/// Writes the message as JSON: names as in the `.proto`, integers as integers, every field there.
pub(crate) fn write_json<M: Contract>(message: &M, out: &mut dyn Write) -> Result<(), Failure> {
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true)
        .skip_default_fields(false);
    let mut serializer = serde_json::Serializer::new(out);
    reflect(message)?
        .serialize_with_options(&mut serializer, &options)
        .map_err(|error| Failure::Output(error.into()))
}

/// Reads a message from JSON, names as in the `.proto` or in lowerCamelCase. An unknown name is an error.
pub(crate) fn read_json<M: Contract>(text: &str) -> Result<M, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize_with_options(descriptor(M::NAME), &mut deserializer, &options)
        .and_then(|message| deserializer.end().map(|()| message))
        .map_err(|error| error.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
}

/// The descriptor of an enum.
pub(crate) fn enumeration(name: &str) -> EnumDescriptor {
    POOL.get_enum_by_name(&format!("vendfleet.v1.{name}")).expect("the contract has this enum")
}

/// The words people use for an enum's values, without the zero value, and their numbers.
pub(crate) fn words(name: &str) -> Vec<(String, i32)> {
    let descriptor = enumeration(name);
    let values = descriptor.values().filter(|value| value.number() != 0);
    values.map(|value| (word_of(&descriptor, value.name()), value.number())).collect()
}

/// The word for a value: `POOL_STATE_IN_DOUBT` is `in-doubt`, zero is `-`, one of a later contract is its number.
pub(crate) fn word(name: &str, number: i32) -> String {
    value_word(&enumeration(name), number)
}

pub(crate) fn value_word(descriptor: &EnumDescriptor, number: i32) -> String {
    match descriptor.get_value(number) {
        Some(_) if number == 0 => "-".to_owned(),
        Some(value) => word_of(descriptor, value.name()),
        None => number.to_string(),
    }
}

fn word_of(descriptor: &EnumDescriptor, value: &str) -> String {
    let zero = descriptor.get_value(0).map(|value| value.name().to_owned()).unwrap_or_default();
    let prefix = zero.strip_suffix("UNSPECIFIED").unwrap_or_default();
    value.strip_prefix(prefix).unwrap_or(value).to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests;
