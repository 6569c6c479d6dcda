//! What every file of the contract keeps, read from the compiled descriptors.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use vendfleet_proto::{FILE_DESCRIPTOR_SET, SERVICE_NAMES, v1::ErrorReason};

/// Calls that carry neither `request_id` nor `idempotency_key`, and why repeating them is harmless. Calls whose names
/// begin with Get, List, Watch or Stream only read.
const IDEMPOTENT_BY_NATURE: [(&str, &str); 9] = [
    ("Enroll", "the token and the device's own secret are the key"),
    ("Sync", "records have names; the same batch gives the same answer"),
    ("CancelOrder", "ends in the one state CANCELLED"),
    ("ArchiveProduct", "ends in the one state archived"),
    ("ArchiveMachine", "ends in the one state archived"),
    ("RevokeClaimToken", "ends in the one state REVOKED"),
    ("RevokeCredential", "the first drain end stays"),
    ("AcknowledgeAlert", "who came first stays"),
    ("ResolveAlert", "who came first stays"),
];

/// The codes a reason may state.
const CODES: [&str; 14] = [
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "UNAUTHENTICATED",
];

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    set.file.into_iter().filter(|file| file.package() == "vendfleet.v1").collect()
}

fn messages() -> BTreeMap<String, DescriptorProto> {
    files()
        .into_iter()
        .flat_map(|file| file.message_type)
        .map(|message| (format!(".vendfleet.v1.{}", message.name()), message))
        .collect()
}

/// Service, call name, request type, response type.
fn calls() -> Vec<(String, String, String, String)> {
    let mut calls = Vec::new();
    for service in files().iter().flat_map(|file| &file.service) {
        for call in &service.method {
            calls.push((
                service.name().to_owned(),
                call.name().to_owned(),
                call.input_type().to_owned(),
                call.output_type().to_owned(),
            ));
        }
    }
    assert!(calls.len() > 50, "only {} calls found", calls.len());
    calls
}

/// Leading comments by descriptor path.
fn comments(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, String> {
    let info = file.source_code_info.as_ref().unwrap();
    info.location
        .iter()
        .filter_map(|location| Some((location.path.clone(), location.leading_comments.clone()?)))
        .filter(|(_, comment)| !comment.trim().is_empty())
        .collect()
}

fn path(parts: &[usize]) -> Vec<i32> {
    parts.iter().map(|part| i32::try_from(*part).unwrap()).collect()
}

fn field<'a>(message: &'a DescriptorProto, name: &str) -> Option<&'a FieldDescriptorProto> {
    message.field.iter().find(|field| field.name() == name)
}

#[test]
fn every_call_has_a_request_and_a_response_of_its_own() {
    let mut seen = BTreeSet::new();
    for (service, call, request, response) in calls() {
        assert_eq!(request, format!(".vendfleet.v1.{call}Request"), "{service}.{call}");
        assert_eq!(response, format!(".vendfleet.v1.{call}Response"), "{service}.{call}");
        assert!(seen.insert(request), "{service}.{call} shares its request");
    }
}

#[test]
fn everything_is_commented() {
    // Field numbers of FileDescriptorProto, DescriptorProto, EnumDescriptorProto and ServiceDescriptorProto.
    const MESSAGE: usize = 4;
    const ENUM: usize = 5;
    const SERVICE: usize = 6;
    const MEMBER: usize = 2;
    const ONEOF: usize = 8;
    const NESTED: usize = 3;
    const NESTED_ENUM: usize = 4;
    let mut bare = Vec::new();
    for file in files() {
        let comments = comments(&file);
        let mut check = |at: &[usize], name: String| {
            if !comments.contains_key(&path(at)) {
                bare.push(format!("{}: {name}", file.name()));
            }
        };
        for (m, message) in file.message_type.iter().enumerate() {
            check(&[MESSAGE, m], message.name().to_owned());
            for (f, field) in message.field.iter().enumerate() {
                check(&[MESSAGE, m, MEMBER, f], format!("{}.{}", message.name(), field.name()));
            }
            for (o, oneof) in message.oneof_decl.iter().enumerate() {
                let synthetic = message
                    .field
                    .iter()
                    .any(|f| f.proto3_optional() && f.oneof_index == i32::try_from(o).ok());
                if !synthetic {
                    check(&[MESSAGE, m, ONEOF, o], format!("{}.{}", message.name(), oneof.name()));
                }
            }
            for (n, nested) in message.nested_type.iter().enumerate() {
                let map = nested.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry);
                if !map {
                    check(&[MESSAGE, m, NESTED, n], format!("{}.{}", message.name(), nested.name()));
                }
            }
            for (n, nested) in message.enum_type.iter().enumerate() {
                check(&[MESSAGE, m, NESTED_ENUM, n], format!("{}.{}", message.name(), nested.name()));
            }
        }
        for (e, kind) in file.enum_type.iter().enumerate() {
            check(&[ENUM, e], kind.name().to_owned());
            for (v, value) in kind.value.iter().enumerate() {
                check(&[ENUM, e, MEMBER, v], value.name().to_owned());
            }
        }
        for (s, service) in file.service.iter().enumerate() {
            check(&[SERVICE, s], service.name().to_owned());
            for (c, call) in service.method.iter().enumerate() {
                check(&[SERVICE, s, MEMBER, c], format!("{}.{}", service.name(), call.name()));
            }
        }
    }
    assert!(bare.is_empty(), "without a comment: {bare:#?}");
}

#[test]
fn nothing_is_a_float() {
    for (name, message) in messages() {
        for field in &message.field {
            assert!(!matches!(field.r#type(), Type::Float | Type::Double), "{name}.{}", field.name());
        }
    }
}

#[test]
fn every_list_is_paged_and_says_its_bounds() {
    let messages = messages();
    let texts: BTreeMap<String, String> = field_comments();
    for (service, call, request, response) in calls() {
        if !call.starts_with("List") {
            continue;
        }
        let (request_type, response_type) = (&messages[&request], &messages[&response]);
        assert_eq!(
            field(request_type, "page_size").map(FieldDescriptorProto::r#type),
            Some(Type::Int32),
            "{service}.{call}"
        );
        assert_eq!(
            field(request_type, "page_token").map(FieldDescriptorProto::r#type),
            Some(Type::String),
            "{service}.{call}"
        );
        assert_eq!(
            field(response_type, "next_page_token").map(FieldDescriptorProto::r#type),
            Some(Type::String),
            "{service}.{call}"
        );
        let items = response_type.field.iter().filter(|field| field.label() == Label::Repeated).count();
        assert_eq!(items, 1, "{service}.{call} answers with one list");
        let text = &texts[&format!("{request}.page_size")];
        assert!(
            text.contains("0 (meaning ") && text.contains(") to "),
            "{service}.{call}: default and most in {text:?}"
        );
    }
}

fn field_comments() -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for file in files() {
        let comments = comments(&file);
        for (m, message) in file.message_type.iter().enumerate() {
            for (f, field) in message.field.iter().enumerate() {
                if let Some(text) = comments.get(&path(&[4, m, 2, f])) {
                    texts.insert(
                        format!(".vendfleet.v1.{}.{}", message.name(), field.name()),
                        text.trim().to_owned(),
                    );
                }
            }
        }
    }
    texts
}

#[test]
fn a_call_that_is_not_idempotent_by_nature_carries_a_key() {
    let messages = messages();
    let mut excused: BTreeSet<&str> = IDEMPOTENT_BY_NATURE.iter().map(|(call, _)| *call).collect();
    for (service, call, request, _) in calls() {
        let reads = ["Get", "List", "Watch", "Stream"].iter().any(|verb| call.starts_with(verb));
        let excused_here = excused.remove(call.as_str());
        let request = &messages[&request];
        let key = if call == "CreateOrder" { "idempotency_key" } else { "request_id" };
        let keyed =
            field(request, key).is_some_and(|field| field.r#type() == Type::String && field.number() == 1);
        assert_eq!(keyed, !reads && !excused_here, "{service}.{call}: {key} as field 1");
    }
    assert!(excused.is_empty(), "no such call: {excused:?}");
}

#[test]
fn updates_of_shared_things_carry_an_etag() {
    let messages = messages();
    for (service, call, request, _) in calls() {
        let changes_rollout =
            call.ends_with("Rollout") && !["CreateRollout", "GetRollout"].contains(&call.as_str());
        if call.starts_with("Update") || changes_rollout {
            assert!(field(&messages[&request], "etag").is_some(), "{service}.{call}");
        }
    }
}

#[test]
fn money_is_integers_in_a_stated_unit() {
    let amount_words = ["price", "total", "amount", "cash_in", "payout", "owed"];
    let mut found = 0;
    for (name, message) in messages() {
        for field in &message.field {
            let at = format!("{name}.{}", field.name());
            if field.name().ends_with("_minor") {
                assert_eq!(field.r#type(), Type::Int64, "{at}");
                found += 1;
            } else if amount_words.iter().any(|word| field.name().ends_with(word)) {
                let of_money = field.r#type() == Type::Message;
                assert!(of_money, "{at}: a bare number is named *_minor");
                found += usize::from(field.type_name() == ".vendfleet.v1.Money");
            } else if field.name().ends_with("_units") {
                assert!(matches!(field.r#type(), Type::Int64 | Type::Uint32), "{at}");
            }
        }
    }
    assert!(found > 30, "only {found} amounts found");
}

#[test]
fn moments_and_durations_say_their_unit() {
    let texts = field_comments();
    for (name, message) in messages() {
        for field in &message.field {
            let at = format!("{name}.{}", field.name());
            assert!(!field.name().ends_with("_at") && !field.name().ends_with("_time"), "{at} has no unit");
            if field.name().ends_with("time_ms") && !field.name().contains("uptime") {
                assert_eq!(field.r#type(), Type::Int64, "{at}");
                assert!(
                    texts[&at].to_lowercase().contains("milliseconds since the unix epoch"),
                    "{at}: {:?}",
                    texts[&at]
                );
            }
        }
    }
}

#[test]
fn ids_are_strings_for_people_and_bytes_only_for_machines() {
    for file in files() {
        let link = ["record", "machine_config", "machine_sync_service", "journal"]
            .iter()
            .any(|name| file.name().ends_with(&format!("/{name}.proto")));
        for message in &file.message_type {
            for field in &message.field {
                if !link && (field.name().ends_with("_id") || field.name().ends_with("epoch")) {
                    assert_eq!(field.r#type(), Type::String, "{}.{}", message.name(), field.name());
                }
            }
        }
    }
}

/// Wire names of all error reasons with their normalised comments.
fn reasons() -> BTreeMap<String, String> {
    let mut reasons = BTreeMap::new();
    for file in files() {
        let comments = comments(&file);
        for (e, kind) in file.enum_type.iter().enumerate().filter(|(_, kind)| kind.name() == "ErrorReason") {
            for (v, value) in kind.value.iter().enumerate() {
                let text = comments[&path(&[5, e, 2, v])].split_whitespace().collect::<Vec<_>>().join(" ");
                reasons.insert(value.name().strip_prefix("ERROR_REASON_").unwrap().to_owned(), text);
            }
        }
    }
    reasons
}

#[test]
fn every_reason_states_code_metadata_and_retry() {
    let reasons = reasons();
    for (reason, text) in &reasons {
        let (code, rest) = text.split_once(". ").unwrap();
        assert!(CODES.contains(&code), "{reason}: {code:?} is no gRPC code");
        let (when, rest) = rest.split_once(" Metadata: ").unwrap_or_else(|| panic!("{reason}: no metadata"));
        let (metadata, retry) = rest.split_once(". Retry: ").unwrap_or_else(|| panic!("{reason}: no retry"));
        assert!(!when.is_empty() && !metadata.is_empty(), "{reason}");
        assert!(["NO.", "BACKOFF.", "REREAD."].contains(&retry), "{reason}: {retry:?}");
        let must_back_off = ["RESOURCE_EXHAUSTED", "UNAVAILABLE"].contains(&code);
        assert!(!must_back_off || retry == "BACKOFF.", "{reason}: {code} is tried again with RetryInfo");
        assert_eq!(ErrorReason::from_wire_name(reason).unwrap().wire_name(), reason);
    }
    assert!(reasons.len() > 60, "only {} reasons found", reasons.len());
}

#[test]
fn reasons_the_design_names_have_its_codes() {
    let reasons = reasons();
    for (code, names) in [
        (
            "FAILED_PRECONDITION",
            "INSUFFICIENT_STOCK NO_IDLE_MACHINE ORDER_NOT_CANCELLABLE MACHINE_NOT_IN_STATE MACHINE_ALREADY_IDLE PRICE_CHANGED \
             CLAIM_TOKEN_EXPIRED SERIAL_MISMATCH",
        ),
        ("INVALID_ARGUMENT", "IDEMPOTENCY_KEY_REUSED CURRENCY_MISMATCH INVALID_FIELD BAD_HASH"),
        ("ABORTED", "LOCK_CONFLICT"),
        ("RESOURCE_EXHAUSTED", "RATE_LIMITED OVERLOADED"),
        ("UNAUTHENTICATED", "CLAIM_TOKEN_INVALID UNAUTHENTICATED"),
        ("ALREADY_EXISTS", "CLAIM_TOKEN_USED"),
        ("PERMISSION_DENIED", "MACHINE_REVOKED"),
        ("UNAVAILABLE", "UNAVAILABLE"),
    ] {
        for name in names.split_whitespace() {
            assert!(reasons[name].starts_with(&format!("{code}. ")), "{name}: {}", reasons[name]);
        }
    }
}

#[test]
fn every_call_names_its_reasons_and_only_known_ones_and_none_is_unused() {
    let reasons = reasons();
    let mut unused: BTreeSet<&str> = reasons.keys().map(String::as_str).collect();
    for file in files() {
        let comments = comments(&file);
        for (s, service) in file.service.iter().enumerate() {
            let shared = comments[&path(&[6, s])].clone();
            let own = (0..service.method.len())
                .map(|c| (service.method[c].name(), comments[&path(&[6, s, 2, c])].clone()));
            for (name, text) in std::iter::once(("", shared.clone())).chain(own) {
                let Some((_, listed)) =
                    text.split_once("Errors:").or_else(|| text.split_once("may also fail with"))
                else {
                    let covered = shared.contains("may also fail with") || name.is_empty() || name == "Watch";
                    assert!(covered, "{}.{name} names no reasons", service.name());
                    continue;
                };
                for word in
                    listed.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|word| word.len() > 3)
                {
                    let known = reasons.contains_key(word) || CODES.contains(&word);
                    assert!(known, "{}.{name} names {word}", service.name());
                    unused.remove(word);
                }
            }
        }
    }
    // Said by the transport or the gate in front of every call, and the value that is never sent.
    for anywhere in ["UNSPECIFIED", "MALFORMED_MESSAGE", "MESSAGE_TOO_LARGE"] {
        assert!(unused.remove(anywhere), "{anywhere} is named by a call after all");
    }
    assert!(unused.is_empty(), "no call names {unused:?}");
}

#[test]
fn service_names_are_all_services_and_no_more() {
    let named: BTreeSet<String> = SERVICE_NAMES.iter().map(ToString::to_string).collect();
    let defined: BTreeSet<String> = files()
        .iter()
        .flat_map(|file| &file.service)
        .map(|service| format!("vendfleet.v1.{}", service.name()))
        .collect();
    assert_eq!(named, defined);
}
