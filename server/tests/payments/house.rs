//! A shop on either engine, a gateway, and workers between them that can be started and killed.

use crate::fleet_support::{Stage, id, operator};
use crate::gateway::{API_KEY, TestGateway};
use crate::orders_support::Shop;
use crate::wait::{PATIENCE, until};
use server::http::Webhooks;
use server::metrics::{Metrics, PaymentMetrics};
use server::operations::payments::{
    BreakerSettings, BreakerState, HttpGateway, HttpGatewaySettings, Till, TillSettings, WebhookSecrets,
};
use server::operations::worker::{CashierSettings, Worker, WorkerSettings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vendfleet_proto::v1::{self, fleet_service_server::FleetService as _};

pub(crate) const SECRET: &str = "a secret that only the gateway and this server know";
pub(crate) const CUSTOMER: &str = "ann";
pub(crate) const PRICE: i64 = 150;
pub(crate) const LEASE_MS: i64 = 1_500;
const TIMEOUT: Duration = Duration::from_millis(400);

pub(crate) struct House {
    pub(crate) stage: Stage,
    pub(crate) shop: Shop,
    pub(crate) gateway: TestGateway,
    pub(crate) metrics: PaymentMetrics,
    ticking: JoinHandle<()>,
}

/// A worker that runs.
pub(crate) struct Running {
    pub(crate) till: Till,
    drain: CancellationToken,
    tasks: TaskTracker,
    looping: JoinHandle<()>,
}

impl Running {
    /// As SIGTERM does: no new work, what is under way ends.
    pub(crate) async fn drain(self) {
        self.drain.cancel();
        self.looping.await.unwrap();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) async fn breaker_is(&self, state: BreakerState) {
        let mut shown = self.till.watch();
        tokio::time::timeout(PATIENCE, shown.wait_for(|now| *now == state)).await.unwrap().unwrap();
    }
}

impl House {
    pub(crate) async fn new(stage: Stage) -> Self {
        let clock = stage.clock.clone();
        // The stage's clock goes on like that of the database, so that leases lapse on both engines.
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                clock.advance(Duration::from_millis(5));
            }
        });
        let shop = Shop::new(&stage);
        let metrics = Metrics::new(&mut Default::default()).payments;
        Self { stage, shop, gateway: TestGateway::start().await, metrics, ticking }
    }

    pub(crate) fn till(&self, failures: u32) -> Till {
        let settings =
            HttpGatewaySettings { url: self.gateway.url(), api_key: API_KEY.to_owned(), connections: 64 };
        let breaker = BreakerSettings {
            failures,
            open_for: Duration::from_millis(300),
            probe_for: Duration::from_millis(1_500),
        };
        let settings = (HttpGateway::new(&settings).unwrap(), TillSettings { timeout: TIMEOUT, breaker });
        Till::new(Arc::new(settings.0), settings.1, self.stage.deps.context.clone(), self.metrics.clone())
    }

    pub(crate) fn worker(&self) -> Running {
        self.worker_with(1_000, 2)
    }

    pub(crate) fn worker_with(&self, breaker_failures: u32, attempts: u32) -> Running {
        let till = self.till(breaker_failures);
        let settings = WorkerSettings {
            max_in_flight_per_customer: usize::MAX,
            max_in_flight: 16,
            claim_batch: 8,
            lease_ms: LEASE_MS,
            poll: Duration::from_millis(20),
        };
        let cashier = CashierSettings {
            attempts,
            backoff_first: Duration::from_millis(5),
            backoff_most: Duration::from_millis(20),
            query_interval: Duration::from_millis(100),
            query_interval_most: Duration::from_millis(200),
            lease: Duration::from_millis(1_500),
        };
        let (orders, context) = (self.stage.deps.orders.clone(), self.stage.deps.context.clone());
        let worker = Worker::new(orders, till.clone(), settings, cashier, context, self.metrics.clone());
        let (drain, tasks) = (CancellationToken::new(), TaskTracker::new());
        let looping = tokio::spawn(worker.run(drain.clone(), tasks.clone()));
        Running { till, drain, tasks, looping }
    }

    /// An order for one unit.
    pub(crate) async fn order(&self, product: &v1::Product) -> String {
        self.shop.order(CUSTOMER, &id(), &[(product, 1)]).await.unwrap().0.order_id
    }

    pub(crate) async fn get(&self, order: &str) -> v1::Order {
        self.shop.get(CUSTOMER, order).await.unwrap()
    }

    /// The order once it is so.
    pub(crate) async fn until(&self, what: &str, order: &str, is: impl Fn(&v1::Order) -> bool) -> v1::Order {
        until(what, PATIENCE, || async { Some(self.get(order).await).filter(|order| is(order)) }).await
    }

    pub(crate) async fn until_status(&self, order: &str, status: v1::OrderStatus) -> v1::Order {
        self.until(status.as_str_name(), order, |order| order.status() == status).await
    }

    pub(crate) async fn alert(&self, kind: v1::AlertType) -> v1::Alert {
        let mut found = self.stage.alerts(kind).await;
        assert_eq!(found.len(), 1, "{kind:?}");
        found.remove(0)
    }

    pub(crate) async fn letters(&self, list: v1::ListDeadLettersRequest) -> v1::ListDeadLettersResponse {
        self.stage.fleet.list_dead_letters(operator(list)).await.unwrap().into_inner()
    }

    /// Listens for webhooks.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let secrets = WebhookSecrets::parse(SECRET).unwrap();
        let deps = &self.stage.deps;
        let (orders, pool, context) = (deps.orders.clone(), deps.pool.clone(), deps.context.clone());
        let webhooks =
            Webhooks::new(secrets, orders, pool, Duration::from_secs(1), context, self.metrics.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, webhooks.router()).await });
        address
    }

    pub(crate) fn now_s(&self) -> i64 {
        self.stage.deps.context.now_ms() / 1_000
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}
