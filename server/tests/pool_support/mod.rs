//! A hall of machines over a stage: services that start work and choose products, and a worker that is driven by hand.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

use crate::fleet_support::{Device, Stage, id, machine_config, operator};
use server::auth::{Caller, Person, Role, Scope};
use server::config::EventsConfig;
use server::domain::ids::MachineId;
use server::domain::pool::{Answer, Command, Job, JobDone, Report};
use server::domain::sync::AppliedConfig;
use server::grpc::{catalog::CatalogGrpc, events::EventsGrpc, orchestrator::OrchestratorGrpc};
use server::metrics::Metrics;
use server::operations::Deps;
use server::operations::events::{EventLog, EventSettings};
use server::operations::pool::{Pool, PoolSettings};
use server::store::{End, presence};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use uuid::Uuid;
use vend_core::id::ConfigId;
use vendfleet_proto::v1::{
    self, catalog_service_server::CatalogService as _, event_service_server::EventService as _,
    fleet_service_server::FleetService as _, orchestrator_service_server::OrchestratorService as _,
};

/// Bounds under which who waits notices soon what another replica did.
pub fn attentive() -> PoolSettings {
    PoolSettings { wait_poll: std::time::Duration::from_millis(20), ..PoolSettings::default() }
}

pub struct Hall {
    pub deps: Deps,
    pub orchestrator: OrchestratorGrpc,
}

impl Hall {
    pub fn new(stage: &Stage) -> Self {
        Self::on(&stage.deps)
    }

    pub fn on(deps: &Deps) -> Self {
        Self { deps: deps.clone(), orchestrator: OrchestratorGrpc::new(deps.clone()) }
    }

    /// Another replica on the same database, with bounds of its own.
    pub fn with(stage: &Stage, settings: &PoolSettings) -> Self {
        let metrics = Metrics::new(&mut Default::default());
        let deps = &stage.deps;
        let pool = Pool::start(&deps.store, &deps.context, &metrics, &deps.hints, settings);
        Self::on(&Deps { pool, ..deps.clone() })
    }

    pub async fn start(&self, request: v1::StartWorkRequest) -> Result<v1::StartWorkResponse, Status> {
        Ok(self.orchestrator.start_work(service(request)).await?.into_inner())
    }

    /// A session on any machine.
    pub async fn begin(&self) -> v1::StartWorkResponse {
        self.start(any()).await.unwrap()
    }

    pub async fn choose(
        &self,
        request: v1::ChooseProductRequest,
    ) -> Result<v1::ChooseProductResponse, Status> {
        Ok(self.orchestrator.choose_product(service(request)).await?.into_inner())
    }

    /// Buys on a session's machine, not paid by us.
    pub async fn buy(
        &self,
        begun: &v1::StartWorkResponse,
        product: &v1::Product,
    ) -> v1::ChooseProductResponse {
        self.choose(choice(begun, product)).await.unwrap()
    }

    pub async fn session(&self, session_id: &str) -> v1::MachineSession {
        let request =
            v1::GetMachineSessionRequest { session_id: session_id.to_owned(), ..Default::default() };
        self.orchestrator.get_machine_session(service(request)).await.unwrap().into_inner().session.unwrap()
    }

    pub async fn reset(&self, session: &v1::MachineSession) -> Result<v1::ResetMachineResponse, Status> {
        self.reset_as(&id(), session).await
    }

    pub async fn reset_as(
        &self,
        request_id: &str,
        session: &v1::MachineSession,
    ) -> Result<v1::ResetMachineResponse, Status> {
        let request = v1::ResetMachineRequest {
            request_id: request_id.to_owned(),
            machine_id: session.machine_id.clone(),
            session_id: session.session_id.clone(),
            note: "stuck".to_owned(),
        };
        Ok(self.orchestrator.reset_machine(operator(request)).await?.into_inner())
    }

    /// Everything a worker may take now.
    pub async fn claim(&self) -> Vec<Job> {
        self.deps.pool.claim(1_000, 60_000).await.unwrap()
    }

    pub async fn report(&self, job: &Job, done: JobDone) -> Answer {
        let at_ms = self.deps.context.now_ms();
        let report =
            Report { purchase: job.purchase.id, fence: job.purchase.fence, attempts: 1, done, at_ms };
        self.deps.pool.submit(Command::Report(report)).await.unwrap()
    }

    /// Lets every job that is due come to its end.
    pub async fn work(&self) {
        for job in self.claim().await {
            self.report(&job, JobDone::Elapsed).await;
        }
    }

    /// The lease or rest of a machine is over.
    pub async fn pass_time(&self, machine_id: &str) {
        let machine: Uuid = machine_id.parse().unwrap();
        let passed = self.deps.store.run_tx("test_time", machine, |tx, machine| {
            Box::pin(async move {
                let sql = "UPDATE sessions SET lease_until_ms = 1 WHERE machine_id = $1 AND state = 1";
                tx.execute(sql, &[machine.into()]).await?;
                tx.execute("UPDATE pool SET free_at_ms = 1 WHERE machine_id = $1", &[machine.into()]).await?;
                Ok(End::Commit(()))
            })
        });
        passed.await.unwrap();
    }

    /// Every purchase that waits for a time is due.
    pub async fn make_due(&self) {
        let due = self.deps.store.run_tx("test_due", (), |tx, ()| {
            Box::pin(async move {
                tx.execute("UPDATE purchases SET due_at_ms = 1 WHERE due_at_ms > 0", &[]).await?;
                Ok(End::Commit(()))
            })
        });
        due.await.unwrap();
    }

    /// Its stream of hints has ended.
    pub async fn disconnect(&self, machine: MachineId) {
        let ended = self.deps.store.run_tx("test_disconnect", machine, |tx, machine| {
            Box::pin(async move {
                let sql = "UPDATE pool SET connected_until_ms = 0 WHERE machine_id = $1";
                tx.execute(sql, &[(&machine.0).into()]).await?;
                Ok(End::Commit(()))
            })
        });
        ended.await.unwrap();
    }

    pub async fn stock(&self, product: &v1::Product) -> i64 {
        let request = v1::GetProductRequest { product_id: product.product_id.clone() };
        let catalog = CatalogGrpc::new(self.deps.clone());
        catalog.get_product(operator(request)).await.unwrap().into_inner().product.unwrap().stock
    }

    /// What has moved a product's stock so far: why, by which purchase, by how much, to how much.
    pub async fn stock_causes(&self, product: &v1::Product) -> Vec<(v1::StockChangeCause, String, i64, i64)> {
        let log = EventLog::new(self.deps.store.clone(), EventSettings::from(&EventsConfig::default()));
        let stop = CancellationToken::new();
        tokio::spawn(log.clone().follow(stop.clone()));
        let _stop = stop.drop_guard();
        let request = v1::StreamEventsRequest { start: v1::StreamStart::Oldest.into(), ..Default::default() };
        let events = EventsGrpc::new(Deps { events: log, ..self.deps.clone() });
        let mut stream = events.stream_events(operator(request)).await.unwrap().into_inner();
        let mut causes = Vec::new();
        let stock = self.stock(product).await;
        while let Some(message) = stream.next().await {
            let Some(v1::stream_events_response::Message::Event(event)) = message.unwrap().message else {
                continue;
            };
            let Some(v1::event::Data::Inventory(inventory)) = event.data else { continue };
            let Some(v1::inventory_event::Change::Stock(change)) = inventory.change else { continue };
            causes.push((change.cause(), change.purchase_id.clone(), change.delta, change.stock_after));
            if causes.len() > 1 && change.stock_after == stock {
                break;
            }
        }
        causes
    }

    /// Every row about sessions and purchases, to see that nothing changed.
    pub async fn rows(&self) -> Vec<Vec<i64>> {
        let mut session = self.deps.store.read().await.unwrap();
        let counts = "SELECT (SELECT COUNT(*) FROM sessions), (SELECT COUNT(*) FROM purchases), \
                      (SELECT COUNT(*) FROM commands), (SELECT CAST(SUM(position) AS BIGINT) FROM event_heads), \
                      (SELECT CAST(SUM(stock) AS BIGINT) FROM products), CAST(0 AS BIGINT), CAST(0 AS BIGINT)";
        let pool = "SELECT state, free_at_ms, usage_count, failures, fence, last_picked_ms, fence FROM pool \
                    ORDER BY machine_id";
        let mut rows = Vec::new();
        for sql in [counts, pool] {
            for row in session.all(sql, &[]).await.unwrap() {
                let mut c = row.columns();
                rows.push((0..7).map(|_| c.opt_int().unwrap().unwrap_or(0)).collect());
            }
        }
        rows
    }
}

pub async fn machine(stage: &Stage, name: &str) -> v1::Machine {
    machine_of(stage, name, "", &[]).await
}

pub async fn machine_of(stage: &Stage, name: &str, group: &str, tags: &[&str]) -> v1::Machine {
    let new = v1::CreateMachineRequest {
        request_id: id(),
        kind: v1::MachineKind::Virtual.into(),
        name: name.to_owned(),
        group: group.to_owned(),
        tags: tags.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    stage.fleet.create_machine(operator(new)).await.unwrap().into_inner().machine.unwrap()
}

/// A real machine with units of a product in slot 3, connected.
pub async fn real_machine(stage: &Stage, product: &v1::Product, units: u32) -> (v1::Machine, Device) {
    let machine = stage.machine("real").await;
    let config = stage
        .fleet
        .create_config(operator(v1::CreateConfigRequest {
            request_id: id(),
            name: "plan".to_owned(),
            note: String::new(),
            config: Some(machine_config(product, 200)),
        }))
        .await
        .unwrap()
        .into_inner()
        .config
        .unwrap();
    let mut device = Device::new(&machine, product);
    device.count(units);
    let mut call = device.call_with_level(stage.deps.context.now_ms(), units);
    let config = ConfigId(config.config_id.parse::<Uuid>().unwrap().into_bytes());
    let as_of_seq = device.records.len() as u64;
    call.applied = Some(AppliedConfig { as_of_seq, number: 1, config: Some(config), rejected_number: 0 });
    device.accepted = stage.sync(call).await.accepted_through;
    connect(stage, device.machine).await;
    (machine, device)
}

pub async fn connect(stage: &Stage, machine: MachineId) {
    let own_ms = stage.deps.context.now_ms();
    let connected = stage.deps.store.run_tx("test_connect", machine, move |tx, machine| {
        Box::pin(async move { Ok(End::Commit(presence::renew(tx, &[*machine], 600_000, own_ms).await?)) })
    });
    connected.await.unwrap();
}

pub fn any() -> v1::StartWorkRequest {
    v1::StartWorkRequest { request_id: id(), ..Default::default() }
}

pub fn choice(begun: &v1::StartWorkResponse, product: &v1::Product) -> v1::ChooseProductRequest {
    v1::ChooseProductRequest {
        request_id: id(),
        session_id: begun.session.clone().unwrap().session_id,
        session_token: begun.session_token.clone(),
        product_id: product.product_id.clone(),
        expected_price: None,
        payment: v1::PaymentMode::None.into(),
    }
}

/// A service that may act for customers.
pub fn service<T>(message: T) -> Request<T> {
    let person =
        Person { subject: "kiosk".to_owned(), role: Role::Service, scopes: vec![Scope::OrdersOnBehalf] };
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller::Person(person));
    request
}
