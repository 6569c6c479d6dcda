#![allow(clippy::unwrap_used)]
use super::{Failure, Refusal};
use crate::exit::Exit;
use std::io;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

fn refused(code: Code, reason: &str, change: impl FnOnce(&mut ErrorDetails)) -> Failure {
    let mut details = ErrorDetails::new();
    let metadata = [("trace_id".to_owned(), "4bf92f35".to_owned()), ("available".to_owned(), "2".to_owned())];
    details.set_error_info(reason, "vendfleet.dev", metadata);
    change(&mut details);
    let status = Status::with_error_details(code, "only 2 units are left", details);
    Failure::Call(Box::new(Refusal::new(&status)))
}

fn said(failure: &Failure, json: bool) -> (String, Exit) {
    let mut err = Vec::new();
    let exit = failure.report(json, &mut err);
    (String::from_utf8(err).unwrap(), exit)
}

#[test]
fn a_refusal_says_reason_message_values_and_trace() {
    let failure = refused(Code::FailedPrecondition, "INSUFFICIENT_STOCK", |_| {});
    let (text, exit) = said(&failure, false);
    assert_eq!(
        text,
        "vendctl: INSUFFICIENT_STOCK: only 2 units are left\n  available = 2\n  trace 4bf92f35\n"
    );
    assert_eq!(exit, Exit::Refused);
}

#[test]
fn every_broken_rule_has_its_line() {
    let failure = refused(Code::InvalidArgument, "INVALID_FIELD", |details| {
        details.add_bad_request_violation("config.slots[3].product_id", "must be a product of the catalogue");
        details.add_bad_request_violation("name", "must be 1 to 64 bytes");
    });
    let (text, exit) = said(&failure, false);
    assert!(text.contains("\n  config.slots[3].product_id: must be a product of the catalogue\n"), "{text}");
    assert!(text.contains("\n  name: must be 1 to 64 bytes\n"), "{text}");
    assert_eq!(exit, Exit::Usage);
}

#[test]
fn programs_get_the_same_as_one_object() {
    let failure = refused(Code::ResourceExhausted, "OVERLOADED", |details| {
        details.set_retry_info(Some(Duration::from_millis(1500)));
        details.add_bad_request_violation("name", "must be 1 to 64 bytes");
    });
    let (text, exit) = said(&failure, true);
    let error = &serde_json::from_str::<serde_json::Value>(&text).unwrap()["error"];
    assert_eq!(error["reason"], "OVERLOADED");
    assert_eq!(error["code"], "RESOURCE_EXHAUSTED");
    assert_eq!(error["retry_after_ms"], 1500);
    assert_eq!(error["trace_id"], "4bf92f35");
    assert_eq!(error["metadata"]["available"], "2");
    assert_eq!(error["fields"][0]["field"], "name");
    assert_eq!(exit, Exit::Unavailable);
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn the_exit_tells_who_has_to_do_something() {
    let exit = |code, retry: bool| {
        let failure = refused(code, "ANY", |details| {
            if retry {
                details.set_retry_info(Some(Duration::from_secs(1)));
            }
        });
        said(&failure, false).1.code()
    };
    assert_eq!(exit(Code::InvalidArgument, false), 2);
    assert_eq!(exit(Code::NotFound, false), 3);
    assert_eq!(exit(Code::AlreadyExists, false), 3);
    assert_eq!(exit(Code::Unimplemented, false), 3);
    assert_eq!(exit(Code::Unauthenticated, false), 4);
    assert_eq!(exit(Code::PermissionDenied, false), 4);
    assert_eq!(exit(Code::Unavailable, true), 5);
    assert_eq!(exit(Code::DeadlineExceeded, true), 5);
    assert_eq!(exit(Code::Aborted, true), 5, "a lost race");
    assert_eq!(exit(Code::Aborted, false), 3, "a changed etag");
    assert_eq!(exit(Code::Internal, false), 1);
}

#[test]
fn a_write_that_may_have_happened_says_how_to_repeat_it() {
    let Failure::Call(mut refusal) = refused(Code::Unavailable, "UNAVAILABLE", |_| {}) else {
        unreachable!()
    };
    refusal.request_id = Some("0193".into());
    assert!(said(&Failure::Call(refusal.clone()), false).0.contains("--request-id 0193"));
    refusal.code = Code::FailedPrecondition;
    assert!(!said(&Failure::Call(refusal), false).0.contains("--request-id"), "a refusal did nothing");
}

#[test]
fn a_status_without_details_is_still_told() {
    let failure = Failure::Call(Box::new(Refusal::new(&Status::unavailable("connection reset"))));
    assert_eq!(
        said(&failure, false),
        ("vendctl: UNAVAILABLE: connection reset\n".to_owned(), Exit::Unavailable)
    );
}

#[test]
fn a_server_can_not_move_the_cursor() {
    let failure = Failure::Call(Box::new(Refusal::new(&Status::not_found("gone\u{1b}[2J"))));
    assert!(!said(&failure, false).0.contains('\u{1b}'));
}

#[test]
fn a_reader_who_has_enough_is_no_failure() {
    let failure = Failure::Output(io::ErrorKind::BrokenPipe.into());
    assert_eq!(said(&failure, false), (String::new(), Exit::Ok));
    assert_eq!(said(&Failure::Output(io::ErrorKind::StorageFull.into()), false).1, Exit::Failed);
}
