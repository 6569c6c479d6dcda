//! Trace ids, health, metrics, reflection, gRPC-Web, certificates, and an orderly end.
#![allow(clippy::unwrap_used, missing_docs)]

mod shell_support;

use std::{sync::atomic::Ordering, time::Duration};

use server::error::Reason;
use shell_support::{Bench, CATALOG, assert_reason, until};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

async fn serving(bench: &Bench, service: &str) -> Option<ServingStatus> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(bench.channel().await).check(request).await.ok()?;
    Some(answer.into_inner().status())
}

#[tokio::test]
async fn a_trace_id_is_echoed_on_success_and_on_refusal() {
    let bench = Bench::start(|_| {}).await;
    let tagged = |request: &mut tonic::Request<_>| {
        request.metadata_mut().insert("x-trace-id", "order-42_A".parse().unwrap());
    };
    let answer = bench.get_product_with("any", tagged).await.unwrap();
    assert_eq!(answer.metadata().get("x-trace-id").unwrap(), "order-42_A");
    assert!(answer.metadata().get("traceparent").is_some());
    let status = bench.get_product_with("missing", tagged).await.unwrap_err();
    assert_eq!(status.metadata().get("x-trace-id").unwrap(), "order-42_A");
    let details = status.get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    assert_eq!(metadata["trace_id"], "order-42_A");
    assert_eq!(metadata["product_id"], "missing");
}

#[tokio::test]
async fn a_trace_is_made_or_continued() {
    let bench = Bench::start(|_| {}).await;
    let made = bench.get_product("any").await.unwrap();
    assert_eq!(made.metadata().get("x-trace-id").unwrap().len(), 32);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let continued = bench.get_product_with("any", |request| {
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    });
    let continued = continued.await.unwrap();
    assert_eq!(continued.metadata().get("x-trace-id").unwrap(), "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn health_follows_the_database_and_names_what_is_not_done_yet() {
    let bench = Bench::start(|_| {}).await;
    assert_eq!(serving(&bench, "").await, Some(ServingStatus::Serving));
    assert_eq!(serving(&bench, CATALOG).await, Some(ServingStatus::Serving));
    for later in
        ["vendfleet.v1.OrderService", "vendfleet.v1.OrchestratorService", "vendfleet.v1.EventService"]
    {
        assert_eq!(serving(&bench, later).await, Some(ServingStatus::NotServing), "{later}");
    }
    assert_eq!(serving(&bench, "no.such.Service").await, None);
    let (code, body) = bench.http_get("/healthz").await;
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, report["status"].as_str()), (200, Some("ok")), "{body}");

    bench.levers.database_down.store(true, Ordering::SeqCst);
    until("health to notice", || async { serving(&bench, CATALOG).await == Some(ServingStatus::NotServing) })
        .await;
    let (code, body) = bench.http_get("/healthz").await;
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, report["parts"]["database"]["status"].as_str()), (503, Some("down")), "{body}");
    assert!(!body.contains("unplugged"), "the driver's text stays inside: {body}");

    bench.levers.database_down.store(false, Ordering::SeqCst);
    until("health to recover", || async { serving(&bench, CATALOG).await == Some(ServingStatus::Serving) })
        .await;
}

#[tokio::test]
async fn metrics_count_calls_by_method_and_code_and_no_stranger_makes_labels() {
    let bench = Bench::start(|_| {}).await;
    bench.get_product("any").await.unwrap();
    bench.get_product("missing").await.unwrap_err();
    let mut grpc = tonic::client::Grpc::new(bench.channel().await);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/made.up/Label");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    grpc.unary(tonic::Request::new(()), path, codec).await.unwrap_err();
    let (code, text) = bench.http_get("/metrics").await;
    assert_eq!(code, 200);
    for line in [
        r#"vendfleet_calls_total{method="/vendfleet.v1.CatalogService/GetProduct",code="OK"} 1"#,
        r#"vendfleet_calls_total{method="/vendfleet.v1.CatalogService/GetProduct",code="NOT_FOUND"} 1"#,
        r#"vendfleet_calls_total{method="unknown",code="UNIMPLEMENTED"} 1"#,
        "vendfleet_database_up 1",
        "vendfleet_connections ",
        "vendfleet_call_seconds_bucket",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("made.up"), "{text}");
}

#[tokio::test]
async fn reflection_tells_the_contract_without_a_credential_unless_switched_off() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let ask = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request })
    };
    let bench = Bench::start(|_| {}).await;
    let mut client = ServerReflectionClient::new(bench.channel().await);
    let mut answers = client.server_reflection_info(ask()).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in vendfleet_proto::SERVICE_NAMES {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }

    let bench = Bench::start(|config| config.web.reflection = false).await;
    let mut client = ServerReflectionClient::new(bench.channel().await);
    let status = client.server_reflection_info(ask()).await.unwrap_err();
    assert_reason(&status, Reason::Unimplemented);
}

#[tokio::test]
async fn a_browser_of_an_allowed_origin_may_call_over_http_1() {
    let bench = Bench::start(|config| {
        config.tls.enabled = false;
        config.web.allowed_origins = vec!["https://fleet.example".to_owned()];
    });
    let bench = bench.await;
    let address = bench.running().grpc_address;
    let call = |origin: &str| {
        format!(
            "POST /vendfleet.v1.CatalogService/GetProduct HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\ncontent-type: \
             application/grpc-web+proto\r\nauthorization: {}\r\nconnection: close\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0",
            bench.token(server::auth::Role::Viewer)
        )
    };
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /vendfleet.v1.CatalogService/GetProduct HTTP/1.1\r\nhost: x\r\norigin: \
             {origin}\r\naccess-control-request-method: POST\r\nconnection: close\r\n\r\n"
        )
    };
    assert_eq!(shell_support::http(address, &preflight("https://fleet.example")).await.0, 204);
    assert_eq!(shell_support::http(address, &preflight("https://evil.example")).await.0, 403);
    let (code, body) = shell_support::http(address, &call("https://fleet.example")).await;
    assert_eq!(code, 200);
    assert!(body.contains("grpc-status:0"), "the trailers travel in the body: {body}");
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_ends_streams_and_takes_nothing_new() {
    let mut bench = Bench::start(|_| {}).await;
    let mut stream = bench.watch().await.unwrap();
    stream.message().await.unwrap().unwrap();
    let channel = bench.channel().await;
    let endpoint = bench.endpoint();
    let mut request =
        tonic::Request::new(vendfleet_proto::v1::GetProductRequest { product_id: "held".to_owned() });
    shell_support::authorize(&mut request, &bench.token(server::auth::Role::Operator));
    let mut client = vendfleet_proto::v1::catalog_service_client::CatalogServiceClient::new(channel);
    let in_flight = tokio::spawn(async move { client.get_product(request).await });
    until("the call to be worked on", || async { bench.levers.held.load(Ordering::SeqCst) == 1 }).await;

    let levers = bench.levers.clone();
    let stopping = tokio::spawn(async move { bench.stop().await });
    assert_reason(&stream.message().await.unwrap_err(), Reason::Unavailable);
    until("the listener to be gone", || async { endpoint.connect().await.is_err() }).await;
    levers.release.notify_one();
    in_flight.await.unwrap().unwrap();
    assert!(stopping.await.unwrap(), "everything ended in time");
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_at_the_end_of_the_drain_time() {
    let mut bench = Bench::start(|config| config.server.drain_ms = 100).await;
    let mut request =
        tonic::Request::new(vendfleet_proto::v1::GetProductRequest { product_id: "held".to_owned() });
    shell_support::authorize(&mut request, &bench.token(server::auth::Role::Operator));
    let channel = bench.channel().await;
    let mut client = vendfleet_proto::v1::catalog_service_client::CatalogServiceClient::new(channel);
    let in_flight = tokio::spawn(async move { client.get_product(request).await });
    until("the call to be worked on", || async { bench.levers.held.load(Ordering::SeqCst) == 1 }).await;
    assert!(!bench.stop().await, "it had to be cut");
    in_flight.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart() {
    let bench = Bench::start(|_| {}).await;
    let path = bench.dir.path().join("data/tls/server.pem");
    let before = std::fs::read(&path).unwrap();
    let dir = server::data_dir::DataDir::open(bench.dir.path().join("data")).unwrap();
    let authority = server::tls::Authority::open(&dir, server::context::Context::system()).unwrap();
    authority.renew_server(&["renewed.example".to_owned()]).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), before);
    bench.running().reload.notify_one();
    let tls = tonic::transport::ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(&bench.ca))
        .domain_name("renewed.example");
    let address = format!("https://{}", bench.running().grpc_address);
    let endpoint = tonic::transport::Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap();
    until("the new name to be served", || async { endpoint.connect().await.is_ok() }).await;
}

#[tokio::test]
async fn a_machine_may_come_with_its_certificate_alone() {
    let bench = Bench::start(|_| {}).await;
    let dir = server::data_dir::DataDir::open(bench.dir.path().join("data")).unwrap();
    let authority = server::tls::Authority::open(&dir, server::context::Context::system()).unwrap();
    let connect = |credential| {
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
        let (der, _) = authority.sign_machine_csr(csr.der(), shell_support::MACHINE, credential).unwrap();
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
        let tls = tonic::transport::ClientTlsConfig::new()
            .ca_certificate(tonic::transport::Certificate::from_pem(&bench.ca))
            .identity(tonic::transport::Identity::from_pem(pem, key.serialize_pem()))
            .domain_name("localhost");
        let address = format!("https://{}", bench.running().grpc_address);
        tonic::transport::Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap().connect_lazy()
    };
    let sync = |channel| async move {
        let request = vendfleet_proto::v1::SyncRequest::default();
        let mut client =
            vendfleet_proto::v1::machine_sync_service_client::MachineSyncServiceClient::new(channel);
        tokio::time::timeout(Duration::from_secs(10), client.sync(request)).await.unwrap()
    };
    sync(connect(shell_support::CREDENTIAL)).await.unwrap();
    let status = sync(connect(uuid::Uuid::from_u128(8))).await.unwrap_err();
    assert_reason(&status, Reason::Unauthenticated);
}
