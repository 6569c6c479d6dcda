//! The composition root: builds everything from the config, serves it, and brings it down in order.

mod backup;
mod connections;
mod cors;
mod gather;
mod payments;
mod plain_http;
mod pool;
mod relay;
mod runtime;
mod sample;
mod sending;
mod services;
mod space;

pub use backup::{Restored, backup, restore};
pub use runtime::runtime;
pub use services::{MAX_BATCH_RECORDS, POSTGRES_LANES, migrate, start};

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::{pb::health_server::HealthServer, server::HealthReporter};

use crate::{
    auth::{Authenticator, BoxFuture, CredentialSource, SecretKey, Tokens},
    config::Config,
    context::Context,
    data_dir::{DataDir, DataDirError, DataDirLock},
    grpc::layers::{LiveStreams, Shell, end_fallen_streams},
    health::{DatabaseProbe, Health, Part, PartStatus, StandardHealth, probe_database},
    http,
    limits::{ConnectionBounds, Connections},
    metrics::Metrics,
    tls::{Authority, ConnectionCaps, Listener, ServerTls, TlsError, watch_files},
};

/// How often uses of machine credentials are noted.
const NOTE_USES_EVERY: Duration = Duration::from_secs(20);
/// How often the credentials of open streams are checked.
const LIVE_STREAM_CHECK: Duration = Duration::from_secs(3);

/// Longest wait for background tasks and for the database to close, after the drain.
const CLOSE_FOR: Duration = Duration::from_secs(2);
/// `/healthz` says "degraded" when the server's certificate has fewer days left. A development certificate is renewed
/// before; one that is configured needs a person.
const CERTIFICATE_DAYS_LEFT: i64 = 14;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address can't be listened on.
    #[error("`{key}` {address}: {cause}")]
    Listen {
        /// The config key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A config value that only shows itself at start.
    #[error("`{key}`: {cause}")]
    Config {
        /// The config key.
        key: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// The services can't be built: the database, most often.
    #[error("{0}")]
    Services(String),
}

/// What services are built with.
#[derive(Debug, Clone)]
pub struct Toolbox {
    /// The effective config.
    pub config: Config,
    /// Time, ids, randomness.
    pub context: Context,
    /// The data directory, locked.
    pub data_dir: DataDir,
    /// The key under which machine secrets and claim tokens are hashed.
    pub secret_key: SecretKey,
    /// The CA that signs machines' certificates.
    pub authority: Arc<Authority>,
    /// What is counted.
    pub metrics: Metrics,
    /// Cancelled when the server begins to drain: workers stop taking new work.
    pub drain: CancellationToken,
    /// Workers to be waited for at the end.
    pub workers: TaskTracker,
}

/// What is served.
pub struct Parts {
    /// The services of the contract that do their work here; each with its message limit set.
    pub routes: RoutesBuilder,
    /// Their full names.
    pub serving: Vec<&'static str>,
    /// Where machine credentials are looked up.
    pub credentials: Arc<dyn CredentialSource>,
    /// What is asked whether the database answers.
    pub probe: Arc<dyn DatabaseProbe>,
    /// Takes webhooks of the payment gateway, if they are set up.
    pub webhooks: Option<http::Webhooks>,
    /// Further parts of the health report, by name: each is shown as it changes.
    pub health: Vec<(&'static str, watch::Receiver<Part>)>,
    /// Run last of all, when nothing uses the database any more.
    pub close: BoxFuture<'static, ()>,
}

/// A server that runs. Dropping it leaves it running; [`Running::stop`] ends it.
pub struct Running {
    /// Where gRPC listens, with the real port.
    pub grpc_address: SocketAddr,
    /// Where `/healthz` and `/metrics` listen, with the real port.
    pub http_address: SocketAddr,
    /// The CA that signed the server's certificate, when that is the development CA; for clients to trust.
    pub ca_file: Option<PathBuf>,
    /// Makes tokens for people.
    pub tokens: Tokens,
    /// Told by SIGHUP: look at the certificates at once.
    pub reload: Arc<Notify>,
    /// Ends the streams of a credential at once.
    pub live_streams: Arc<LiveStreams>,
    health: Arc<Health>,
    /// The order of the end, see [`Running::stop`].
    stop_accepting: CancellationToken,
    drain: CancellationToken,
    stop_background: CancellationToken,
    kill: CancellationToken,
    connections: TaskTracker,
    workers: TaskTracker,
    accepting: JoinHandle<()>,
    background: TaskTracker,
    drain_for: Duration,
    close: BoxFuture<'static, ()>,
    _lock: DataDirLock,
}

/// Builds everything around the services that `build` makes, and starts it.
pub async fn start_with<F, Fut>(config: Config, context: Context, build: F) -> Result<Running, ServeError>
where
    F: FnOnce(Toolbox) -> Fut,
    Fut: Future<Output = Result<Parts, ServeError>>,
{
    let data_dir = DataDir::open(&config.server.data_dir)?;
    let lock = data_dir.lock()?;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let tokens = || Tokens::open(&config.auth, context.clone(), &data_dir);
    let secret_key = secret_key(&data_dir, &context)?;
    let authority = Arc::new(Authority::open(&data_dir, context.clone())?);
    let tls = match config.tls.enabled {
        true => Some(Arc::new(ServerTls::open(&config.tls, &data_dir, authority.clone())?)),
        false => None,
    };
    let cors = cors::Cors::new(&config.web.allowed_origins)
        .map_err(|cause| ServeError::Config { key: "web.allowed_origins", cause: cause.to_string() })?;
    let (drain, workers) = (CancellationToken::new(), TaskTracker::new());

    let parts = build(Toolbox {
        config: config.clone(),
        context: context.clone(),
        data_dir: data_dir.clone(),
        secret_key: secret_key.clone(),
        authority,
        metrics: metrics.clone(),
        drain: drain.clone(),
        workers: workers.clone(),
    })
    .await?;

    let reporter = HealthReporter::new();
    let health_service = HealthServer::new(StandardHealth::new(reporter.clone()));
    let health = Arc::new(Health::new(reporter, parts.serving).await);
    let mut routes = parts.routes;
    routes.add_service(health_service);
    if config.web.reflection {
        routes.add_service(reflection().build_v1().map_err(no_reflection)?);
        // Older clients ask for this one, and for nothing else.
        routes.add_service(reflection().build_v1alpha().map_err(no_reflection)?);
    }
    let authenticator =
        Authenticator::new(&config.auth, context.clone(), tokens()?, secret_key, parts.credentials);
    let authenticator = Arc::new(authenticator);
    let shell =
        Shell::new(context.clone(), authenticator.clone(), &config.limits, metrics.clone(), drain.clone());
    let shell = Arc::new(shell);

    let listen = |key, address| move |cause| ServeError::Listen { key, address, cause };
    let address = config.server.listen;
    let bind = |address, tls, all, per_ip| {
        let caps = ConnectionCaps { all, per_ip };
        Listener::bind(address, tls, &config.tls, &config.limits, caps, context.clone(), metrics.clone())
    };
    let limits = &config.limits;
    let listener = bind(address, tls.clone(), limits.max_connections, limits.max_connections_per_ip);
    let listener = listener.await.map_err(listen("server.listen", address))?;
    let grpc_address = listener.local_address().map_err(listen("server.listen", address))?;
    let address = config.server.http_listen;
    let http_listener = bind(address, None, limits.http_connections, limits.http_connections_per_ip);
    let http_listener = http_listener.await.map_err(listen("server.http_listen", address))?;
    let http_address = http_listener.local_address().map_err(listen("server.http_listen", address))?;

    let (stop_accepting, stop_background, kill) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let (background, connections, reload) = (TaskTracker::new(), TaskTracker::new(), Arc::new(Notify::new()));
    let open = Connections::new(ConnectionBounds::new(limits), context.clone(), metrics.clone());
    background.spawn(open.clone().keep_watch(drain.clone(), stop_background.clone()));
    background.spawn(probe_database(
        parts.probe,
        config.health.clone(),
        health.clone(),
        metrics,
        stop_background.clone(),
    ));
    for (name, part) in parts.health {
        background.spawn(show_part(name, part, health.clone(), stop_background.clone()));
    }
    background.spawn(note_uses(authenticator.clone(), stop_background.clone()));
    background.spawn(end_fallen_streams(
        shell.live().clone(),
        authenticator,
        LIVE_STREAM_CHECK,
        stop_background.clone(),
    ));
    if let Some(tls) = tls {
        let poll = Duration::from_millis(config.tls.reload_poll_ms);
        background.spawn(watch_files(tls.clone(), poll, reload.clone(), stop_background.clone()));
        background.spawn(watch_certificate(
            tls,
            context.clone(),
            health.clone(),
            poll,
            stop_background.clone(),
        ));
    }
    let router = http::router(health.clone(), Arc::new(registry), parts.webhooks);
    background.spawn(plain_http::accept(http_listener, router, open.clone(), stop_background.clone()));
    let live_streams = shell.live().clone();
    let serving = connections::Serving {
        shell,
        routes: Routes::from(routes.routes().into_axum_router()).prepare(),
        limits: limits.clone(),
        open,
        web: config.web.clone(),
        cors: Arc::new(cors),
    };
    let accepting =
        connections::accept(listener, serving, connections.clone(), stop_accepting.clone(), kill.clone());
    let development = config.tls.enabled && config.tls.cert_file.is_empty();
    Ok(Running {
        grpc_address,
        http_address,
        ca_file: development.then(|| data_dir.path("tls/ca.pem")),
        tokens: tokens()?,
        reload,
        live_streams,
        health,
        stop_accepting,
        drain,
        stop_background,
        kill,
        connections,
        workers,
        accepting: tokio::spawn(accepting),
        background,
        drain_for: Duration::from_millis(config.server.drain_ms),
        close: parts.close,
        _lock: lock,
    })
}

impl Running {
    /// Health as `/healthz` shows it.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Drains and ends: health says NOT_SERVING, streams end, no connection is taken, calls in flight finish, workers
    /// finish; whatever is left after `server.drain_ms` is cut. Answers whether everything ended in time.
    pub async fn stop(self) -> bool {
        self.health.set("drain", PartStatus::Down, "draining").await;
        self.drain.cancel();
        self.stop_accepting.cancel();
        self.connections.close();
        self.workers.close();
        let ended = async {
            let _ = self.accepting.await;
            self.connections.wait().await;
            self.workers.wait().await;
        };
        let in_time = tokio::time::timeout(self.drain_for, ended).await.is_ok();
        if !in_time {
            tracing::warn!(
                connections = self.connections.len(),
                workers = self.workers.len(),
                "drain time is over"
            );
        }
        self.kill.cancel();
        self.stop_background.cancel();
        self.background.close();
        // What is left only waits for time and probes; nothing of it is worth more.
        let rest = async {
            self.background.wait().await;
            self.close.await;
        };
        if tokio::time::timeout(CLOSE_FOR, rest).await.is_err() {
            tracing::warn!("the database was not closed in time");
        }
        in_time
    }
}

/// Notes uses of machine credentials outside the path of any call, and those of the last moments at the end.
async fn note_uses(authenticator: Arc<Authenticator>, stop: CancellationToken) {
    loop {
        let stopped = tokio::time::timeout(NOTE_USES_EVERY, stop.cancelled()).await.is_ok();
        if let Err(cause) = authenticator.note_uses().await {
            tracing::debug!(%cause, "uses of credentials were not noted");
        }
        if stopped {
            return;
        }
    }
}

async fn show_part(
    name: &'static str,
    mut part: watch::Receiver<Part>,
    health: Arc<Health>,
    stop: CancellationToken,
) {
    loop {
        let shown = part.borrow_and_update().clone();
        health.set_part(name, shown).await;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = part.changed() => if changed.is_err() { return },
        }
    }
}

async fn watch_certificate(
    tls: Arc<ServerTls>,
    context: Context,
    health: Arc<Health>,
    every: Duration,
    stop: CancellationToken,
) {
    loop {
        let days = (tls.ends_s() - context.now_ms() / 1_000).div_euclid(86_400);
        let status = if days < CERTIFICATE_DAYS_LEFT { PartStatus::Degraded } else { PartStatus::Ok };
        health.set("certificate", status, format!("ends in {days} days")).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

fn secret_key(dir: &DataDir, context: &Context) -> Result<SecretKey, DataDirError> {
    const FILE: &str = "keys/credential-hmac.hex";
    let text = dir.secret(FILE, || hex::encode(context.random_bytes::<32>()).into_bytes())?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut bytes).map_err(|_| DataDirError::Damaged {
        path: dir.path(FILE),
        rule: "must be 64 hex digits".to_owned(),
    })?;
    Ok(SecretKey::new(bytes))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(vendfleet_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // What errors carry: without it grpcurl shows their reason as bytes.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

#[expect(clippy::needless_pass_by_value, reason = "a map_err function")]
fn no_reflection(cause: tonic_reflection::server::Error) -> ServeError {
    ServeError::Services(format!("reflection: {cause}"))
}
