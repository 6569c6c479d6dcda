//! Bounds on time, size, number and rate; and what a failure tells.
#![allow(clippy::unwrap_used, missing_docs)]

mod shell_support;

use std::{sync::atomic::Ordering, time::Duration};

use prost::Message as _;
use server::{auth::Role, error::Reason};
use shell_support::{Bench, assert_reason, authorize, machine_header, until};
use tonic::{Code, Request};
use vendfleet_proto::v1::{self, machine_sync_service_client::MachineSyncServiceClient};

#[tokio::test]
async fn a_call_ends_at_the_callers_deadline_with_deadline_exceeded() {
    let bench = Bench::start(|config| config.tls.enabled = false).await;
    // tonic's client would run its own timer on the header and hide the server's answer.
    let stream = tokio::net::TcpStream::connect(bench.running().grpc_address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let message = v1::GetProductRequest { product_id: "stuck".to_owned() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let request = http::Request::post("http://localhost/vendfleet.v1.CatalogService/GetProduct")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "50m")
        .header("authorization", bench.token(Role::Operator))
        .body(http_body_util::Full::<bytes::Bytes>::from([&[0], &length[..], &message].concat()))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let details = assert_reason(&status, Reason::DeadlineExceeded);
    assert!(details.retry_info().unwrap().retry_delay.is_some());
}

#[tokio::test]
async fn a_call_without_a_deadline_ends_at_the_servers() {
    let bench = Bench::start(|config| config.limits.deadline_ms = 50).await;
    assert_reason(&bench.get_product("stuck").await.unwrap_err(), Reason::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline_and_at_its_age() {
    let bench = Bench::start(|config| config.limits.stream_age_ms = 1_000).await;
    let mut request = Request::new(v1::WatchRequest::default());
    authorize(&mut request, &machine_header());
    request.metadata_mut().insert("grpc-timeout", "50m".parse().unwrap());
    let mut client = MachineSyncServiceClient::new(bench.channel().await);
    let mut stream = client.watch(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    assert_reason(&stream.message().await.unwrap_err(), Reason::DeadlineExceeded);

    let mut stream = bench.watch().await.unwrap();
    stream.message().await.unwrap().unwrap();
    assert!(stream.message().await.unwrap().is_none(), "a stream that is old enough ends without a failure");
}

#[tokio::test]
async fn calls_above_the_load_limit_are_turned_away_before_work_with_a_time_to_come_back() {
    let bench = Bench::start(|config| config.limits.max_calls_in_flight = 1).await;
    let held = bench.get_product("held");
    let second = async {
        until("the first call to be worked on", || async { bench.levers.held.load(Ordering::SeqCst) == 1 })
            .await;
        let status = bench.get_product("any").await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = assert_reason(&status, Reason::Overloaded);
        assert!(details.retry_info().unwrap().retry_delay.unwrap() >= Duration::from_millis(500));
        let mut sync = Request::new(v1::SyncRequest::default());
        authorize(&mut sync, &machine_header());
        MachineSyncServiceClient::new(bench.channel().await).sync(sync).await.unwrap();
        bench.levers.release.notify_one();
    };
    let (held, ()) = tokio::join!(held, second);
    held.unwrap();
    bench.get_product("any").await.unwrap();
}

#[tokio::test]
async fn a_caller_that_asks_too_often_is_told_when_to_come_back_and_others_are_not_hit() {
    let bench = Bench::start(|config| (config.limits.rate_per_s, config.limits.rate_burst) = (1, 3)).await;
    for _ in 0..3 {
        bench.get_product("any").await.unwrap();
    }
    let status = bench.get_product("any").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let details = assert_reason(&status, Reason::RateLimited);
    assert!(details.retry_info().unwrap().retry_delay.unwrap() <= Duration::from_secs(1));
    assert_eq!(details.error_info().unwrap().metadata["limit"], "1");
    bench.get_product_with("any", |request| authorize(request, &machine_header())).await.unwrap();
}

#[tokio::test]
async fn a_service_may_call_more_often_than_a_person() {
    let bench = Bench::start(|config| {
        let limits = &mut config.limits;
        (limits.rate_per_s, limits.rate_burst) = (1, 1);
        (limits.service_rate_per_s, limits.service_rate_burst) = (1, 4);
    })
    .await;
    let ask = |role: Role| {
        let header = bench.token(role);
        bench.get_product_with("any", move |request| authorize(request, &header))
    };
    for _ in 0..4 {
        ask(Role::Service).await.unwrap();
    }
    assert_reason(&ask(Role::Service).await.unwrap_err(), Reason::RateLimited);
    ask(Role::Viewer).await.unwrap();
    assert_reason(&ask(Role::Viewer).await.unwrap_err(), Reason::RateLimited);
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_and_sync_may_be_larger() {
    let bench = Bench::start(|_| {}).await;
    let status = bench.get_product(&"x".repeat(70_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let details = assert_reason(&status, Reason::MessageTooLarge);
    assert_eq!(details.error_info().unwrap().metadata["limit_bytes"], "65536");

    let sync = |bytes: usize| {
        let mut request =
            Request::new(v1::SyncRequest { firmware: "x".repeat(bytes), ..v1::SyncRequest::default() });
        authorize(&mut request, &machine_header());
        request
    };
    let mut client = MachineSyncServiceClient::new(bench.channel().await);
    client.sync(sync(200_000)).await.unwrap();
    let status = client.sync(sync(270_000)).await.unwrap_err();
    let details = assert_reason(&status, Reason::MessageTooLarge);
    assert_eq!(details.error_info().unwrap().metadata["limit_bytes"], "262144");
}

#[tokio::test]
async fn headers_above_the_limit_end_the_call() {
    let bench = Bench::start(|_| {}).await;
    let many = |request: &mut Request<v1::GetProductRequest>| {
        request.metadata_mut().insert("x-filler", "x".repeat(9_000).parse().unwrap());
    };
    assert!(bench.get_product_with("any", many).await.is_err());
    bench.get_product("any").await.unwrap();
}

#[tokio::test]
async fn connections_of_one_address_are_capped_and_their_places_given_back() {
    let bench = Bench::start(|config| config.limits.max_connections_per_ip = 2).await;
    let first = bench.channel().await;
    let second = bench.channel().await;
    assert!(bench.endpoint().connect().await.is_err(), "the third is one too many");
    drop((first, second));
    until("a place to be free", || async { bench.endpoint().connect().await.is_ok() }).await;
}

#[tokio::test]
async fn a_peer_that_never_finishes_its_handshake_is_cut() {
    let bench = Bench::start(|config| config.tls.handshake_timeout_ms = 100).await;
    let mut silent = tokio::net::TcpStream::connect(bench.running().grpc_address).await.unwrap();
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut byte);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "closed, not answered");
}

#[tokio::test]
async fn a_failure_inside_tells_nothing_but_its_trace_id() {
    let bench = Bench::start(|_| {}).await;
    for id in ["panic", "internal"] {
        let status = bench.get_product(id).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_reason(&status, Reason::Internal);
        assert!(!format!("{status:?}").contains("secret"), "{status:?}");
        assert!(!String::from_utf8_lossy(status.details()).contains("secret"));
    }
    bench.get_product("any").await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_not_the_message_are_malformed_not_internal() {
    let bench = Bench::start(|_| {}).await;
    // Field 1 as a varint where the contract has text.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Wrong {
        #[prost(uint64, tag = "1")]
        number: u64,
    }
    let mut grpc = tonic::client::Grpc::new(bench.channel().await);
    grpc.ready().await.unwrap();
    let mut request = Request::new(Wrong { number: 300 });
    authorize(&mut request, &bench.token(Role::Operator));
    let path = http::uri::PathAndQuery::from_static("/vendfleet.v1.CatalogService/GetProduct");
    let codec = tonic_prost::ProstCodec::<Wrong, ()>::default();
    let status = grpc.unary(request, path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_reason(&status, Reason::MalformedMessage);
}
