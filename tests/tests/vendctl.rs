//! vendctl's words for orders, events and remote purchases, against a real server.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

use fleet_client::device::CutPoint;
use serde_json::{Value, json};
use vendctl::{Context, Exit, Variables};
use vendfleet_proto::v1::{
    ChooseProductRequest, PaymentMode, Purchase, StartWorkRequest,
    orchestrator_service_client::OrchestratorServiceClient,
};
use vendfleet_tests::{
    device::{Device, SLOT},
    fleet::{Engine, Fleet, operator::request_id},
    gateway::{Manner, Op, Step},
    orders::{Shop, checker::check, till::Till},
    pool::{Buyer, machine},
    server::TestServer,
    wait::{PATIENCE, until, until_true},
};

/// Runs one command line in a caller's name; gives how it ended and what it said.
async fn vendctl(server: &TestServer, token: &str, line: &[&str]) -> (Exit, String, String) {
    let context = Context::with(Variables {
        server: Some(format!("https://localhost:{}", server.grpc_addr().port())),
        ca: Some(server.data_dir().join("tls/ca.pem")),
        token: Some(token.to_owned()),
        config: None,
    });
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = vendctl::run(&context, ["vendctl"].iter().chain(line), &mut out, &mut err).await;
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// One that must succeed, with JSON: an object per line.
async fn said(server: &TestServer, token: &str, line: &[&str]) -> Vec<Value> {
    let line: Vec<&str> = ["--json"].into_iter().chain(line.iter().copied()).collect();
    let (exit, out, err) = vendctl(server, token, &line).await;
    assert_eq!(exit, Exit::Ok, "{line:?}: {err}");
    out.lines().map(|object| serde_json::from_str(object).unwrap()).collect()
}

/// One that the server must refuse with this reason; gives what it said to a person.
async fn refused(server: &TestServer, token: &str, line: &[&str], reason: &str) -> String {
    let (exit, out, err) = vendctl(server, token, line).await;
    assert_eq!((exit, out.as_str()), (Exit::Refused, ""), "{line:?}: {err}");
    assert!(err.starts_with(&format!("vendctl: {reason}: ")), "{line:?}: {err}");
    err
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_made_shown_cancelled_and_told_of() {
    let till = Till::open(Engine::Sqlite, 1, |o| o.set("worker.enabled", false)).await;
    let product = till.shop.product("COLA", 10).await;
    let server = &till.shop.replicas[0].server;
    let (ann, operator) = (server.token("customer", "ann").await, server.token("operator", "me").await);
    let two = format!("{product}=2");

    let made = said(server, &ann, &["order", "create", &two, "--key", "basket"]).await.remove(0);
    let id = made["order_id"].as_str().unwrap();
    assert_eq!(
        (made["status"].as_str(), made["total"]["minor_units"].as_i64()),
        (Some("ORDER_STATUS_PENDING"), Some(500))
    );
    let (exit, _, err) = vendctl(server, &ann, &["order", "create", &two, "--key", "basket"]).await;
    assert_eq!(exit, Exit::Ok);
    assert!(err.contains("had made it"), "{err}");
    for asked in [vec!["order", "get", id], vec!["order", "list", "--status", "pending"]] {
        assert_eq!(said(server, &ann, &asked).await, std::slice::from_ref(&made));
    }
    let (_, table, _) = vendctl(server, &ann, &["order", "list"]).await;
    assert!(table.contains(id) && table.contains("5.00 EUR"), "{table}");

    let cancelled = said(server, &ann, &["order", "cancel", id]).await.remove(0);
    assert_eq!(cancelled["status"], "ORDER_STATUS_CANCELLED");
    let told =
        said(server, &operator, &["event", "stream", "--oldest", "--category", "order", "--count", "2"])
            .await;
    let kinds: Vec<_> = told.iter().map(|message| message["event"]["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["dev.vendfleet.order.created", "dev.vendfleet.order.cancelled"]);
    let cursor = told[0]["cursor"].as_str().unwrap();
    let (exit, line, _) = vendctl(
        server,
        &operator,
        &["event", "stream", "--cursor", cursor, "--product", &product, "--count", "1"],
    )
    .await;
    assert_eq!(exit, Exit::Ok);
    assert!(line.contains(" left") || line.contains("order.cancelled"), "{line}");

    let watch = ["order", "watch", "--cursor", &till.shop.beginning, "--count", "3"];
    let (watched, _) = tokio::join!(said(server, &ann, &watch), async {
        till.shop.caller("ann").order("later", &[(&product, 1)]).await
    });
    assert_eq!(watched[2]["order"]["order"]["idempotency_key"], "later");

    let (exit, _, err) = vendctl(server, &ann, &["order", "create", &format!("{product}=99")]).await;
    assert_eq!(exit, Exit::Refused);
    assert!(err.contains("INSUFFICIENT_STOCK") && err.contains("available = 9"), "{err}");
    check(&till.shop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_left_unsettled_is_listed_and_redriven() {
    let till = Till::open(Engine::Sqlite, 1, |o| {
        o.set("worker.query_interval_ms", 600_000).set("worker.query_interval_most_ms", 600_000)
    })
    .await;
    let product = till.shop.product("COLA", 10).await;
    let server = &till.shop.replicas[0].server;
    let operator = server.token("operator", "me").await;
    till.gateway.script(Op::Authorise, [Step::approve().but(Manner::Status(500))]);
    till.gateway.script(Op::Query, [Step::nothing(Manner::Status(500))]);
    let ann = till.shop.caller("ann");
    let order = ann.order("basket", &[(&product, 1)]).await;
    till.unsettled(&ann, &order.order_id).await;
    let listed = said(server, &operator, &["dead-letters", "list", "--kind", "order"]).await.remove(0);
    assert_eq!(listed["order_id"].as_str(), Some(order.order_id.as_str()));
    let letter = listed["dead_letter_id"].as_str().unwrap();
    said(server, &operator, &["dead-letters", "redrive", letter]).await;
    till.ended(&ann, &order.order_id).await;
    let shown = said(server, &operator, &["dead-letters", "show", letter]).await.remove(0);
    assert_eq!(shown["state"], "DEAD_LETTER_STATE_DONE");
    till.check().await;
}

/// A machine in the pool.
async fn present(fleet: &Fleet) -> Device {
    let device = fleet.device("corner").await;
    let id = device.id();
    device.wait_for("the stream of hints", |o| o.sync.watching).await;
    until_true("the machine to be in the pool", PATIENCE, || pooled(fleet, &id, "idle")).await;
    device
}

/// Whether vendctl lists a machine in this state.
async fn pooled(fleet: &Fleet, machine: &str, state: &str) -> bool {
    let listed = said(&fleet.server, fleet.token(), &["machine", "list", "--pool", state]).await;
    listed.iter().any(|found| found["machine_id"] == machine)
}

/// What a customer of a shop bought on the one machine there is, paid through the gateway.
async fn bought(fleet: &Fleet) -> Purchase {
    let operator = fleet.operator();
    let config = operator.config(&[120]).await;
    let slot = config.slots.iter().find(|slot| slot.slot == u32::from(SLOT)).unwrap();
    let mut orchestrator = OrchestratorServiceClient::new(fleet.server.channel_as(fleet.token()));
    let request = StartWorkRequest { request_id: request_id(), wait_ms: 20_000, ..Default::default() };
    let begun = orchestrator.start_work(request).await.unwrap().into_inner();
    let request = ChooseProductRequest {
        request_id: request_id(),
        session_id: begun.session.unwrap().session_id,
        session_token: begun.session_token,
        product_id: slot.product_id.clone(),
        expected_price: None,
        payment: PaymentMode::Gateway.into(),
    };
    orchestrator.choose_product(request).await.unwrap().into_inner().purchase.unwrap()
}

/// The purchase of a session once it is in this state.
async fn comes_to(fleet: &Fleet, session: &str, state: &str) -> Value {
    until(&format!("the purchase to be {state}"), PATIENCE, || async {
        let line = ["session", "get", "--session", session];
        let purchase = said(&fleet.server, fleet.token(), &line).await.remove(0)["purchase"].take();
        (purchase["state"] == state).then_some(purchase)
    })
    .await
}

async fn fleet_with_a_willing_gateway() -> Fleet {
    Fleet::start_with(Engine::Sqlite, |o| o.set("payments.simulated_success_percent", 100)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_about_a_doubt_leads_to_its_purchase_and_ends_once_a_person_settles_it() {
    let fleet = fleet_with_a_willing_gateway().await;
    let (server, me) = (&fleet.server, fleet.token());
    let mut device = present(&fleet).await;
    device.machine.cut_power_at(CutPoint::AfterMotor);
    bought(&fleet).await;
    let driven = || async { device.machine.witness().seen().driven.len() == 1 };
    until_true("the motor to turn", PATIENCE, driven).await;
    device.power_off().await;
    device.power_on().await;
    device.settle().await;

    let doubts = ["alerts", "list", "--type", "purchase-in-doubt"];
    let alert = until("the alert", PATIENCE, || async { said(server, me, &doubts).await.pop() }).await;
    let text = |field: &str| alert[field].as_str().unwrap().to_owned();
    let (machine, purchase) = (text("machine_id"), text("purchase_id"));
    let (_, table, _) = vendctl(server, me, &doubts).await;
    assert!(table.contains(&purchase) && table.contains(&machine), "a person sees both: {table}");
    assert!(pooled(&fleet, &machine, "in-doubt").await);
    let held = said(server, me, &["session", "get", "--machine", &machine]).await.remove(0);
    assert_eq!(held["machine_state"], "POOL_STATE_IN_DOUBT");
    assert_eq!(held["purchase"]["purchase_id"].as_str(), Some(purchase.as_str()));
    assert_eq!(held["purchase"]["state"], "PURCHASE_STATE_IN_DOUBT");

    let settle = ["purchase", "resolve", &purchase, "--dispensed", "--note", "the customer has it"];
    let settled = said(server, me, &settle).await.remove(0);
    assert_eq!(settled["purchase_id"].as_str(), Some(purchase.as_str()));
    let done = comes_to(&fleet, held["session_id"].as_str().unwrap(), "PURCHASE_STATE_COMPLETED").await;
    assert_eq!(done["payment_status"], "PAYMENT_STATUS_CAPTURED");
    assert_eq!(done["failure_detail"], "the customer has it");
    assert!(pooled(&fleet, &machine, "idle").await, "the machine is back");
    assert_eq!(said(server, me, &doubts).await, Vec::<Value>::new(), "the alert ended by itself");

    let other = ["purchase", "resolve", &purchase, "--not-dispensed", "--note", "no, wait"];
    let err = refused(server, me, &other, "PURCHASE_NOT_IN_DOUBT").await;
    assert!(err.contains("this one is COMPLETED") && err.contains("state = COMPLETED"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_that_leaves_a_doubt_says_what_settles_it() {
    let fleet = fleet_with_a_willing_gateway().await;
    let (server, me) = (&fleet.server, fleet.token());
    let device = present(&fleet).await;
    device.machine.lose_answers(true);
    let Purchase { purchase_id, session_id, machine_id, .. } = bought(&fleet).await;
    until_true("the command to be handed out", PATIENCE, || async {
        device.machine.sync_now();
        pooled(&fleet, &machine_id, "in-doubt").await
    })
    .await;

    let reset = ["session", "reset", "--machine", &machine_id, "--session", &session_id];
    let (exit, shown, hint) = vendctl(server, me, &reset).await;
    assert_eq!(exit, Exit::Ok, "{hint}");
    assert!(shown.contains("state: reset") && shown.contains("state: in-doubt"), "{shown}");
    assert!(hint.contains(&format!("vendctl purchase resolve {purchase_id}")), "{hint}");
    refused(server, me, &["session", "get", "--machine", &machine_id], "SESSION_NOT_FOUND").await;

    let settle = ["purchase", "resolve", &purchase_id, "--not-dispensed", "--note", "they left without it"];
    let (exit, shown, err) = vendctl(server, me, &settle).await;
    assert_eq!(exit, Exit::Ok, "{err}");
    assert!(shown.contains("failure: resolved") && shown.contains("price: 1.20 EUR"), "{shown}");
    let failed = comes_to(&fleet, &session_id, "PURCHASE_STATE_FAILED").await;
    assert_eq!(failed["payment_status"], "PAYMENT_STATUS_VOIDED");
    assert!(pooled(&fleet, &machine_id, "idle").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_shown_and_reset_once() {
    let shop = Shop::unpaid(Engine::Sqlite).await;
    let server = &shop.replicas[0].server;
    let me = &server.token("operator", "me").await;
    let (product, id) = (shop.product("COLA", 3).await, machine(&shop, 0).await);
    let ann = Buyer::new(&shop, 0, "ann");
    let held = ann.start().await;
    let session = held.session.session_id.as_str();
    let chosen = ann.choose(&Buyer::choice(&held, &product, PaymentMode::Gateway)).await.unwrap();
    let purchase = chosen.purchase.unwrap().purchase_id;

    let shown = said(server, me, &["session", "get", "--session", session]).await;
    assert_eq!(said(server, me, &["session", "get", "--machine", &id]).await, shown);
    assert_eq!(said(server, me, &["session", "get", "--purchase", &purchase]).await, shown);
    assert_eq!(shown[0]["purchase"]["purchase_id"].as_str(), Some(purchase.as_str()));
    let (_, text, _) = vendctl(server, me, &["session", "get", "--machine", &id]).await;
    assert!(text.contains("customer_id: ann") && text.contains("price: 2.50 EUR"), "{text}");

    let key = request_id();
    let named = ["--request-id", key.as_str(), "session", "reset", "--note", "the customer left"];
    let reset = [&named[..], &["--machine", &id, "--session", session]].concat();
    let ended = said(server, me, &reset).await.remove(0);
    assert_eq!(ended["session"]["state"], "SESSION_STATE_RESET");
    assert_eq!(ended["session"]["purchase"]["failure_detail"], "the customer left");
    assert_eq!(ended["machine"]["pool"]["state"], "POOL_STATE_IDLE");
    assert_eq!((ended["units_returned"].as_i64(), shop.stock(&product).await), (Some(1), 3));
    assert_eq!(said(server, me, &reset).await, [ended], "a repeat under its request id is the first one");
    let err = refused(server, me, &reset[2..], "MACHINE_ALREADY_IDLE").await;
    assert!(err.contains("the machine is in no session") && err.contains(&id), "{err}");
    check(&shop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_changed_as_it_was_read_and_in_nothing_that_was_not_named() {
    let shop = Shop::unpaid(Engine::Sqlite).await;
    let server = &shop.replicas[0].server;
    let me = &server.token("operator", "me").await;
    let create = ["machine", "create", "Lobby", "--kind", "virtual", "--location", "left of the door"];
    let made = said(server, me, &[&create[..], &["--group", "berlin"]].concat()).await.remove(0);
    let update = ["machine", "update", made["machine_id"].as_str().unwrap()];
    let changed = async |change: &[&str]| said(server, me, &[&update[..], change].concat()).await.remove(0);

    let now = changed(&["--name", "Hall", "--tag", "indoor", "--tag", "ground", "--delay-ms", "700"]).await;
    assert_eq!((&now["name"], &now["tags"]), (&"Hall".into(), &json!(["ground", "indoor"])));
    assert_eq!((&now["virtual_delay_ms"], &now["group"]), (&700.into(), &"berlin".into()));
    assert_eq!(now["location"], "left of the door");
    let now = changed(&["--no-tags", "--no-group", "--location", ""]).await;
    assert_eq!((&now["tags"], &now["group"]), (&json!([]), &"".into()));
    assert_eq!((&now["name"], &now["location"]), (&"Hall".into(), &"".into()));

    let (key, etag) = (request_id(), now["etag"].as_str().unwrap());
    let repeatable = ["--name", "Foyer", "--etag", etag, "--request-id", &key];
    let renamed = changed(&repeatable).await;
    assert_eq!(changed(&repeatable).await, renamed, "a repeat changes nothing");
    let stale = [&update[..], &["--name", "Hall", "--etag", etag]].concat();
    let err = refused(server, me, &stale, "ETAG_MISMATCH").await;
    let present = renamed["etag"].as_str().unwrap();
    assert!(
        err.contains("has changed since it was read") && err.contains(&format!("etag = {present}")),
        "{err}"
    );
}
