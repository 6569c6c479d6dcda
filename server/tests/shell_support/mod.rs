//! A server with real TLS on free ports, whose services behave as a test asks: what is tested here is what is around them.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use server::{
    auth::{BoxFuture, CredentialRecord, CredentialSource, CredentialState, Person, Role},
    config::Config,
    context::Context,
    error::{ApiError, Reason},
    health::DatabaseProbe,
    serve::{Parts, Running, ServeError, Toolbox, start_with},
};
use tokio::sync::Notify;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Request, Response, Status,
    metadata::MetadataValue,
    service::Routes,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::{ErrorDetails, StatusExt as _};
use uuid::Uuid;
use vendfleet_proto::v1;
use vendfleet_proto::v1::{
    catalog_service_client::CatalogServiceClient, catalog_service_server,
    machine_sync_service_client::MachineSyncServiceClient, machine_sync_service_server,
};

pub const SYNC: &str = machine_sync_service_server::SERVICE_NAME;
pub const CATALOG: &str = catalog_service_server::SERVICE_NAME;

/// The one machine credential, its secret, its machine.
pub const CREDENTIAL: Uuid = Uuid::from_u128(7);
pub const MACHINE: Uuid = Uuid::from_u128(70);
pub const SECRET: [u8; 32] = [5; 32];
/// Bytes of the answer to `GetProduct("large")`, about.
pub const LARGE_BYTES: usize = 200_000;

/// What a test can do to the server from inside.
#[derive(Default)]
pub struct Levers {
    pub database_down: AtomicBool,
    /// `GetProduct("held")` waits for this.
    pub release: Notify,
    pub held: AtomicU32,
    pub credential: Mutex<Option<CredentialRecord>>,
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub running: Option<Running>,
    pub levers: Arc<Levers>,
    pub ca: String,
    pub tls: bool,
}

impl Bench {
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.http_listen = "127.0.0.1:0".parse().unwrap();
        config.server.data_dir = dir.path().join("data").to_str().unwrap().to_owned();
        config.health.probe_interval_ms = 100;
        config.tls.reload_poll_ms = 100;
        change(&mut config);
        let tls = config.tls.enabled;
        let levers = Arc::new(Levers::default());
        let running =
            start_with(config, Context::system(), |tools| parts(tools, levers.clone())).await.unwrap();
        let ca = std::fs::read_to_string(dir.path().join("data/tls/ca.pem")).unwrap();
        let bench = Self { dir, running: Some(running), levers, ca, tls };
        until("the database to be looked at", || async {
            bench.running().health().report().status == server::health::PartStatus::Ok
        })
        .await;
        bench
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub async fn stop(&mut self) -> bool {
        self.running.take().unwrap().stop().await
    }

    pub fn endpoint(&self) -> Endpoint {
        if !self.tls {
            return Endpoint::from_shared(format!("http://{}", self.running().grpc_address)).unwrap();
        }
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca)).domain_name("localhost");
        Endpoint::from_shared(format!("https://{}", self.running().grpc_address))
            .unwrap()
            .tls_config(tls)
            .unwrap()
    }

    pub async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    pub fn token(&self, role: Role) -> String {
        self.token_of("ada", role)
    }

    pub fn token_of(&self, subject: &str, role: Role) -> String {
        let person = Person { subject: subject.to_owned(), role, scopes: Vec::new() };
        format!("Bearer {}", self.running().tokens.issue(&person, 60).unwrap())
    }

    /// `GetProduct` of the catalogue as an operator; the id says how the service behaves.
    pub async fn get_product(&self, id: &str) -> Result<Response<v1::GetProductResponse>, Status> {
        self.get_product_with(id, |_| {}).await
    }

    pub async fn get_product_with(
        &self,
        id: &str,
        change: impl FnOnce(&mut Request<v1::GetProductRequest>),
    ) -> Result<Response<v1::GetProductResponse>, Status> {
        let mut request = Request::new(v1::GetProductRequest { product_id: id.to_owned() });
        authorize(&mut request, &self.token(Role::Operator));
        change(&mut request);
        CatalogServiceClient::new(self.channel().await).get_product(request).await
    }

    pub async fn watch(&self) -> Result<tonic::Streaming<v1::WatchResponse>, Status> {
        let mut request = Request::new(v1::WatchRequest::default());
        authorize(&mut request, &machine_header());
        let mut client = MachineSyncServiceClient::new(self.channel().await);
        client.watch(request).await.map(Response::into_inner)
    }

    /// An HTTP/1.1 GET on the plain listener: status code and body.
    pub async fn http_get(&self, path: &str) -> (u16, String) {
        http(
            self.running().http_address,
            &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        )
        .await
    }
}

/// One exchange of HTTP/1.1 bytes over a plain connection.
pub async fn http(address: std::net::SocketAddr, request: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

pub fn machine_header() -> String {
    format!("Machine {CREDENTIAL}.{}", URL_SAFE_NO_PAD.encode(SECRET))
}

pub fn authorize<T>(request: &mut Request<T>, value: &str) {
    request.metadata_mut().insert("authorization", MetadataValue::try_from(value).unwrap());
}

/// Every refusal has an ErrorInfo of this domain and this reason.
#[track_caller]
pub fn assert_reason(status: &Status, reason: Reason) -> ErrorDetails {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.reason, reason.name(), "{status:?}");
    assert_eq!(info.domain, "vendfleet.dev");
    assert!(info.metadata.contains_key("trace_id"), "{status:?}");
    details
}

/// Waits for a condition, at most ten seconds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

async fn parts(tools: Toolbox, levers: Arc<Levers>) -> Result<Parts, ServeError> {
    *levers.credential.lock().unwrap() = Some(CredentialRecord {
        credential_id: CREDENTIAL,
        machine_id: MACHINE,
        secret_hash: tools.secret_key.hash(&SECRET),
        state: CredentialState::Active,
        last_used_ms: 0,
    });
    let limits = &tools.config.limits;
    let services = Services(levers.clone());
    let mut routes = Routes::builder();
    routes
        .add_service(
            catalog_service_server::CatalogServiceServer::new(services.clone())
                .max_decoding_message_size(limits.message_bytes),
        )
        .add_service(
            machine_sync_service_server::MachineSyncServiceServer::new(services.clone())
                .max_decoding_message_size(limits.sync_message_bytes),
        );
    let services = Arc::new(services);
    Ok(Parts {
        routes,
        serving: vec![SYNC, CATALOG],
        credentials: services.clone(),
        probe: services,
        health: Vec::new(),
        webhooks: None,
        close: Box::pin(async {}),
    })
}

#[derive(Clone)]
struct Services(Arc<Levers>);

impl CredentialSource for Services {
    fn find_credential(&self, id: Uuid) -> BoxFuture<'_, Result<Option<CredentialRecord>, ApiError>> {
        let found = self.0.credential.lock().unwrap().clone().filter(|record| record.credential_id == id);
        Box::pin(async move { Ok(found) })
    }
}

impl DatabaseProbe for Services {
    fn probe(&self) -> BoxFuture<'_, Result<(), ApiError>> {
        let down = self.0.database_down.load(Ordering::SeqCst);
        Box::pin(async move { if down { Err(ApiError::unavailable("unplugged")) } else { Ok(()) } })
    }
}

fn other() -> Status {
    ApiError::internal("not part of these tests").into()
}

#[tonic::async_trait]
impl catalog_service_server::CatalogService for Services {
    async fn get_product(
        &self,
        request: Request<v1::GetProductRequest>,
    ) -> Result<Response<v1::GetProductResponse>, Status> {
        match request.get_ref().product_id.as_str() {
            "stuck" => std::future::pending().await,
            "held" => {
                self.0.held.fetch_add(1, Ordering::SeqCst);
                self.0.release.notified().await;
            }
            "large" => {
                let product = v1::Product { name: "x".repeat(LARGE_BYTES), ..v1::Product::default() };
                return Ok(Response::new(v1::GetProductResponse { product: Some(product) }));
            }
            "panic" => panic!("a secret detail"),
            "internal" => return Err(ApiError::internal("SELECT a secret detail").into()),
            "missing" => {
                return Err(ApiError::new(Reason::ProductNotFound, "no such product")
                    .with("product_id", "missing")
                    .into());
            }
            _ => {}
        }
        Ok(Response::new(v1::GetProductResponse::default()))
    }

    async fn create_product(
        &self,
        _: Request<v1::CreateProductRequest>,
    ) -> Result<Response<v1::CreateProductResponse>, Status> {
        Err(other())
    }

    async fn list_products(
        &self,
        _: Request<v1::ListProductsRequest>,
    ) -> Result<Response<v1::ListProductsResponse>, Status> {
        Err(other())
    }

    async fn update_product(
        &self,
        _: Request<v1::UpdateProductRequest>,
    ) -> Result<Response<v1::UpdateProductResponse>, Status> {
        Err(other())
    }

    async fn archive_product(
        &self,
        _: Request<v1::ArchiveProductRequest>,
    ) -> Result<Response<v1::ArchiveProductResponse>, Status> {
        Err(other())
    }

    async fn adjust_stock(
        &self,
        _: Request<v1::AdjustStockRequest>,
    ) -> Result<Response<v1::AdjustStockResponse>, Status> {
        Err(other())
    }
}

#[tonic::async_trait]
impl machine_sync_service_server::MachineSyncService for Services {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    /// The claim token "wrong" is.
    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        if request.get_ref().claim_token == "wrong" {
            return Err(ApiError::new(Reason::ClaimTokenInvalid, "no such claim token").into());
        }
        Ok(Response::new(v1::EnrollResponse::default()))
    }

    async fn sync(&self, _: Request<v1::SyncRequest>) -> Result<Response<v1::SyncResponse>, Status> {
        Ok(Response::new(v1::SyncResponse::default()))
    }

    /// One hint, then silence for ever.
    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let hints = tokio_stream::once(Ok(v1::WatchResponse::default())).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(hints)))
    }
}
