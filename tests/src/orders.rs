//! Servers that sell central stock: one on SQLite, or any number of replicas on one PostgreSQL database.
//!
//! * [`Shop`] starts them and makes products; [`caller`] is who orders.
//! * [`till`] has them paid through a scripted gateway.
//! * [`checker`] verifies invariants 3 and 4 of DESIGN section 8 from what the public API says.

pub mod caller;
pub mod checker;
pub mod story;
pub mod till;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use vendfleet_proto::v1::{
    self, event_service_client::EventServiceClient, order_service_client::OrderServiceClient,
};

use crate::{
    client::{self, AuthorizedChannel},
    fleet::{
        Engine,
        operator::{Operator, request_id},
        rows::Rows,
    },
    link::Link,
    postgres::TestDatabase,
    server::{ServerOptions, TestServer},
};
use caller::Caller;

/// Far above what a test calls: who is limited is another test's business.
const RATE: u32 = 1_000_000;
/// Streams say soon that they have nothing more to say.
const HEARTBEAT_MS: u64 = 200;

/// One server, and the wire to it, whose address stays while the server comes and goes.
pub struct Replica {
    /// The server.
    pub server: TestServer,
    /// The wire.
    pub link: Link,
}

impl Replica {
    async fn new(server: TestServer) -> Self {
        let link = Link::to(server.grpc_addr()).await;
        Self { server, link }
    }

    /// Starts the server again after a kill or a stop.
    pub async fn restart(&mut self) {
        self.server.restart().await;
        self.link.lead_to(self.server.grpc_addr());
    }
}

/// What the replicas store in.
enum Home {
    Embedded,
    /// Dropped with the shop.
    Own(TestDatabase),
    /// Somebody else's, who may restart it.
    Elsewhere(String),
}

/// Servers, and what is known about their stock from outside.
pub struct Shop {
    /// What they store in.
    pub engine: Engine,
    /// At least one.
    pub replicas: Vec<Replica>,
    /// A cursor from before the first order.
    pub beginning: String,
    home: Home,
    operator: String,
    service: String,
    ca: String,
    initial: Mutex<BTreeMap<String, i64>>,
}

impl Shop {
    /// One server whose orders nobody has paid: what is PENDING stays so.
    pub async fn unpaid(engine: Engine) -> Self {
        Self::start(engine, 1, |options| options.set("worker.enabled", false)).await
    }

    /// So many servers (SQLite: one) with these settings.
    pub async fn start(
        engine: Engine,
        replicas: usize,
        set: impl Fn(ServerOptions) -> ServerOptions,
    ) -> Self {
        match engine {
            Engine::Sqlite => {
                assert_eq!(replicas, 1, "SQLite is embedded in one server");
                Self::at(Home::Embedded, engine, ServerOptions::embedded(), 1, set).await
            }
            Engine::Postgres => {
                let database = TestDatabase::create().await;
                let options = ServerOptions::postgres(&database);
                Self::at(Home::Own(database), engine, options, replicas, set).await
            }
        }
    }

    /// So many servers on the database with this URL.
    pub async fn on(url: &str, replicas: usize, set: impl Fn(ServerOptions) -> ServerOptions) -> Self {
        let home = Home::Elsewhere(url.to_owned());
        Self::at(home, Engine::Postgres, ServerOptions::at(url), replicas, set).await
    }

    async fn at(
        home: Home,
        engine: Engine,
        options: ServerOptions,
        replicas: usize,
        set: impl Fn(ServerOptions) -> ServerOptions,
    ) -> Self {
        let options = options
            .set("server.sample_data", false)
            .set("limits.rate_per_s", RATE)
            .set("limits.rate_burst", RATE)
            .set("limits.service_rate_per_s", RATE)
            .set("limits.service_rate_burst", RATE)
            .set("events.heartbeat_ms", HEARTBEAT_MS);
        let first = TestServer::start(set(options.clone())).await;
        let mut shop = Self {
            engine,
            operator: first.token("operator", "tests").await,
            service: first.token_on_behalf("till").await,
            ca: first.ca_pem(),
            replicas: vec![Replica::new(first).await],
            beginning: String::new(),
            home,
            initial: Mutex::default(),
        };
        for _ in 1..replicas {
            let beside = shop.replicas[0].server.start_beside(set(options.clone())).await;
            shop.replicas.push(Replica::new(beside).await);
        }
        shop.beginning = shop.caller("nobody").now().await;
        shop
    }

    /// A channel to one replica, through its wire.
    pub fn channel(&self, replica: usize, token: &str) -> AuthorizedChannel {
        client::authorized(client::channel(self.replicas[replica].link.addr(), &self.ca), token)
    }

    /// A person with an operator's token.
    pub fn operator(&self) -> Operator {
        Operator::new(&self.channel(0, &self.operator))
    }

    /// A channel of a server that acts for customers.
    pub fn service_channel(&self, replica: usize) -> AuthorizedChannel {
        self.channel(replica, &self.service)
    }

    /// An operator's channel.
    pub fn operator_channel(&self, replica: usize) -> AuthorizedChannel {
        self.channel(replica, &self.operator)
    }

    /// A server that acts for this customer, over a connection of its own to the first replica.
    pub fn caller(&self, customer: &str) -> Caller {
        self.caller_at(0, customer)
    }

    /// Likewise, to that replica.
    pub fn caller_at(&self, replica: usize, customer: &str) -> Caller {
        Caller::new(OrderServiceClient::new(self.channel(replica, &self.service)), customer)
    }

    /// A customer with a token of its own.
    pub async fn customer(&self, name: &str) -> Caller {
        let token = self.replicas[0].server.token("customer", name).await;
        Caller::new(OrderServiceClient::new(self.channel(0, &token)), "")
    }

    /// The events, as that replica tells them.
    pub fn events(&self, replica: usize) -> EventServiceClient<AuthorizedChannel> {
        EventServiceClient::new(self.channel(replica, &self.operator))
    }

    /// The database.
    pub async fn rows(&self) -> Rows {
        match &self.home {
            Home::Embedded => Rows::sqlite(&self.replicas[0].server.data_dir().join("vendfleet.db")).await,
            Home::Own(database) => Rows::postgres(database.url()).await,
            Home::Elsewhere(url) => Rows::postgres(url).await,
        }
    }

    /// The PostgreSQL database, where there is one.
    pub fn database_url(&self) -> Option<String> {
        match &self.home {
            Home::Embedded => None,
            Home::Own(database) => Some(database.url().to_owned()),
            Home::Elsewhere(url) => Some(url.clone()),
        }
    }

    /// A product at 2.50 EUR with that much stock; gives its id.
    pub async fn product(&self, sku: &str, stock: i64) -> String {
        self.product_at(sku, stock, 250, "EUR").await
    }

    /// A product at that price.
    pub async fn product_at(&self, sku: &str, stock: i64, price_minor: i64, currency: &str) -> String {
        let request = v1::CreateProductRequest {
            request_id: request_id(),
            sku: sku.to_owned(),
            name: format!("Product {sku}"),
            price: Some(v1::Money { currency_code: currency.to_owned(), minor_units: price_minor }),
            initial_stock: stock,
            ..Default::default()
        };
        let made = self.operator().catalog.create_product(request).await.unwrap().into_inner();
        let product_id = made.product.unwrap().product_id;
        self.initial.lock().unwrap_or_else(PoisonError::into_inner).insert(product_id.clone(), stock);
        product_id
    }

    /// Central stock of a product.
    pub async fn stock(&self, product_id: &str) -> i64 {
        let request = v1::GetProductRequest { product_id: product_id.to_owned() };
        let answer = self.operator().catalog.get_product(request).await.unwrap().into_inner();
        answer.product.unwrap().stock
    }

    /// Changes central stock by hand.
    pub async fn adjust(&self, product_id: &str, delta: i64) {
        let request = v1::AdjustStockRequest {
            request_id: request_id(),
            product_id: product_id.to_owned(),
            delta,
            reason: v1::StockAdjustmentReason::Received.into(),
            note: String::new(),
        };
        self.operator().catalog.adjust_stock(request).await.unwrap();
    }

    /// What each product was made with.
    pub(crate) fn initial(&self) -> BTreeMap<String, i64> {
        self.initial.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
