//! The whole path: callers over TLS with a token each, every check, the server as `vendfleet serve` builds it.

use crate::client::{self, Load, Target};
use crate::common::home::{self, Home};
use crate::figures::Figures;
use crate::{CALLERS, PRODUCTS};
use http::HeaderValue;
use server::auth::{Person, Role};
use server::config::Config;
use server::context::Context;
use server::serve::Running;
use server::store::{self, Engine, Store};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use tokio::runtime::Runtime;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use vendfleet_proto::v1;
use vendfleet_proto::v1::catalog_service_client::CatalogServiceClient;

const CREATE_ORDER: &str = "/vendfleet.v1.OrderService/CreateOrder";
const STOCK: i64 = 10_000_000;

/// Orders per second through a fresh server, spread over so many products.
pub fn run(
    clients: &Runtime,
    servers: &Runtime,
    engine: Engine,
    products: usize,
    load: &Load,
    worker: bool,
) -> Figures {
    let home = servers.block_on(Home::fresh(engine));
    let data = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
    let config = config(&home, data.path().to_str().unwrap(), worker);
    let running = servers.block_on(server::serve::start(config, Context::system())).unwrap();
    let ca_pem = fs::read_to_string(running.ca_file.as_ref().unwrap()).unwrap();
    let product_ids = clients.block_on(make_products(&running, &ca_pem));
    let store = servers.block_on(async {
        home::settle(&home).await;
        home::open(home.target()).await
    });
    let target = Target {
        address: running.grpc_address,
        ca_pem,
        path: CREATE_ORDER,
        authorizations: (0..CALLERS).map(|n| authorization(&running, n)).collect(),
        product_ids: product_ids.into_iter().take(products).collect(),
    };
    let backlog = watch_backlog(servers, &store, load, worker);
    let driven = clients.block_on(client::drive(target, load));
    let (commits, calls) = commits(running.http_address);
    let mut figures = driven.figures;
    figures.note.push_str(&format!("; {:.1} orders per commit", calls / commits));
    if let Some(backlog) = backlog {
        let (before, after) = servers.block_on(backlog).unwrap();
        figures.note.push_str(&format!("; backlog {before} at the beginning, {after} at the end"));
    }
    servers.block_on(async {
        running.stop().await;
        check(&store, driven.orders).await;
        store.close().await;
    });
    figures
}

fn config(home: &Home, data_dir: &str, worker: bool) -> Config {
    let mut config = Config::default();
    config.server.data_dir = data_dir.to_owned();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = "127.0.0.1:0".parse().unwrap();
    config.server.sample_data = false;
    config.database.url = match home.target() {
        store::Target::Sqlite(path) => format!("sqlite:{}", path.display()),
        store::Target::Postgres(url) => url,
    };
    // A customer asks 200 times a second at most; here 50 of them ask for what thousands would.
    (config.limits.rate_per_s, config.limits.rate_burst) = (100_000, 100_000);
    config.limits.calls_per_caller = 100_000;
    config.orders.open_per_customer = 1_000_000_000;
    config.worker.enabled = worker;
    // At 50 to 200 ms each, so many at once are paid in a second times eight.
    config.worker.max_in_flight = 2_048;
    config.worker.claim_batch = 1_000;
    config
}

fn authorization(running: &Running, number: usize) -> HeaderValue {
    let person = Person { subject: format!("customer-{number}"), role: Role::Customer, scopes: Vec::new() };
    HeaderValue::try_from(format!("Bearer {}", running.tokens.issue(&person, 3_600).unwrap())).unwrap()
}

async fn make_products(running: &Running, ca_pem: &str) -> Vec<String> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem)).domain_name("localhost");
    let uri = format!("https://{}", running.grpc_address);
    let channel = Channel::from_shared(uri).unwrap().tls_config(tls).unwrap().connect().await.unwrap();
    let operator = Person { subject: "bench".to_owned(), role: Role::Operator, scopes: Vec::new() };
    let bearer = format!("Bearer {}", running.tokens.issue(&operator, 3_600).unwrap());
    let mut catalog = CatalogServiceClient::new(channel);
    let mut ids = Vec::new();
    for number in 0..PRODUCTS {
        let mut request = Request::new(v1::CreateProductRequest {
            request_id: uuid::Uuid::now_v7().to_string(),
            sku: format!("bench-{number:04}"),
            name: format!("Product {number}"),
            price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 150 }),
            initial_stock: STOCK,
            ..v1::CreateProductRequest::default()
        });
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let made = catalog.create_product(request).await.unwrap().into_inner();
        ids.push(made.product.unwrap().product_id);
    }
    ids
}

/// With a worker: orders that wait for it or are being paid, at the beginning and at the end of the measured time.
fn watch_backlog(
    servers: &Runtime,
    store: &Store,
    load: &Load,
    worker: bool,
) -> Option<tokio::task::JoinHandle<(i64, i64)>> {
    let (store, warm_up, measured) = (store.clone(), load.warm_up, load.measured);
    let open = "SELECT COUNT(*) FROM orders WHERE status IN (1, 2)";
    worker.then(|| {
        servers.spawn(async move {
            tokio::time::sleep(warm_up).await;
            let before = count(&store, open).await;
            tokio::time::sleep(measured).await;
            (before, count(&store, open).await)
        })
    })
}

/// Every order that was answered is there, and no stock is missing.
async fn check(store: &Store, orders: usize) {
    assert_eq!(count(store, "SELECT COUNT(*) FROM orders").await, i64::try_from(orders).unwrap());
    let holding = count(store, "SELECT COUNT(*) FROM orders WHERE status IN (1, 2, 3)").await;
    let stock = count(store, "SELECT CAST(SUM(stock) AS BIGINT) FROM products").await;
    assert_eq!(stock + holding, STOCK * i64::try_from(PRODUCTS).unwrap());
}

async fn count(store: &Store, sql: &'static str) -> i64 {
    let mut session = store.read().await.unwrap();
    session.one(sql, &[]).await.unwrap().columns().int().unwrap()
}

/// How many commits of orders the server counted, and how many calls were in them.
fn commits(address: SocketAddr) -> (f64, f64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.contains(name) && !line.starts_with('#')).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    (value("order_commit_batch_requests_count"), value("order_commit_batch_requests_sum"))
}
