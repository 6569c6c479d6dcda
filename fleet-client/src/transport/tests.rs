//! The real transport against a server in this process, over real TLS.

#![allow(clippy::unwrap_used)]

mod server;

use super::grpc::GrpcTransport;
use super::line::Line;
use super::{FailureKind, Hints, Standing, SyncCall, Transport};
use crate::context::Context;
use crate::credentials::{ClientCertificate, Endpoint, Identity, Secret};
use crate::journal::RawRecord;
use server::{Authority, Server};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use vend_core::id::{BootId, Epoch};
use vend_core::machine::Order;
use vend_core::record::{EpochReason, ParentEpoch};

const DEADLINE: Duration = Duration::from_secs(10);

fn endpoint(server: &Server, ca_pem: &str) -> Endpoint {
    let url = format!("https://localhost:{}", server.port);
    Endpoint { url, ca_pem: ca_pem.to_owned(), server_name: None }
}

fn identity() -> Identity {
    Identity {
        machine_id: "m".to_owned(),
        credential_id: "c-1".to_owned(),
        secret: Secret([255; 32]),
        certificate: None,
    }
}

fn transport(server: &Server, line: &Line) -> GrpcTransport {
    let endpoint = endpoint(server, &server.authority.pem);
    let transport = GrpcTransport::new(Context::seeded(1), &endpoint, line.clone()).unwrap();
    transport.speak_as(&endpoint, &identity()).unwrap();
    transport
}

fn call() -> SyncCall {
    let parent = ParentEpoch {
        epoch: Epoch([8; 16]),
        last_common_seq: 4,
        highest_seq: 6,
        reason: EpochReason::TailLost,
    };
    let record = RawRecord { seq: 1, kind: 1, schema: 1, body: vec![1, 2, 3], hash: [5; 32] };
    SyncCall {
        epoch: Epoch([9; 16]),
        oldest_seq: 1,
        last_seq: 1,
        accepted_through: 0,
        first_seq: 1,
        previous_hash: [0; 32],
        records: vec![record],
        parent: Some(parent),
        verdicts_seen_through: 3,
        server_incarnation: "life".to_owned(),
        now: Context::manual(1, 77).stamp(),
        state: None,
        firmware: "test/1".to_owned(),
    }
}

#[tokio::test]
async fn a_call_says_who_speaks_and_under_which_trace_and_the_answer_is_understood() {
    let server = Server::start(None).await;
    let answer = transport(&server, &Line::default()).sync(call()).await.unwrap();
    assert_eq!((answer.epoch, answer.accepted_through, answer.durable_through), (Epoch([9; 16]), 1, 1));
    assert_eq!((answer.next_sync_after_ms, answer.keep_days), (1_234, 30));
    assert_eq!(answer.standing, Standing::Cloned);
    assert_eq!(answer.unreadable_commands, [2], "a command this firmware can't read spoils no other");
    assert!(matches!(answer.commands.as_slice(), [c] if c.number == 1 && c.order == Order::OutOfService));
    let seen = server.seen();
    assert_eq!(seen.authorization, ["Machine c-1.__________________________________________8"]);
    assert_eq!(seen.trace_ids[0].len(), 32);
    let sync = &seen.syncs[0];
    assert_eq!(sync.records[0].body.as_ref(), [1, 2, 3]);
    assert_eq!(sync.parent.as_ref().unwrap().highest_seq, 6);
    assert_eq!((sync.verdicts_seen_through, sync.server_incarnation.as_str()), (3, "life"));
}

#[tokio::test]
async fn no_other_authority_than_the_pinned_one_is_trusted() {
    let server = Server::start(None).await;
    let endpoint = endpoint(&server, &Authority::new().pem);
    let transport = GrpcTransport::new(Context::seeded(1), &endpoint, Line::default()).unwrap();
    transport.speak_as(&endpoint, &identity()).unwrap();
    transport.sync(call()).await.unwrap_err();
    assert!(server.seen().syncs.is_empty());
}

#[tokio::test]
async fn plain_text_is_refused_before_anything_is_sent() {
    let endpoint =
        Endpoint { url: "http://localhost:1".to_owned(), ca_pem: String::new(), server_name: None };
    let refused = GrpcTransport::new(Context::seeded(1), &endpoint, Line::default()).err().unwrap();
    assert_eq!(
        (refused.kind, refused.message.as_str()),
        (FailureKind::Refused, "url must begin with https://")
    );
}

#[tokio::test]
async fn each_kind_of_refusal_asks_for_its_own_behaviour() {
    let server = Server::start(None).await;
    let transport = transport(&server, &Line::default());
    let info =
        |reason: &str| ErrorDetails::with_error_info(reason, "vendfleet", std::collections::HashMap::new());
    let mut overloaded = info("OVERLOADED");
    overloaded.set_retry_info(Some(Duration::from_millis(1_500)));
    let cases = [
        (
            Code::ResourceExhausted,
            overloaded,
            FailureKind::Later,
            "OVERLOADED",
            Some(Duration::from_millis(1_500)),
        ),
        (Code::Unavailable, ErrorDetails::new(), FailureKind::Later, "Unavailable", None),
        (Code::Aborted, info("LOCK_CONFLICT"), FailureKind::Later, "LOCK_CONFLICT", None),
        (Code::PermissionDenied, info("MACHINE_REVOKED"), FailureKind::Revoked, "MACHINE_REVOKED", None),
        (
            Code::Unauthenticated,
            info("UNAUTHENTICATED"),
            FailureKind::Unauthenticated,
            "UNAUTHENTICATED",
            None,
        ),
        (Code::InvalidArgument, info("BAD_HASH"), FailureKind::Invalid, "BAD_HASH", None),
        (Code::Unimplemented, ErrorDetails::new(), FailureKind::Refused, "Unimplemented", None),
    ];
    for (code, details, kind, reason, retry_after) in cases {
        server.refuse(Status::with_error_details(code, "no", details));
        let error = transport.sync(call()).await.unwrap_err();
        assert_eq!((error.kind, error.reason.as_str(), error.retry_after), (kind, reason, retry_after));
    }
}

#[tokio::test]
async fn a_pulled_cable_breaks_what_is_open_and_a_plugged_one_works_again() {
    let server = Server::start(None).await;
    let line = Line::default();
    let transport = transport(&server, &line);
    let mut hints = transport.watch(Epoch([9; 16]), BootId([1; 16])).await.unwrap();
    assert_eq!(hints.next().await.unwrap().map(|h| h.waiting), Some(true));
    line.pull();
    let broken = timeout(DEADLINE, hints.next()).await.expect("at once");
    assert!(!matches!(broken, Ok(Some(_))), "{broken:?}");
    let error = transport.sync(call()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Later);
    assert!(server.seen().syncs.is_empty(), "nothing got through");
    line.plug();
    // The connection that broke may still be in the way of the first call.
    let again = async {
        while transport.sync(call()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, again).await.expect("works again");
}

#[tokio::test]
async fn a_lost_answer_was_heard_by_the_server() {
    let server = Server::start(None).await;
    let line = Line::default();
    let transport = transport(&server, &line);
    line.lose_answers(true);
    let error = transport.sync(call()).await.unwrap_err();
    assert_eq!((error.kind, error.reason.as_str()), (FailureKind::Later, "ANSWER_LOST"));
    assert_eq!(server.seen().syncs.len(), 1);
}

#[tokio::test]
async fn a_certificate_from_a_request_is_what_mutual_tls_asks_for() {
    let authority = Authority::new();
    let server = Server::start(Some(authority)).await;
    let endpoint = endpoint(&server, &server.authority.pem);
    let transport = GrpcTransport::new(Context::seeded(1), &endpoint, Line::default()).unwrap();
    transport.speak_as(&endpoint, &identity()).unwrap();
    transport.sync(call()).await.expect_err("the server asks for a certificate");

    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let certificate_pem = server.authority.sign(request.der());
    let certificate = Some(ClientCertificate { certificate_pem, key_pem: key.serialize_pem() });
    transport.speak_as(&endpoint, &Identity { certificate, ..identity() }).unwrap();
    transport.sync(call()).await.unwrap();
}
