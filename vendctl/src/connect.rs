//! The channel to the server, and the credential on every call.

use crate::failure::Failure;
use crate::settings::Settings;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use vendfleet_proto::v1::catalog_service_client::CatalogServiceClient;
use vendfleet_proto::v1::event_service_client::EventServiceClient;
use vendfleet_proto::v1::fleet_service_client::FleetServiceClient;
use vendfleet_proto::v1::orchestrator_service_client::OrchestratorServiceClient;
use vendfleet_proto::v1::order_service_client::OrderServiceClient;

/// Longest that one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer taken, bytes: a full page of the largest rows of the contract fits.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

pub(crate) type Authorized = InterceptedService<Channel, Bearer>;
pub(crate) type Fleet = FleetServiceClient<Authorized>;
pub(crate) type Catalog = CatalogServiceClient<Authorized>;
pub(crate) type Orders = OrderServiceClient<Authorized>;
pub(crate) type Orchestrator = OrchestratorServiceClient<Authorized>;
pub(crate) type Events = EventServiceClient<Authorized>;

/// One client per service, over one connection.
pub(crate) struct Clients {
    pub(crate) fleet: Fleet,
    pub(crate) catalog: Catalog,
    pub(crate) orders: Orders,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) events: Events,
}

/// Puts `authorization: Bearer ...` on every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Clients that connect with their first call.
pub(crate) fn clients(settings: &Settings) -> Result<Clients, Failure> {
    let mut endpoint = Endpoint::from(settings.server.clone())
        .user_agent(concat!("vendctl/", env!("CARGO_PKG_VERSION")))
        .expect("a package version makes a header value")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);
    if settings.server.scheme_str() == Some("https") {
        let mut tls = match &settings.ca_pem {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some(name) = &settings.tls_name {
            tls = tls.domain_name(name);
        }
        endpoint = endpoint.tls_config(tls).map_err(|error| {
            Failure::usage(format!("--ca: not usable as PEM certificates: {}", crate::failure::chain(&error)))
        })?;
    }
    let service = InterceptedService::new(endpoint.connect_lazy(), Bearer(settings.authorization.clone()));
    Ok(Clients {
        fleet: FleetServiceClient::new(service.clone()).max_decoding_message_size(MAX_ANSWER_BYTES),
        catalog: CatalogServiceClient::new(service.clone()).max_decoding_message_size(MAX_ANSWER_BYTES),
        orders: OrderServiceClient::new(service.clone()).max_decoding_message_size(MAX_ANSWER_BYTES),
        orchestrator: OrchestratorServiceClient::new(service.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES),
        events: EventServiceClient::new(service).max_decoding_message_size(MAX_ANSWER_BYTES),
    })
}
