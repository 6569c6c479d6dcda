//! One caller's greed is nobody else's trouble: every attack here has a bystander beside it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "shell_greed/peer.rs"]
mod peer;
mod shell_support;

use std::time::Duration;

use peer::*;
use prost::Message as _;
use server::{
    auth::{CredentialState, Role},
    config::Config,
    error::Reason,
};
use shell_support::{Bench, CREDENTIAL, assert_reason, machine_header};

/// Plain, so that the test speaks HTTP/2 itself; slow enough that only the bound under test acts.
async fn bench(change: impl FnOnce(&mut Config)) -> Bench {
    Bench::start(|config| {
        config.tls.enabled = false;
        config.limits.write_timeout_ms = 60_000;
        change(config);
    })
    .await
}

async fn unread_watch(bench: &Bench) -> (Peer, h2::RecvStream) {
    let peer = Peer::connect(bench, 0).await;
    let watch = peer.ask(WATCH, Some(&machine_header()), Some(Vec::new())).await.opened().await;
    until_metric(bench, "vendfleet_open_streams", |open| open == 1.0).await;
    (peer, watch)
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_at_its_age() {
    let bench = bench(|config| config.limits.stream_age_ms = 1_000).await;
    let (_peer, watch) = unread_watch(&bench).await;
    ended(watch).await;
    until_metric(&bench, "vendfleet_open_streams", |open| open == 0.0).await;
    until_metric(&bench, "vendfleet_unread_bytes", |unread| unread == 0.0).await;
    others_are_unhurt(&bench).await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_when_its_credential_falls() {
    let bench = bench(|_| {}).await;
    let (_peer, watch) = unread_watch(&bench).await;
    bench.levers.credential.lock().unwrap().as_mut().unwrap().state = CredentialState::Revoked;
    bench.running().live_streams.end(CREDENTIAL);
    ended(watch).await;
    others_are_unhurt(&bench).await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_hold_up_a_drain() {
    let mut bench = bench(|config| config.server.drain_ms = 60_000).await;
    let (_peer, watch) = unread_watch(&bench).await;
    let silent = Peer::connect(&bench, 0).await;
    let stopped = tokio::time::timeout(PATIENCE, bench.stop()).await;
    assert!(stopped.expect("it does not take all of its drain time"));
    ended(watch).await;
    drop(silent);
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_taken_is_reset_and_its_connection_goes_on() {
    let bench = bench(|config| config.limits.write_timeout_ms = 1_000).await;
    let (peer, watch) = unread_watch(&bench).await;
    ended(watch).await;
    let refused = peer.ask("/no.such/Call", None, Some(Vec::new())).await.refused().await;
    assert_eq!(refused, Reason::Unimplemented.name(), "the connection still answers");
    until_metric(&bench, "vendfleet_streams_cut_total{kind=\"unread\"}", |cut| cut == 1.0).await;
}

#[tokio::test]
async fn an_answer_holds_its_place_until_it_is_taken_and_a_peer_that_takes_none_loses_its_connection() {
    let bench = bench(|config| config.limits.write_timeout_ms = 1_500).await;
    // Ten bytes fit, so all of the answer is in the connection's buffers and its handler is long done.
    let peer = Peer::connect(&bench, 10).await;
    let token = bench.token(Role::Customer);
    let body = peer.ask(GET_PRODUCT, Some(&token), Some(product("large"))).await.opened().await;
    until_metric(&bench, "vendfleet_unread_bytes", |unread| unread > 100_000.0).await;
    assert_eq!(
        metric(&bench, "vendfleet_calls_in_flight").await,
        1.0,
        "an unread answer is a call in flight"
    );
    others_are_unhurt(&bench).await;
    ended(body).await;
    until_metric(&bench, "vendfleet_unread_bytes", |unread| unread == 0.0).await;
    until_metric(&bench, "vendfleet_calls_in_flight", |open| open == 0.0).await;
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_arrives() {
    let bench = bench(|config| config.limits.write_timeout_ms = 1_000).await;
    let peer = Peer::connect(&bench, 16_384).await;
    let token = bench.token(Role::Customer);
    let mut body = peer.ask(GET_PRODUCT, Some(&token), Some(product("large"))).await.opened().await;
    let mut got = 0;
    let mut pause = tokio::time::interval(Duration::from_millis(150));
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("a reader that goes on reading is not cut");
        got += chunk.len();
        pause.tick().await;
        body.flow_control().release_capacity(chunk.len()).unwrap();
    }
    assert!(got > shell_support::LARGE_BYTES, "{got}");
}

#[tokio::test]
async fn who_leaves_answers_unread_gets_no_more_of_them() {
    let bench = bench(|config| config.limits.response_bytes_per_caller = 300_000).await;
    let peer = Peer::connect(&bench, 10).await;
    let token = bench.token_of("greedy", Role::Customer);
    let mut unread = Vec::new();
    for _ in 0..2 {
        unread.push(peer.ask(GET_PRODUCT, Some(&token), Some(product("large"))).await.opened().await);
    }
    until_metric(&bench, "vendfleet_unread_bytes", |unread| unread > 300_000.0).await;
    let other = Peer::connect(&bench, 65_535).await;
    let refused = other.ask(GET_PRODUCT, Some(&token), Some(product("large"))).await.refused().await;
    assert_eq!(refused, Reason::CallerLimit.name(), "by another connection neither");
    others_are_unhurt(&bench).await;
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_closed() {
    let bench = bench(|config| {
        config.limits.write_timeout_ms = 1_000;
        config.limits.response_bytes_per_caller = 1 << 30;
        (config.limits.rate_per_s, config.limits.rate_burst) = (10_000, 10_000);
    })
    .await;
    let peer = Peer::connect_until(&bench, 1 << 30, 1 << 20).await;
    let token = bench.token(Role::Customer);
    let mut answers = Vec::new();
    for _ in 0..100 {
        answers.push(peer.ask(GET_PRODUCT, Some(&token), Some(product("large"))).await);
    }
    // Twenty megabytes, more than the system buffers.
    until_metric(&bench, "vendfleet_unread_bytes", |unread| unread > 1_000_000.0).await;
    others_are_unhurt(&bench).await;
    until_metric(&bench, "vendfleet_connections_cut_total{kind=\"socket_stalled\"}", |cut| cut == 1.0).await;
    until_metric(&bench, "vendfleet_unread_bytes", |unread| unread == 0.0).await;
    until_metric(&bench, "vendfleet_calls_in_flight", |open| open == 0.0).await;
}

#[tokio::test]
async fn strangers_streams_take_no_machines_places() {
    let bench = bench(|config| {
        let limits = &mut config.limits;
        (limits.stranger_streams, limits.stranger_streams_per_ip) = (40, 16);
        (limits.person_streams, limits.service_streams) = (1, 1);
        limits.max_open_streams = 43;
    })
    .await;
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..4 {
        let peer = Peer::connect(&bench, 65_535).await;
        for path in [HEALTH_WATCH, REFLECTION, HEALTH_WATCH, REFLECTION, HEALTH_WATCH, REFLECTION] {
            let asked = peer.ask(path, None, (path == HEALTH_WATCH).then(Vec::new)).await;
            if held.len() < 16 {
                let Asked { body, answer } = asked;
                held.push((body, answer.await.unwrap().into_body()));
            } else {
                assert_eq!(asked.refused().await, Reason::CallerLimit.name());
                refused += 1;
            }
        }
        std::mem::forget(peer);
    }
    assert_eq!((held.len(), refused), (16, 8));
    bench.watch().await.unwrap().message().await.unwrap().expect("a machine's Watch opens");
    others_are_unhurt(&bench).await;
}

#[tokio::test]
async fn a_newer_watch_of_a_machine_ends_its_oldest() {
    let bench = bench(|config| config.limits.watches_per_machine = 2).await;
    let mut first = bench.watch().await.unwrap();
    first.message().await.unwrap().unwrap();
    let mut second = bench.watch().await.unwrap();
    second.message().await.unwrap().unwrap();
    for _ in 0..30 {
        let mut newer = bench.watch().await.unwrap();
        newer.message().await.unwrap().unwrap();
        let replaced =
            tokio::time::timeout(PATIENCE, first.message()).await.expect("it is ended").unwrap_err();
        let details = assert_reason(&replaced, Reason::CallerLimit);
        assert!(details.retry_info().is_some());
        (first, second) = (second, newer);
    }
    until_metric(&bench, "vendfleet_open_streams", |open| open == 2.0).await;
}

#[tokio::test]
async fn watches_of_one_machine_that_nobody_reads_do_not_pile_up() {
    let bench = bench(|config| config.limits.watches_per_machine = 2).await;
    let peer = Peer::connect(&bench, 0).await;
    let mut most = 0.0_f64;
    for _ in 0..40 {
        let asked = peer.ask(WATCH, Some(&machine_header()), Some(Vec::new())).await;
        drop(asked.answer.await.unwrap());
        most = most.max(metric(&bench, "vendfleet_open_streams").await);
    }
    assert!(most <= 8.0, "{most} of one machine's streams at once");
}

#[tokio::test]
async fn headers_without_a_body_hold_only_their_own_callers_places() {
    let bench = bench(|config| {
        let limits = &mut config.limits;
        limits.max_calls_in_flight = 64;
        (limits.calls_per_caller, limits.stranger_calls, limits.stranger_calls_per_ip) = (16, 64, 32);
        limits.syncs_per_machine = 2;
    })
    .await;
    let peer = Peer::connect(&bench, 65_535).await;
    let greedy = bench.token_of("greedy", Role::Customer);
    let machine = machine_header();
    let mut held = Vec::new();
    for (path, authorization, places) in
        [(ENROLL, None, 32), (GET_PRODUCT, Some(greedy.as_str()), 16), (SYNC, Some(machine.as_str()), 2)]
    {
        for _ in 0..places {
            held.push(peer.ask(path, authorization, None).await);
        }
        let one_more = peer.ask(path, authorization, None).await.refused().await;
        assert_eq!(one_more, Reason::CallerLimit.name(), "{path}");
    }
    others_are_unhurt(&bench).await;
    let (_, text) = bench.http_get("/metrics").await;
    for line in [
        r#"vendfleet_places{kind="call",class="stranger"} 32"#,
        r#"vendfleet_places{kind="call",class="person"} 16"#,
        r#"vendfleet_places{kind="sync",class="machine"} 2"#,
        r#"vendfleet_refused_total{class="stranger",cause="limits.stranger_calls_per_ip"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn no_class_of_callers_takes_every_place() {
    let bench = bench(|config| {
        config.limits.max_calls_in_flight = 16;
        config.limits.service_calls_per_caller = 1_000;
    })
    .await;
    let peer = Peer::connect(&bench, 65_535).await;
    let service = bench.token_of("shop", Role::Service);
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(peer.ask(GET_PRODUCT, Some(&service), None).await);
    }
    let one_more = peer.ask(GET_PRODUCT, Some(&service), None).await.refused().await;
    assert_eq!(one_more, Reason::Overloaded.name());
    others_are_unhurt(&bench).await;
}

#[tokio::test]
async fn connections_that_ask_nothing_are_closed_and_those_that_do_are_not() {
    let bench = bench(|config| config.limits.stranger_idle_timeout_ms = 1_000).await;
    let mut watch = bench.watch().await.unwrap();
    watch.message().await.unwrap().unwrap();
    // Pings keep nobody.
    let mut pinging = {
        let stream = tokio::net::TcpStream::connect(bench.running().grpc_address).await.unwrap();
        let (_send, mut connection) = h2::client::handshake(stream).await.unwrap();
        let mut pings = connection.ping_pong().unwrap();
        let closed = tokio::spawn(async move { drop(connection.await) });
        let pinging = tokio::spawn(async move { while pings.ping(h2::Ping::opaque()).await.is_ok() {} });
        (closed, pinging)
    };
    let mut silent = tokio::net::TcpStream::connect(bench.running().grpc_address).await.unwrap();
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut byte);
    let read = tokio::time::timeout(PATIENCE, read).await.expect("a silent connection is closed");
    assert!(matches!(read, Ok(0) | Err(_)), "closed, not answered");
    tokio::time::timeout(PATIENCE, &mut pinging.0).await.expect("one that only pings, too").unwrap();
    pinging.1.abort();
    assert_eq!(metric(&bench, "vendfleet_open_streams").await, 1.0, "a Watch is no silence");
    bench.running().live_streams.end(CREDENTIAL);
    assert_reason(&watch.message().await.unwrap_err(), Reason::MachineRevoked);
}

#[tokio::test]
async fn silent_connections_of_the_http_listener_are_closed_and_capped() {
    let bench = bench(|config| {
        config.limits.stranger_idle_timeout_ms = 2_000;
        config.limits.http_connections_per_ip = 3;
    })
    .await;
    let address = bench.running().http_address;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let mut fourth = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut fourth, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)), "one too many");
    for mut silent in silent {
        let read = tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read(&mut silent, &mut byte));
        assert!(matches!(read.await.expect("closed in time"), Ok(0) | Err(_)));
    }
    assert_eq!(bench.http_get("/healthz").await.0, 200);
}

#[tokio::test]
async fn reflection_answers_a_stranger_only_so_many_bytes() {
    let bench = bench(|config| {
        (config.limits.stranger_bytes_per_s, config.limits.stranger_bytes_burst) = (1_024, 100_000);
    })
    .await;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};
    let symbol = MessageRequest::FileContainingSymbol("vendfleet.v1.FleetService".to_owned());
    let question = ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let question = framed(&question.encode_to_vec());
    let peer = Peer::connect(&bench, 1 << 24).await;
    let Asked { body, answer } = peer.ask(REFLECTION, None, None).await;
    let (mut body, mut answers) = (body.unwrap(), answer.await.unwrap().into_body());
    let asking = tokio::spawn(async move {
        while body.send_data(question.clone(), false).is_ok() {
            tokio::task::yield_now().await;
        }
    });
    let mut got = 0;
    let read = async {
        while let Some(Ok(chunk)) = answers.data().await {
            got += chunk.len();
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it is ended");
    asking.abort();
    assert!(got < 400_000, "{got} bytes of answers");
    let again = peer.ask(HEALTH_WATCH, None, Some(Vec::new())).await.refused().await;
    assert_eq!(again, Reason::CallerLimit.name());
    others_are_unhurt(&bench).await;
}

#[tokio::test]
async fn wrong_credentials_are_slowed_and_right_ones_from_the_same_address_are_not() {
    let bench = bench(|config| (config.limits.failures_per_s, config.limits.failures_burst) = (1, 5)).await;
    let machine = machine_header();
    bench.get_product_with("any", |request| shell_support::authorize(request, &machine)).await.unwrap();
    others_are_unhurt(&bench).await;
    let wrong = |n: u32| format!("Machine {}.{}", uuid::Uuid::from_u128(n.into()), "A".repeat(43));
    let mut reasons = Vec::new();
    for n in 100..130 {
        let status = bench
            .get_product_with("any", |request| shell_support::authorize(request, &wrong(n)))
            .await
            .unwrap_err();
        use tonic_types::StatusExt as _;
        reasons.push(status.get_error_details().error_info().unwrap().reason.clone());
    }
    assert!(reasons[..5].iter().all(|reason| reason == "UNAUTHENTICATED"), "{reasons:?}");
    assert!(reasons.iter().filter(|reason| *reason == "RATE_LIMITED").count() >= 10, "{reasons:?}");
    // Seen before, and right then: let in, from the same address.
    bench.get_product_with("any", |request| shell_support::authorize(request, &machine)).await.unwrap();
    let limited = metric(&bench, "vendfleet_auth_failures_total{kind=\"RATE_LIMITED\"}").await;
    assert!(limited >= 10.0, "{limited}");
    assert!(metric(&bench, "vendfleet_auth_failures_total{kind=\"UNAUTHENTICATED\"}").await >= 5.0);
}

#[tokio::test]
async fn guesses_of_claim_tokens_are_slowed_like_other_wrong_credentials() {
    let bench = bench(|config| (config.limits.failures_per_s, config.limits.failures_burst) = (1, 5)).await;
    others_are_unhurt(&bench).await;
    let machine = machine_header();
    bench.get_product_with("any", |request| shell_support::authorize(request, &machine)).await.unwrap();
    let guess = vendfleet_proto::v1::EnrollRequest { claim_token: "wrong".to_owned(), ..Default::default() };
    let peer = Peer::connect(&bench, 65_535).await;
    let mut reasons = Vec::new();
    for _ in 0..30 {
        reasons.push(peer.ask(ENROLL, None, Some(guess.encode_to_vec())).await.refused().await);
    }
    assert!(reasons[..5].iter().all(|reason| reason == "CLAIM_TOKEN_INVALID"), "{reasons:?}");
    assert!(reasons.iter().filter(|reason| *reason == "RATE_LIMITED").count() >= 10, "{reasons:?}");
    bench.get_product_with("any", |request| shell_support::authorize(request, &machine)).await.unwrap();
}
