//! A server that notes what it hears.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic::{Request, Response, Status};
use vendfleet_proto::v1;
use vendfleet_proto::v1::machine_sync_service_server::{MachineSyncService, MachineSyncServiceServer};

/// A certificate authority of one test.
pub(super) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// Signs a machine's request as the server would.
    pub(super) fn sign(&self, csr_der: &[u8]) -> String {
        let request = rcgen::CertificateSigningRequestParams::from_der(&csr_der.into()).unwrap();
        request.signed_by(&self.issuer).unwrap().pem()
    }

    fn server_identity(&self) -> Identity {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        Identity::from_pem(params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) authorization: Vec<String>,
    pub(super) trace_ids: Vec<String>,
    pub(super) syncs: Vec<v1::SyncRequest>,
}

#[derive(Default)]
struct State {
    seen: Seen,
    refuse: Option<Status>,
}

pub(super) struct Server {
    pub(super) port: u16,
    pub(super) authority: Authority,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens on a port of its own. `mutual`: this authority signs it, and every client must show a certificate of it.
    pub(super) async fn start(mutual: Option<Authority>) -> Self {
        let asks = mutual.is_some();
        let authority = mutual.unwrap_or_else(Authority::new);
        let listener = tokio::net::TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tls = ServerTlsConfig::new().identity(authority.server_identity());
        if asks {
            tls = tls.client_ca_root(Certificate::from_pem(&authority.pem));
        }
        let state = Arc::new(Mutex::new(State::default()));
        let service = MachineSyncServiceServer::new(Service(Arc::clone(&state)));
        let serving = tonic::transport::Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { port, authority, state, task }
    }

    pub(super) fn seen(&self) -> Seen {
        self.state.lock().unwrap().seen.clone()
    }

    /// The next Sync is refused so.
    pub(super) fn refuse(&self, status: Status) {
        self.state.lock().unwrap().refuse = Some(status);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Service(Arc<Mutex<State>>);

#[tonic::async_trait]
impl MachineSyncService for Service {
    async fn enroll(&self, _: Request<v1::EnrollRequest>) -> Result<Response<v1::EnrollResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn sync(&self, request: Request<v1::SyncRequest>) -> Result<Response<v1::SyncResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        let header = |name: &str| request.metadata().get(name).unwrap().to_str().unwrap().to_owned();
        let (authorization, trace_id) = (header("authorization"), header("x-trace-id"));
        state.seen.authorization.push(authorization);
        state.seen.trace_ids.push(trace_id);
        if let Some(status) = state.refuse.take() {
            return Err(status);
        }
        let sync = request.into_inner();
        let command = |number, command| v1::MachineCommand {
            number,
            epoch: sync.epoch.clone(),
            command,
            ..v1::MachineCommand::default()
        };
        let out_of_service = v1::machine_command::Command::OutOfService(v1::OutOfServiceCommand::default());
        let answer = v1::SyncResponse {
            epoch: sync.epoch.clone(),
            accepted_through: sync.last_seq,
            durable_through: sync.last_seq,
            next_sync_after_ms: 1_234,
            keep_days: 30,
            standing: v1::UploadStanding::Cloned.into(),
            commands: vec![command(1, Some(out_of_service)), command(2, None)],
            ..v1::SyncResponse::default()
        };
        state.seen.syncs.push(sync);
        Ok(Response::new(answer))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let hint = v1::WatchResponse { reasons: vec![v1::WatchReason::Config.into()], ..Default::default() };
        let stream = tokio_stream::once(Ok(hint)).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }
}
