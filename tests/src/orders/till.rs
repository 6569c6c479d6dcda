//! A shop whose orders are paid for through a scripted gateway, over a wire that can be cut.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use tempfile::TempDir;
use vendfleet_proto::v1::{self, OrderStatus};

use super::{
    Shop,
    caller::Caller,
    checker::{Checked, check_paid},
    story::Charge,
};
use crate::{
    fleet::{Engine, operator::request_id},
    gateway::{API_KEY, TestGateway},
    link::Link,
    server::ServerOptions,
    wait::{PATIENCE, until},
};

/// What webhooks are signed with.
const WEBHOOK_SECRET: &str = "a secret that only the gateway and this deployment know";

/// How long a test's server waits for one answer of the gateway: longer than a busy machine takes to kill a process.
const TIMEOUT_MS: u64 = 800;
/// Longer than one attempt, a query and a void under one claim.
const LEASE_MS: u64 = 2_600;

/// Servers, a gateway, and the wire between them.
pub struct Till {
    /// The servers.
    pub shop: Shop,
    /// The gateway.
    pub gateway: TestGateway,
    /// The wire to it.
    pub link: Link,
    _secrets: TempDir,
}

impl Till {
    /// One attempt per claim, soon repeated, and a breaker that stays shut, unless set otherwise.
    pub async fn open(engine: Engine, replicas: usize, set: impl Fn(ServerOptions) -> ServerOptions) -> Self {
        let counter = Counter::new().await;
        let shop = Shop::start(engine, replicas, |options| set(counter.set(options))).await;
        counter.with(shop)
    }

    /// Likewise, on the database with this URL.
    pub async fn on(url: &str, replicas: usize) -> Self {
        let counter = Counter::new().await;
        let shop = Shop::on(url, replicas, |options| counter.set(options)).await;
        counter.with(shop)
    }

    /// Waits until an order is as wanted, and gives it.
    pub async fn until(
        &self,
        caller: &Caller,
        order_id: &str,
        what: &str,
        wanted: impl Fn(&v1::Order) -> bool,
    ) -> v1::Order {
        until(what, PATIENCE, || async {
            let order = caller.get(order_id).await.unwrap();
            wanted(&order).then_some(order)
        })
        .await
    }

    /// Waits until an order has ended, and gives it.
    pub async fn ended(&self, caller: &Caller, order_id: &str) -> v1::Order {
        self.until(caller, order_id, "an order to end", |order| order.end_time_ms != 0).await
    }

    /// Waits until an order is listed as unsettled.
    pub async fn unsettled(&self, caller: &Caller, order_id: &str) -> v1::Order {
        self.until(caller, order_id, "an order to be unsettled", |order| order.unsettled).await
    }

    /// Waits until nobody has anything to do any more.
    pub async fn quiet(&self) {
        let everybody = self.shop.caller("");
        until("every order to end", PATIENCE, || async {
            let open = v1::ListOrdersRequest {
                statuses: vec![OrderStatus::Pending.into(), OrderStatus::Processing.into()],
                ..Default::default()
            };
            everybody.list(open).await.is_empty().then_some(())
        })
        .await;
    }

    /// Sends what the gateway has to say of an order to the first replica; gives the HTTP status.
    pub async fn webhook(&self, webhook: &crate::gateway::Webhook) -> u16 {
        webhook.send(self.shop.replicas[0].server.http_addr(), WEBHOOK_SECRET).await
    }

    /// What was set aside about an order.
    pub async fn dead_letters(&self, order_id: &str) -> Vec<v1::DeadLetter> {
        let request = v1::ListDeadLettersRequest { order_id: order_id.to_owned(), ..Default::default() };
        self.shop.operator().fleet.list_dead_letters(request).await.unwrap().into_inner().dead_letters
    }

    /// Alerts of one type about an order.
    pub async fn alerts(&self, order_id: &str, wanted: v1::AlertType) -> Vec<v1::Alert> {
        let request = v1::ListAlertsRequest { r#type: wanted.into(), ..Default::default() };
        let mut found = self.shop.operator().fleet.list_alerts(request).await.unwrap().into_inner().alerts;
        found.retain(|alert| alert.order_id == order_id);
        found
    }

    /// Hands what was set aside back to the worker.
    pub async fn redrive(&self, letter: &v1::DeadLetter) -> v1::DeadLetter {
        let request = v1::RedriveDeadLetterRequest {
            request_id: request_id(),
            dead_letter_id: letter.dead_letter_id.clone(),
        };
        self.shop
            .operator()
            .fleet
            .redrive_dead_letter(request)
            .await
            .unwrap()
            .into_inner()
            .dead_letter
            .unwrap()
    }

    /// Orders, stock, events, and the gateway's own books.
    pub async fn check(&self) -> Checked {
        let ledger = self.gateway.ledger();
        ledger.assert_never_twice();
        let charge = |payment: &crate::gateway::Payment| Charge {
            taken: payment.charges,
            given_back: payment.refunds,
        };
        let charges: BTreeMap<_, _> =
            ledger.payments.iter().map(|(key, payment)| (key.clone(), charge(payment))).collect();
        check_paid(&self.shop, charges).await
    }
}

/// What a till is before its shop: the gateway, and what servers must know to reach it.
pub struct Counter {
    /// The gateway.
    pub gateway: TestGateway,
    link: Link,
    secrets: TempDir,
}

impl Counter {
    /// A gateway without a shop.
    pub async fn new() -> Self {
        let gateway = TestGateway::start().await;
        let address: SocketAddr = gateway.url().trim_start_matches("http://").parse().unwrap();
        let link = Link::to(address).await;
        let secrets = tempfile::Builder::new().prefix("vendfleet-till-").tempdir().unwrap();
        fs::write(secrets.path().join("key"), API_KEY).unwrap();
        fs::write(secrets.path().join("secret"), WEBHOOK_SECRET).unwrap();
        Self { gateway, link, secrets }
    }

    /// What a server must know to reach it.
    pub fn set(&self, options: ServerOptions) -> ServerOptions {
        let file = |name: &str| self.secrets.path().join(name).display().to_string();
        options
            .set("payments.gateway", "http")
            .set("payments.url", format!("http://{}", self.link.addr()))
            .set("payments.api_key_file", file("key"))
            .set("payments.webhook_secret_file", file("secret"))
            .set("payments.timeout_ms", TIMEOUT_MS)
            .set("payments.attempts", 1)
            .set("payments.backoff_first_ms", 10)
            .set("payments.backoff_most_ms", 20)
            .set("payments.breaker_failures", 1_000)
            .set("worker.lease_ms", LEASE_MS)
            .set("worker.poll_ms", 20)
            .set("worker.query_interval_ms", 100)
            .set("worker.query_interval_most_ms", 200)
    }

    fn with(self, shop: Shop) -> Till {
        Till { shop, gateway: self.gateway, link: self.link, _secrets: self.secrets }
    }
}
