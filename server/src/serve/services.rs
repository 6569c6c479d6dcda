//! The services of the contract over the store: what `vendfleet serve` serves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tonic::service::Routes;
use uuid::Uuid;
use vendfleet_proto::v1::{
    catalog_service_server::{self, CatalogServiceServer},
    event_service_server::{self, EventServiceServer},
    fleet_service_server::{self, FleetServiceServer},
    machine_sync_service_server::{self, MachineSyncServiceServer},
    orchestrator_service_server::{self, OrchestratorServiceServer},
    order_service_server::{self, OrderServiceServer},
};

use super::{
    Parts, Running, ServeError, Toolbox, payments, pool::count as count_machines, relay, sample, space,
    start_with,
};
use crate::{
    auth::{BoxFuture, CredentialRecord, CredentialSource, CredentialState},
    config::{Config, DatabaseConfig},
    context::Context,
    data_dir::DataDir,
    domain::{
        fleet::{Credential, CredentialState as StoredState},
        ids::{CredentialId, MachineId},
        order::OpenOrders,
        pool::Settings as Rules,
        sync,
    },
    error::ApiError,
    grpc::{
        catalog::CatalogGrpc,
        events::EventsGrpc,
        fleet::FleetGrpc,
        machine_sync::{MachineSyncGrpc, MachineSyncSettings},
        orchestrator::OrchestratorGrpc,
        orders::OrdersGrpc,
    },
    health::DatabaseProbe,
    limits::MachineBudgets,
    metrics::{KindLabels, Metrics},
    operations::{
        Deps, Settings, SignCertificate, SignedCertificate,
        events::{EventLog, EventSettings},
        orders::{OrderSettings, Orders},
        pool::{Pool, PoolSettings},
        retention::{Retention, keep_sweeping},
        silence::keep_looking,
        sync::{Committer, CommitterSettings, SyncOperation},
        watch::Hints,
    },
    store::{End, Engine, Store, StoreError, StoreOptions, Target, fleet::credentials},
    tls::Authority,
};

/// The embedded database, in the data directory.
const DATABASE_FILE: &str = "vendfleet.db";

/// How often what another replica did is looked for, on behalf of connected machines.
const HINT_POLL: Duration = Duration::from_secs(2);

/// Transactions that commit Syncs side by side on PostgreSQL.
pub const POSTGRES_LANES: usize = 4;
/// Records in one commit of Syncs; a batch closes when it has reached this.
pub const MAX_BATCH_RECORDS: usize = 16_384;

/// The services that do their work here.
const SERVING: [&str; 6] = [
    catalog_service_server::SERVICE_NAME,
    event_service_server::SERVICE_NAME,
    fleet_service_server::SERVICE_NAME,
    machine_sync_service_server::SERVICE_NAME,
    orchestrator_service_server::SERVICE_NAME,
    order_service_server::SERVICE_NAME,
];
/// A day, ms.
const DAY_MS: i64 = 86_400_000;
/// Random bytes in the name of a replica that was given none.
const REPLICA_BYTES: usize = 4;

/// Starts the whole server.
pub async fn start(config: Config, context: Context) -> Result<Running, ServeError> {
    start_with(config, context, services).await
}

/// How long a machine may say nothing, ms; 0: for ever. One that keeps the pace it is told is never silent.
fn silent_after_ms(config: &Config) -> i64 {
    match i64::try_from(config.sync.silent_after_ms).unwrap_or(i64::MAX) {
        0 => 0,
        after_ms => after_ms.max(i64::from(config.sync.base_interval_ms).saturating_mul(2)),
    }
}

async fn services(tools: Toolbox) -> Result<Parts, ServeError> {
    let store = open(&tools.config.database, &tools.data_dir, tools.context.clone()).await?;
    let limits = &tools.config.limits;
    let hints = Hints::default();
    let (poll, drain) = (hints.clone().poll(store.clone(), HINT_POLL), tools.drain.clone());
    tools.workers.spawn(async move {
        tokio::select! {
            () = drain.cancelled() => {}
            () = poll => {}
        }
    });
    tools.workers.spawn(hints.presence().clone().keep(
        store.clone(),
        tools.context.clone(),
        tools.drain.clone(),
    ));
    let events = EventLog::new(store.clone(), EventSettings::from(&tools.config.events));
    tools.workers.spawn(events.clone().follow(tools.drain.clone()));
    let pool = pool(&tools, &store, &hints);
    tools.workers.spawn(pool.clone().end_waiting(tools.drain.clone()));
    let deps = Deps {
        store: store.clone(),
        context: tools.context.clone(),
        key: tools.secret_key.clone(),
        signer: tools.authority.clone(),
        hints,
        orders: orders(&tools, &store),
        pool,
        events: events.clone(),
        settings: Settings {
            replica: replica(&tools),
            started_at_ms: tools.context.now_ms(),
            services: SERVING.iter().map(ToString::to_string).collect(),
            ..Settings::default()
        },
    };
    if tools.config.server.sample_data && tools.config.is_embedded() {
        sample::make(&deps).await.map_err(|cause| ServeError::Services(format!("sample data: {cause}")))?;
    }
    let payments = payments::start(&tools, &deps)?;
    tools.workers.spawn(count_machines(deps.clone(), tools.metrics.pool.clone(), tools.drain.clone()));
    let retention = &tools.config.retention;
    tools.workers.spawn(keep_sweeping(
        deps.clone(),
        Retention {
            keep_ms: i64::from(retention.keep_days).saturating_mul(DAY_MS),
            keep_purchases_ms: i64::from(retention.purchases_keep_days).saturating_mul(DAY_MS),
            batch_rows: retention.batch_rows,
        },
        Duration::from_millis(retention.interval_ms),
        tools.drain.clone(),
    ));
    let silent_after_ms = silent_after_ms(&tools.config);
    let mut health: Vec<_> = relay::start(&tools, &store).await?.into_iter().collect();
    if let Ok(Target::Sqlite(file)) = target(&tools.config.database, &tools.data_dir) {
        health.extend(space::start(&tools, &deps, &file));
    }
    tools.workers.spawn(keep_looking(deps.clone(), silent_after_ms, tools.drain.clone()));
    let catalog = CatalogServiceServer::new(CatalogGrpc::new(deps.clone()));
    let mut routes = Routes::builder();
    routes.add_service(catalog.max_decoding_message_size(limits.message_bytes));
    let machine_sync = MachineSyncServiceServer::new(machine_sync(&tools, &deps).await?);
    routes.add_service(machine_sync.max_decoding_message_size(limits.sync_message_bytes));
    let events = EventServiceServer::new(EventsGrpc::new(deps.clone()));
    routes.add_service(events.max_decoding_message_size(limits.message_bytes));
    let orders = OrderServiceServer::new(OrdersGrpc::new(deps.clone()));
    routes.add_service(orders.max_decoding_message_size(limits.message_bytes));
    let orchestrator = OrchestratorServiceServer::new(OrchestratorGrpc::new(deps.clone()));
    routes.add_service(orchestrator.max_decoding_message_size(limits.message_bytes));
    let fleet = FleetServiceServer::new(FleetGrpc::new(deps));
    routes.add_service(fleet.max_decoding_message_size(limits.message_bytes));
    health.push(("payments", payments.part));
    let probe = StoreProbe {
        store: store.clone(),
        metrics: tools.metrics.clone(),
        shown: Default::default(),
        seen: Default::default(),
    };
    let closing = store.clone();
    let close = Box::pin(async move { closing.close().await });
    Ok(Parts {
        routes,
        serving: SERVING.to_vec(),
        credentials: Arc::new(store),
        probe: Arc::new(probe),
        webhooks: payments.webhooks,
        health,
        close,
    })
}

fn orders(tools: &Toolbox, store: &Store) -> Orders {
    let orders = &tools.config.orders;
    let settings = OrderSettings {
        lanes: match store.engine() {
            // One writer: a second lane would only wait for it.
            Engine::Sqlite => 1,
            Engine::Postgres => orders.lanes,
        },
        max_batch_commands: orders.max_batch_commands,
        max_queued_commands: orders.queue_commands,
        max_queued_ms: tools.config.limits.deadline_ms,
        most_open: OpenOrders { orders: orders.open_per_customer, units: orders.held_units_per_customer },
    };
    Orders::start(store, &tools.context, &tools.metrics, &settings)
}

fn pool(tools: &Toolbox, store: &Store, hints: &Hints) -> Pool {
    let orchestrator = &tools.config.orchestrator;
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let settings = PoolSettings {
        lanes: match store.engine() {
            // One writer: a second lane would only wait for it.
            Engine::Sqlite => 1,
            Engine::Postgres => orchestrator.lanes,
        },
        max_batch_commands: orchestrator.max_batch_commands,
        max_queued_commands: orchestrator.queue_commands,
        max_queued_ms: tools.config.limits.deadline_ms,
        max_waiting_callers: orchestrator.waiting_callers,
        wait_poll: Duration::from_millis(orchestrator.wait_poll_ms),
        rules: Rules {
            lease_ms: ms(orchestrator.lease_ms),
            reservation_ms: ms(orchestrator.reservation_ms),
            rest_after: orchestrator.rest_after.into(),
            rest_ms: ms(orchestrator.rest_ms),
        },
    };
    Pool::start(store, &tools.context, &tools.metrics, hints, &settings)
}

fn replica(tools: &Toolbox) -> String {
    match tools.config.server.replica.as_str() {
        "" => hex::encode(tools.context.random_bytes::<REPLICA_BYTES>()),
        name => name.to_owned(),
    }
}

async fn machine_sync(tools: &Toolbox, deps: &Deps) -> Result<MachineSyncGrpc, ServeError> {
    let (store, context) = (&deps.store, &deps.context);
    let (sync, commit) = (&tools.config.sync, &tools.config.commit);
    let settings = CommitterSettings {
        lanes: match store.engine() {
            // One writer: a second lane would only wait for it.
            Engine::Sqlite => 1,
            Engine::Postgres => POSTGRES_LANES,
        },
        max_batch_calls: commit.max_batch_requests,
        max_batch_records: MAX_BATCH_RECORDS,
        max_queued_calls: commit.queue_requests,
        max_queued_ms: tools.config.limits.deadline_ms,
        sync: sync::Settings {
            base_interval_ms: sync.base_interval_ms,
            stale_call_grace_ms: i64::try_from(sync.stale_call_grace_ms).unwrap_or(i64::MAX),
            // A machine may still begin for as long as the reservation holds.
            doubt_after_ms: i64::try_from(tools.config.orchestrator.reservation_ms).unwrap_or(i64::MAX),
        },
    };
    let committer = Committer::start(store, context, &tools.metrics, &settings);
    let operation =
        SyncOperation::start(store.clone(), committer, context.clone()).await.map_err(database)?;
    let settings = MachineSyncSettings {
        keep_days: sync.keep_days,
        max_records: sync.max_records,
        max_body_bytes: sync.max_body_bytes,
        watch_heartbeat: Duration::from_millis(sync.watch_heartbeat_ms),
    };
    let budgets = MachineBudgets::new(&tools.config, context.clone());
    Ok(MachineSyncGrpc::new(deps.clone(), operation, settings, budgets))
}

impl SignCertificate for Authority {
    fn sign(
        &self,
        csr_der: &[u8],
        machine: MachineId,
        credential: CredentialId,
    ) -> Result<SignedCertificate, String> {
        let signed = self.sign_machine_csr(csr_der, machine.0, credential.0);
        let (der, expires_ms) = signed.map_err(|cause| cause.to_string())?;
        Ok(SignedCertificate { der, expires_ms })
    }

    fn ca_pem(&self) -> String {
        Self::ca_pem(self).to_owned()
    }
}

/// Brings the database to this server's schema, and says which version that is. Of the embedded one only while no server
/// runs on it.
pub async fn migrate(config: &Config, context: Context) -> Result<i64, ServeError> {
    let data_dir = DataDir::open(&config.server.data_dir)?;
    let _lock = if config.is_embedded() { Some(data_dir.lock()?) } else { None };
    let store = open(&config.database, &data_dir, context).await?;
    let version = store.schema_version().await.map_err(database)?;
    store.close().await;
    Ok(version)
}

pub(super) fn target(config: &DatabaseConfig, data_dir: &DataDir) -> Result<Target, ServeError> {
    match config.url.as_str() {
        "" => Ok(Target::Sqlite(data_dir.path(DATABASE_FILE))),
        url => Target::parse(url).map_err(|cause| ServeError::Config { key: "database.url", cause }),
    }
}

async fn open(config: &DatabaseConfig, data_dir: &DataDir, context: Context) -> Result<Store, ServeError> {
    let store = connect(config, data_dir, context).await?;
    store.migrate().await.map_err(database)?;
    Ok(store)
}

/// Opens the database and leaves its schema as it is.
pub(super) async fn connect(
    config: &DatabaseConfig,
    data_dir: &DataDir,
    context: Context,
) -> Result<Store, ServeError> {
    let options = StoreOptions {
        target: target(config, data_dir)?,
        connections: config.connections,
        acquire_timeout: Duration::from_millis(config.acquire_timeout_ms),
        statement_timeout: Duration::from_millis(config.statement_timeout_ms),
        lock_timeout: Duration::from_millis(config.lock_timeout_ms),
        retries: config.retries,
    };
    Store::open(&options, context).await.map_err(database)
}

/// The database's own words are for whoever starts the server; remote callers never see them.
#[expect(clippy::needless_pass_by_value, reason = "a map_err function")]
pub(super) fn database(error: StoreError) -> ServeError {
    let mut text = format!("database: {error}");
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(under) = cause {
        text.push_str(&format!(": {under}"));
        cause = under.source();
    }
    ServeError::Services(text)
}

/// Asks the store whether the database answers, and shows what the store has counted since it was last asked.
struct StoreProbe {
    store: Store,
    metrics: Metrics,
    /// Races lost, and transactions that failed because the database was not available, as last shown.
    shown: [AtomicU64; 2],
    /// Writes committed, and failed for want of room, when it was last looked whether writes are taken.
    seen: [AtomicU64; 2],
}

const DISK_FULL: &str = "disk full: writes fail until there is room again";

impl StoreProbe {
    fn counted(&self) -> (u64, u64) {
        let counts = self.store.counts();
        (counts.writes.load(Ordering::Relaxed), counts.full.load(Ordering::Relaxed))
    }
}

/// Why the database takes no writes, for an operator.
fn no_writes(error: &StoreError) -> String {
    match error {
        StoreError::Full(_) => DISK_FULL,
        StoreError::ReadOnly(_) => {
            "read-only: a standby, a database that was set so, or a file without write permission"
        }
        StoreError::Conflict(_) => "locked from outside: another process holds the database",
        _ => "can't be written; the log says why",
    }
    .to_owned()
}

impl DatabaseProbe for StoreProbe {
    fn probe(&self) -> BoxFuture<'_, Result<(), ApiError>> {
        let counts = self.store.counts();
        let now = [("conflict", &counts.conflicts), ("unavailable", &counts.unavailable)];
        for ((kind, count), shown) in now.into_iter().zip(&self.shown) {
            let count = count.load(Ordering::Relaxed);
            let more = count.saturating_sub(shown.swap(count, Ordering::Relaxed));
            self.metrics.database_failures.get_or_create(&KindLabels { kind }).inc_by(more);
        }
        Box::pin(async move { self.store.ping().await.map_err(ApiError::from) })
    }

    fn probe_write(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            // Whatever else was written since the last look says the same, and costs nothing more. A full medium may well take
            // a page where it has no room for two.
            let (writes, full) = self.counted();
            let writes_before = self.seen[0].swap(writes, Ordering::Relaxed);
            if self.seen[1].swap(full, Ordering::Relaxed) != full {
                return Err(DISK_FULL.to_owned());
            }
            if writes != writes_before {
                return Ok(());
            }
            let written = self.store.probe_write().await.map_err(|error| no_writes(&error));
            let (writes, full) = self.counted();
            self.seen[0].store(writes, Ordering::Relaxed);
            self.seen[1].store(full, Ordering::Relaxed);
            written
        })
    }
}

impl CredentialSource for Store {
    fn find_credential(
        &self,
        credential_id: Uuid,
    ) -> BoxFuture<'_, Result<Option<CredentialRecord>, ApiError>> {
        Box::pin(async move {
            let mut session = self.read().await?;
            Ok(credentials::find(&mut session, CredentialId(credential_id)).await?.as_ref().map(record))
        })
    }

    fn find_credentials(&self, ids: Vec<Uuid>) -> BoxFuture<'_, Result<Vec<CredentialRecord>, ApiError>> {
        Box::pin(async move {
            let mut session = self.read().await?;
            Ok(credentials::find_all(&mut session, &ids).await?.iter().map(record).collect())
        })
    }

    fn note_used(&self, ids: Vec<Uuid>, now_ms: i64) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async move {
            let noted = self.run_tx("note_used", ids, move |tx, ids| {
                Box::pin(async move {
                    credentials::note_used(tx, ids, now_ms).await?;
                    Ok(End::Commit(()))
                })
            });
            Ok(noted.await?)
        })
    }
}

fn record(stored: &Credential) -> CredentialRecord {
    let state = match stored.stored_state {
        StoredState::Active => CredentialState::Active,
        StoredState::UploadOnly => CredentialState::UploadOnly { drain_until_ms: stored.drain_until_ms },
        StoredState::Revoked => CredentialState::Revoked,
    };
    CredentialRecord {
        credential_id: stored.id.0,
        machine_id: stored.machine.0,
        secret_hash: stored.secret_hash,
        state,
        last_used_ms: stored.last_used_ms,
    }
}
