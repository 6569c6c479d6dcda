//! The server as `vendfleet serve` starts it: the real services over embedded SQLite.
#![allow(clippy::unwrap_used, missing_docs)]

use server::{
    auth::{Person, Role},
    config::Config,
    context::Context,
    error::Reason,
    serve::{Running, start},
};
use tonic::{
    Request,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1alpha::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;
use vendfleet_proto::v1::{
    self, catalog_service_client::CatalogServiceClient, event_service_client::EventServiceClient,
    fleet_service_client::FleetServiceClient, machine_sync_service_client::MachineSyncServiceClient,
    stream_events_response::Message,
};

async fn whole(dir: &std::path::Path) -> Running {
    whole_with(dir, |_| {}).await
}

async fn whole_with(dir: &std::path::Path, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = "127.0.0.1:0".parse().unwrap();
    config.server.data_dir = dir.to_str().unwrap().to_owned();
    change(&mut config);
    start(config, Context::system()).await.unwrap()
}

async fn channel(running: &Running) -> Channel {
    let ca = std::fs::read_to_string(running.ca_file.as_ref().unwrap()).unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", running.grpc_address)).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await.unwrap()
}

fn as_role<T>(running: &Running, role: Role, message: T) -> Request<T> {
    let person = Person { subject: "ada".to_owned(), role, scopes: Vec::new() };
    let token = running.tokens.issue(&person, 60).unwrap();
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test]
async fn a_fresh_server_has_something_to_sell_and_a_restart_makes_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let running = whole(&data).await;
        let mut catalog = CatalogServiceClient::new(channel(&running).await);
        let list = as_role(&running, Role::Operator, v1::ListProductsRequest::default());
        let products = catalog.list_products(list).await.unwrap().into_inner().products;
        seen.push(products.into_iter().map(|product| product.product_id).collect::<Vec<_>>());
        let mut fleet = FleetServiceClient::new(channel(&running).await);
        let list = as_role(&running, Role::Viewer, v1::ListConfigsRequest::default());
        assert_eq!(fleet.list_configs(list).await.unwrap().into_inner().configs.len(), 1);
        drop((catalog, fleet));
        assert!(running.stop().await);
    }
    assert_eq!(seen[0].len(), 8);
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn what_is_done_serves_and_what_is_not_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let running = whole(&dir.path().join("data")).await;
    let channel = channel(&running).await;
    let mut health = HealthClient::new(channel.clone());
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        loop {
            let request = HealthCheckRequest { service: String::new() };
            if health.check(request).await.unwrap().into_inner().status() == ServingStatus::Serving {
                break;
            }
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap();
    for name in ["MachineSync", "Catalog", "Fleet", "Order", "Orchestrator", "Event"] {
        let service = format!("vendfleet.v1.{name}Service");
        let answer = health.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{name}");
    }
    // What is no service of this server: as the protocol of health says it.
    let unknown = || HealthCheckRequest { service: "vendfleet.v1.NoSuchService".to_owned() };
    assert_eq!(health.check(unknown()).await.unwrap_err().code(), tonic::Code::NotFound);
    let mut watch = health.watch(unknown()).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    drop(watch);
    // Older clients know only this reflection.
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let asked = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = asked.into_inner().message().await.unwrap().unwrap();
    assert!(format!("{answer:?}").contains("vendfleet.v1.OrderService"), "{answer:?}");
    let call = as_role(&running, Role::Operator, v1::CreateRolloutRequest::default());
    let status = FleetServiceClient::new(channel).create_rollout(call).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, Reason::Unimplemented.name());
    assert_eq!(info.metadata["method"], "vendfleet.v1.FleetService/CreateRollout");
}

#[tokio::test]
async fn a_server_says_what_it_serves_and_which_replica_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut replicas = Vec::new();
    for name in ["", "", "vending-2"] {
        let running =
            whole_with(&dir.path().join("data"), |config| config.server.replica = name.to_owned()).await;
        let mut fleet = FleetServiceClient::new(channel(&running).await);
        let get = as_role(&running, Role::Viewer, v1::GetServerInfoRequest {});
        let info = fleet.get_server_info(get).await.unwrap().into_inner();
        let expected = ["Catalog", "Event", "Fleet", "MachineSync", "Orchestrator", "Order"];
        assert_eq!(info.services, expected.map(|service| format!("vendfleet.v1.{service}Service")));
        replicas.push(info.replica);
        drop(fleet);
        assert!(running.stop().await);
    }
    assert_eq!(replicas[2], "vending-2");
    assert!(!replicas[0].is_empty() && replicas[0] != replicas[1], "{replicas:?}");
}

#[tokio::test]
async fn a_claim_token_becomes_a_machine_whose_certificate_our_ca_signed() {
    let dir = tempfile::tempdir().unwrap();
    let running = whole(&dir.path().join("data")).await;
    let channel = channel(&running).await;
    let make = v1::CreateClaimTokenRequest {
        request_id: "0192f0c1-2345-7abc-8def-0123456789ab".to_owned(),
        ..v1::CreateClaimTokenRequest::default()
    };
    let mut fleet = FleetServiceClient::new(channel.clone());
    let made = fleet.create_claim_token(as_role(&running, Role::Operator, make)).await;
    let claim_token = made.unwrap().into_inner().claim_token;
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let enroll = v1::EnrollRequest {
        claim_token,
        device_secret: vec![7; 32],
        serial: "SN-1".to_owned(),
        model: "M1".to_owned(),
        firmware: "1.0".to_owned(),
        csr_der: csr.der().to_vec(),
    };
    let mut machine = MachineSyncServiceClient::new(channel);
    let first = machine.enroll(enroll.clone()).await.unwrap().into_inner();
    let again = machine.enroll(enroll).await.unwrap().into_inner();
    assert_eq!(first.credential_id, again.credential_id, "a lost reply kills no machine");
    let identity = server::tls::certificate_identity(&first.certificate_der).unwrap();
    assert_eq!(identity.machine_id.to_string(), first.machine_id);
    assert_eq!(identity.credential_id.to_string(), first.credential_id);
    assert_eq!(first.ca_pem, std::fs::read_to_string(running.ca_file.as_ref().unwrap()).unwrap());
}

#[tokio::test]
async fn a_stream_of_events_begins_now_tells_what_follows_and_ends_at_its_age_or_when_the_server_drains() {
    let dir = tempfile::tempdir().unwrap();
    let running = whole_with(&dir.path().join("data"), |config| {
        (config.limits.stream_age_ms, config.events.heartbeat_ms) = (600, 100);
        config.worker.enabled = false;
    })
    .await;
    let channel = channel(&running).await;
    let mut events = EventServiceClient::new(channel.clone());
    let open = |cursor: &str| {
        let request =
            v1::StreamEventsRequest { cursor: cursor.to_owned(), ..v1::StreamEventsRequest::default() };
        as_role(&running, Role::Service, request)
    };
    let mut stream = events.stream_events(open("")).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(matches!(first.message, Some(Message::Heartbeat(_))));
    let new = v1::CreateProductRequest {
        request_id: "0192f0c1-2345-7abc-8def-0123456789ac".to_owned(),
        sku: "NEW".to_owned(),
        name: "New".to_owned(),
        price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 1 }),
        initial_stock: 3,
        ..v1::CreateProductRequest::default()
    };
    let made =
        CatalogServiceClient::new(channel).create_product(as_role(&running, Role::Operator, new)).await;
    let product = made.unwrap().into_inner().product.unwrap();
    let (mut told, mut heartbeats) = (Vec::new(), 0);
    while let Some(message) = stream.message().await.unwrap() {
        match message.message.unwrap() {
            Message::Event(event) => told.push(event),
            Message::Heartbeat(_) => heartbeats += 1,
        }
    }
    assert_eq!(told.len(), 1, "and the stream ended with OK");
    assert!(heartbeats > 0);
    assert_eq!(told[0].subject, product.product_id);
    assert_eq!(told[0].r#type, "dev.vendfleet.inventory.stock_changed");
    assert!(told[0].source.starts_with("/vendfleet/") && !told[0].traceparent.is_empty(), "{told:?}");
    // What was missed comes with the cursor; and a drain ends the stream.
    let mut again = events.stream_events(open(&first.cursor)).await.unwrap().into_inner();
    let Some(Message::Event(event)) = again.message().await.unwrap().unwrap().message else { panic!() };
    assert_eq!(event, told[0]);
    let stopping = tokio::spawn(running.stop());
    let end = loop {
        match again.message().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(status) => break Some(status),
        }
    };
    if let Some(status) = end {
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, Reason::Unavailable.name());
    }
    drop((again, events));
    assert!(stopping.await.unwrap());
}
