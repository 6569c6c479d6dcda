//! The relay of events to a real nats-server: nothing missing, nothing under another id, one replica at a time.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

use std::collections::{BTreeMap, BTreeSet};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vendfleet_proto::v1::{self, event::Data, stream_events_response::Message};
use vendfleet_tests::{
    fleet::Engine,
    nats::{Nats, Stored},
    orders::{Replica, Shop},
    server::ServerOptions,
    wait,
};

/// Short, so that another replica takes over soon.
const LEASE_MS: u64 = 1_000;

/// Orders stay PENDING: what a killed worker had claimed would be paid only when its lease is over.
fn unpaid(set: impl Fn(ServerOptions) -> ServerOptions) -> impl Fn(ServerOptions) -> ServerOptions {
    move |options| set(options).set("worker.enabled", false)
}

fn relayed(nats: &Nats) -> impl Fn(ServerOptions) -> ServerOptions {
    let url = nats.url();
    move |options| {
        options
            .set("nats.url", &url)
            .set("nats.lease_ms", LEASE_MS)
            .set("nats.batch_events", 8)
            .set("payments.simulated_success_percent", 100)
            .set("payments.simulated_delay_min_ms", 1)
            .set("payments.simulated_delay_most_ms", 5)
    }
}

/// Every event there is now, as the API streams it.
async fn events(shop: &Shop, replica: usize) -> BTreeMap<String, v1::Event> {
    let request = v1::StreamEventsRequest { start: v1::StreamStart::Oldest.into(), ..Default::default() };
    let mut stream = shop.events(replica).stream_events(request).await.unwrap().into_inner();
    let mut found = BTreeMap::new();
    loop {
        match stream.message().await.unwrap().unwrap().message.unwrap() {
            Message::Event(event) => {
                found.insert(event.event_id.clone(), event);
            }
            Message::Heartbeat(_) => return found,
        }
    }
}

async fn ids(shop: &Shop, replica: usize) -> BTreeSet<String> {
    events(shop, replica).await.into_keys().collect()
}

/// Orders of one unit each; what the gateway says of them is not waited for.
async fn sell(shop: &Shop, replica: usize, name: &str, product: &str, count: usize) {
    let caller = shop.caller_at(replica, name);
    for n in 0..count {
        caller.order(&format!("{name}-{n}"), &[(product, 1)]).await;
    }
}

/// Waits until no order is left to be paid, so that no further event comes by itself.
async fn settled(shop: &Shop) {
    wait::until_true("every order to end", wait::PATIENCE, || async {
        let filter = |status: v1::OrderStatus| v1::ListOrdersRequest {
            statuses: vec![status.into()],
            ..Default::default()
        };
        let caller = shop.caller("");
        caller.list(filter(v1::OrderStatus::Pending)).await.is_empty()
            && caller.list(filter(v1::OrderStatus::Processing)).await.is_empty()
    })
    .await;
}

fn counts(messages: &[Stored]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for message in messages {
        *counts.entry(message.id()).or_default() += 1;
    }
    counts
}

/// How far the relay is, and who relays: the lease's row.
async fn fence(shop: &Shop) -> i64 {
    shop.rows().await.all::<(i64,)>("SELECT fence FROM leases WHERE name = 'nats-relay'").await[0].0
}

/// A page of the server's HTTP listener.
async fn page(replica: &Replica, path: &str) -> String {
    let address = replica.server.http_addr();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

async fn health(replica: &Replica) -> serde_json::Value {
    serde_json::from_str(&page(replica, "/healthz").await).unwrap()
}

/// A metric; zero while it was never counted.
async fn metric(replica: &Replica, name: &str) -> u64 {
    let page = page(replica, "/metrics").await;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |number| number.trim().parse().unwrap())
}

const STORED: &str = "vendfleet_nats_events_total{kind=\"stored\"}";
const REPEATS: &str = "vendfleet_nats_events_total{kind=\"repeat\"}";
const LAG: &str = "vendfleet_nats_lag_events";

async fn every_event_arrives_as_a_cloud_event(engine: Engine) {
    let nats = Nats::start().await;
    let shop = Shop::start(engine, 1, relayed(&nats)).await;
    let request = v1::CreateProductRequest {
        request_id: vendfleet_tests::fleet::operator::request_id(),
        sku: "LOW".to_owned(),
        name: "Runs low".to_owned(),
        price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 100 }),
        initial_stock: 10,
        low_stock_threshold: 7,
        ..Default::default()
    };
    let made = shop.operator().catalog.create_product(request).await.unwrap().into_inner();
    let product = made.product.unwrap().product_id;
    sell(&shop, 0, "anna", &product, 5).await;
    shop.adjust(&product, 100).await;
    settled(&shop).await;

    let told = events(&shop, 0).await;
    let messages = nats.holds(&told.keys().cloned().collect()).await;
    assert_eq!(counts(&messages).len(), told.len(), "nothing is relayed that is no event");
    assert!(counts(&messages).values().all(|count| *count == 1), "repeats are told within the window");
    for message in &messages {
        let event = &told[message.id()];
        let body = &message.body;
        let subject = match event.data.as_ref().unwrap() {
            Data::Inventory(_) => "inventory-updates",
            Data::Alert(_) => "inventory-alerts",
            Data::Order(_) | Data::Sale(_) => "transaction-events",
        };
        assert_eq!(message.subject, subject, "{body}");
        assert_eq!(message.header("Content-Type"), "application/cloudevents+json");
        assert_eq!(message.header("traceparent"), event.traceparent);
        for (attribute, value) in [
            ("specversion", "1.0"),
            ("id", &event.event_id),
            ("source", &event.source),
            ("type", &event.r#type),
            ("subject", &event.subject),
            ("datacontenttype", "application/json"),
        ] {
            assert_eq!(body[attribute], value, "{attribute}: {body}");
        }
        match event.data.as_ref().unwrap() {
            Data::Order(order) => {
                let orders = order.order.as_ref().unwrap();
                assert_eq!(body["data"]["order"]["orderId"], orders.order_id.as_str());
                assert_eq!(body["data"]["order"]["status"], orders.status().as_str_name());
            }
            Data::Inventory(inventory) => {
                let Some(v1::inventory_event::Change::Stock(stock)) = &inventory.change else {
                    panic!("{inventory:?}")
                };
                // 64-bit integers are strings in proto3 JSON.
                assert_eq!(body["data"]["stock"]["delta"], stock.delta.to_string());
                assert_eq!(body["data"]["stock"]["cause"], stock.cause().as_str_name());
            }
            Data::Alert(alert) => {
                assert_eq!(body["data"]["type"], alert.r#type().as_str_name());
                assert_eq!(body["data"]["alert"]["type"], "ALERT_TYPE_LOW_STOCK");
            }
            Data::Sale(sale) => panic!("nobody sold anything: {sale:?}"),
        }
    }
    let alerts: Vec<&str> = messages
        .iter()
        .filter(|message| message.subject == "inventory-alerts")
        .map(|message| message.body["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        alerts,
        ["dev.vendfleet.alert.raised", "dev.vendfleet.alert.resolved"],
        "once when the stock fell to its threshold, once when it rose above it"
    );
    let of_shard = |shard: i64| -> Vec<&str> {
        messages
            .iter()
            .filter(|message| message.body["shard"] == shard)
            .map(|message| message.body["sequence"].as_str().unwrap())
            .collect()
    };
    for shard in [0, 1] {
        assert!(of_shard(shard).is_sorted(), "those of a shard come in the order of their commits");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_as_a_cloud_event_with_its_id_from_sqlite() {
    every_event_arrives_as_a_cloud_event(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_as_a_cloud_event_with_its_id_from_postgres() {
    every_event_arrives_as_a_cloud_event(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_is_missed_by_nobody_and_misses_nothing() {
    let mut nats = Nats::start().await;
    let shop = Shop::start(Engine::Sqlite, 1, relayed(&nats)).await;
    let product = shop.product("A", 1_000).await;
    sell(&shop, 0, "before", &product, 10).await;
    nats.holds(&ids(&shop, 0).await).await;

    nats.kill();
    sell(&shop, 0, "meanwhile", &product, 30).await;
    let part = wait::until("the part `nats` to be degraded", wait::PATIENCE, || async {
        let report = health(&shop.replicas[0]).await;
        (report["parts"]["nats"]["status"] == "degraded").then_some(report)
    })
    .await;
    assert_eq!(part["parts"]["database"]["status"], "ok");
    wait::until_true("the lag to be measured", wait::PATIENCE, || async {
        metric(&shop.replicas[0], LAG).await > 0
    })
    .await;

    nats.start_again().await;
    sell(&shop, 0, "after", &product, 10).await;
    settled(&shop).await;
    let told = ids(&shop, 0).await;
    let messages = nats.holds(&told).await;
    assert_eq!(counts(&messages).len(), told.len());
    wait::until_true("nothing to be left behind", wait::PATIENCE, || async {
        metric(&shop.replicas[0], LAG).await == 0
            && health(&shop.replicas[0]).await["parts"]["nats"]["status"] == "ok"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_broker_starts_and_relays_once_it_is_there() {
    let mut nats = Nats::start().await;
    nats.kill();
    let shop = Shop::start(Engine::Sqlite, 1, relayed(&nats)).await;
    let product = shop.product("A", 100).await;
    sell(&shop, 0, "early", &product, 10).await;
    nats.start_again().await;
    settled(&shop).await;
    nats.holds(&ids(&shop, 0).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_repeats_under_the_same_ids_and_misses_nothing() {
    let nats = Nats::start().await;
    let mut shop = Shop::start(Engine::Sqlite, 1, unpaid(relayed(&nats))).await;
    let product = shop.product("A", 1_000).await;
    for round in 0..4 {
        // Killed while some of it is on its way.
        sell(&shop, 0, &format!("round-{round}"), &product, 15).await;
        shop.replicas[0].server.kill();
        shop.replicas[0].restart().await;
    }
    let told = ids(&shop, 0).await;
    let messages = nats.holds(&told).await;
    let counts = counts(&messages);
    assert_eq!(counts.len(), told.len(), "nothing is relayed that was not committed");
    assert!(counts.values().all(|count| *count == 1), "a repeat within the window is told by its id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_is_told_by_its_id() {
    let nats = Nats::start().await;
    let mut shop = Shop::start(Engine::Sqlite, 1, unpaid(relayed(&nats))).await;
    let product = shop.product("A", 100).await;
    sell(&shop, 0, "anna", &product, 10).await;
    let told = ids(&shop, 0).await;
    nats.holds(&told).await;

    // As after a crash between JetStream's acknowledgement and the note of it, for every event.
    shop.replicas[0].server.kill();
    shop.rows().await.execute("UPDATE leases SET state = '' WHERE length($1) = 0", &[]).await;
    shop.replicas[0].restart().await;
    wait::until_true("all of it to be sent again", wait::PATIENCE, || async {
        metric(&shop.replicas[0], REPEATS).await >= told.len() as u64
    })
    .await;
    let messages = nats.messages().await;
    assert_eq!(messages.len(), told.len(), "the stream holds each event once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_relays_and_the_other_takes_over() {
    let nats = Nats::start().await;
    let mut shop = Shop::start(Engine::Postgres, 2, unpaid(relayed(&nats))).await;
    let product = shop.product("A", 1_000).await;
    sell(&shop, 0, "one", &product, 10).await;
    sell(&shop, 1, "two", &product, 10).await;
    nats.holds(&ids(&shop, 0).await).await;

    let (first, second) = (metric(&shop.replicas[0], STORED).await, metric(&shop.replicas[1], STORED).await);
    assert!(first == 0 || second == 0, "one of them relays: {first}, {second}");
    assert_eq!(fence(&shop).await, 1, "the lease is renewed, not taken again");

    let (gone, left) = if first > 0 { (0, 1) } else { (1, 0) };
    shop.replicas[gone].server.kill();
    sell(&shop, left, "left", &product, 20).await;
    let told = ids(&shop, left).await;
    let messages = nats.holds(&told).await;
    assert_eq!(counts(&messages).len(), told.len());
    assert!(fence(&shop).await >= 2, "the other one has a higher fence");
    assert!(metric(&shop.replicas[left], STORED).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_there_stays_as_it_is() {
    let nats = Nats::start().await;
    let subjects = ["v.inventory-updates", "v.inventory-alerts", "v.transaction-events"];
    let theirs = async_nats::jetstream::stream::Config {
        name: "OURS".to_owned(),
        subjects: subjects.iter().map(ToString::to_string).collect(),
        max_messages: 1_000_000,
        description: Some("made by its operator".to_owned()),
        ..Default::default()
    };
    nats.jetstream().await.create_stream(theirs).await.unwrap();
    let set = relayed(&nats);
    let shop = Shop::start(Engine::Sqlite, 1, |options| {
        set(options).set("nats.stream", "OURS").set("nats.subject_prefix", "v.")
    })
    .await;
    shop.product("A", 5).await;
    let stream = nats.jetstream().await.get_stream("OURS").await.unwrap();
    wait::until_true("the event to be stored", wait::PATIENCE, || {
        let mut stream = stream.clone();
        async move { stream.info().await.unwrap().state.messages == 1 }
    })
    .await;
    let config = &stream.cached_info().config;
    assert_eq!(config.description.as_deref(), Some("made by its operator"));
    assert_eq!(config.max_messages, 1_000_000);
    assert_eq!(stream.get_raw_message(1).await.unwrap().subject.as_str(), "v.inventory-updates");
}
