//! One message for people: a line per field that says something, in the order of the contract.

use super::contract::{self, Contract};
use super::text::printable;
use super::{money, when};
use crate::failure::Failure;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use std::fmt::Write as _;
use uuid::Uuid;

/// Every field that is not at its default: times in UTC, money with its point, bytes as ids or hex.
pub(crate) fn render<M: Contract>(message: &M) -> Result<String, Failure> {
    let mut text = String::new();
    fields(&mut text, &contract::reflect(message)?, "", 0);
    Ok(text)
}

/// `currency` is the nearest one said by an enclosing message.
fn fields(text: &mut String, message: &DynamicMessage, currency: &str, depth: usize) {
    let own = message.get_field_by_name("currency_code");
    let currency = own.as_deref().and_then(Value::as_str).filter(|c| !c.is_empty()).unwrap_or(currency);
    for field in message.descriptor().fields() {
        let value = message.get_field(&field);
        let is_said =
            message.has_field(&field) && (field.supports_presence() || !value.is_default_for_field(&field));
        if is_said {
            named(text, &field, &value, currency, depth);
        }
    }
}

fn named(text: &mut String, field: &FieldDescriptor, value: &Value, currency: &str, depth: usize) {
    let indent = "  ".repeat(depth);
    let name = shown_name(field.name());
    match value {
        Value::Message(message) => match amount(message) {
            Some(amount) => line(text, &indent, name, &amount),
            None => {
                line(text, &indent, name, "");
                fields(text, message, currency, depth + 1);
            }
        },
        Value::List(values) => list(text, field, values, currency, depth),
        Value::Map(entries) => {
            line(text, &indent, name, "");
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| (key_text(key), value)).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            for (key, value) in entries {
                line(text, &format!("{indent}  "), &printable(&key), &scalar(field, value, currency));
            }
        }
        scalar_value => line(text, &indent, name, &scalar(field, scalar_value, currency)),
    }
}

fn list(text: &mut String, field: &FieldDescriptor, values: &[Value], currency: &str, depth: usize) {
    let indent = "  ".repeat(depth);
    let name = shown_name(field.name());
    if !matches!(field.kind(), Kind::Message(_)) {
        let items: Vec<String> = values.iter().map(|value| scalar(field, value, currency)).collect();
        return line(text, &indent, name, &items.join(", "));
    }
    line(text, &indent, name, "");
    for message in values.iter().filter_map(Value::as_message) {
        let mut item = String::new();
        fields(&mut item, message, currency, depth + 2);
        // The first line of an item carries its dash.
        let body = item.trim_start();
        // Writing to a String can't fail.
        let _ = writeln!(text, "{indent}  - {}", body.trim_end_matches('\n'));
    }
}

fn line(text: &mut String, indent: &str, name: &str, value: &str) {
    // Writing to a String can't fail.
    let _ = if value.is_empty() {
        writeln!(text, "{indent}{name}:")
    } else {
        writeln!(text, "{indent}{name}: {value}")
    };
}

/// Without the units that the value shows itself.
fn shown_name(name: &str) -> &str {
    let unit = if is_time(name) { "_ms" } else { "_minor" };
    name.strip_suffix(unit).unwrap_or(name)
}

fn amount(message: &DynamicMessage) -> Option<String> {
    (message.descriptor().name() == "Money").then(|| {
        let currency = message.get_field_by_name("currency_code");
        let minor = message.get_field_by_name("minor_units");
        money::format(
            minor.as_deref().and_then(Value::as_i64).unwrap_or_default(),
            currency.as_deref().and_then(Value::as_str).unwrap_or_default(),
        )
    })
}

fn scalar(field: &FieldDescriptor, value: &Value, currency: &str) -> String {
    let name = field.name();
    match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::I32(number) => number.to_string(),
        Value::I64(time_ms) if is_time(name) => when::time(*time_ms),
        Value::I64(minor) if name.ends_with("_minor") => money::format(*minor, currency),
        Value::I64(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::String(said) => printable(said),
        Value::Bytes(bytes) => bytes_text(name, bytes),
        Value::EnumNumber(number) => match field.kind() {
            Kind::Enum(descriptor) => contract::value_word(&descriptor, *number),
            _ => number.to_string(),
        },
        Value::Message(_) | Value::List(_) | Value::Map(_) => "...".to_owned(),
    }
}

fn is_time(name: &str) -> bool {
    name.ends_with("_time_ms") || matches!(name, "time_ms" | "wall_ms" | "earliest_ms" | "latest_ms")
}

/// 16 bytes are an id, as text where the text is what the API uses elsewhere.
fn bytes_text(name: &str, bytes: &[u8]) -> String {
    match Uuid::from_slice(bytes) {
        Ok(id) if name.ends_with("_id") && name != "boot_id" => id.to_string(),
        _ => hex::encode(bytes),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests;
