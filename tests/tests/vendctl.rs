//! vendctl's words for orders and events, against a real server.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

use serde_json::Value;
use vendctl::{Context, Exit, Variables};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Step},
    orders::{checker::check, till::Till},
};

/// Runs one command line in a caller's name; gives how it ended and what it said.
async fn vendctl(till: &Till, token: &str, line: &[&str]) -> (Exit, String, String) {
    let replica = &till.shop.replicas[0];
    let context = Context::with(Variables {
        server: Some(format!("https://localhost:{}", replica.link.addr().port())),
        ca: Some(replica.server.data_dir().join("tls/ca.pem")),
        token: Some(token.to_owned()),
        config: None,
    });
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = vendctl::run(&context, ["vendctl"].iter().chain(line), &mut out, &mut err).await;
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// One that must succeed, with JSON: an object per line.
async fn said(till: &Till, token: &str, line: &[&str]) -> Vec<Value> {
    let line: Vec<&str> = ["--json"].into_iter().chain(line.iter().copied()).collect();
    let (exit, out, err) = vendctl(till, token, &line).await;
    assert_eq!(exit, Exit::Ok, "{line:?}: {err}");
    out.lines().map(|object| serde_json::from_str(object).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_made_shown_cancelled_and_told_of() {
    let till = Till::open(Engine::Sqlite, 1, |o| o.set("worker.enabled", false)).await;
    let product = till.shop.product("COLA", 10).await;
    let server = &till.shop.replicas[0].server;
    let (ann, operator) = (server.token("customer", "ann").await, server.token("operator", "me").await);
    let two = format!("{product}=2");

    let made = said(&till, &ann, &["order", "create", &two, "--key", "basket"]).await.remove(0);
    let id = made["order_id"].as_str().unwrap();
    assert_eq!(
        (made["status"].as_str(), made["total"]["minor_units"].as_i64()),
        (Some("ORDER_STATUS_PENDING"), Some(500))
    );
    let (exit, _, err) = vendctl(&till, &ann, &["order", "create", &two, "--key", "basket"]).await;
    assert_eq!(exit, Exit::Ok);
    assert!(err.contains("had made it"), "{err}");
    for asked in [vec!["order", "get", id], vec!["order", "list", "--status", "pending"]] {
        assert_eq!(said(&till, &ann, &asked).await, std::slice::from_ref(&made));
    }
    let (_, table, _) = vendctl(&till, &ann, &["order", "list"]).await;
    assert!(table.contains(id) && table.contains("5.00 EUR"), "{table}");

    let cancelled = said(&till, &ann, &["order", "cancel", id]).await.remove(0);
    assert_eq!(cancelled["status"], "ORDER_STATUS_CANCELLED");
    let told =
        said(&till, &operator, &["event", "stream", "--oldest", "--category", "order", "--count", "2"]).await;
    let kinds: Vec<_> = told.iter().map(|message| message["event"]["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["dev.vendfleet.order.created", "dev.vendfleet.order.cancelled"]);
    let cursor = told[0]["cursor"].as_str().unwrap();
    let (exit, line, _) = vendctl(
        &till,
        &operator,
        &["event", "stream", "--cursor", cursor, "--product", &product, "--count", "1"],
    )
    .await;
    assert_eq!(exit, Exit::Ok);
    assert!(line.contains(" left") || line.contains("order.cancelled"), "{line}");

    let watch = ["order", "watch", "--cursor", &till.shop.beginning, "--count", "3"];
    let (watched, _) = tokio::join!(said(&till, &ann, &watch), async {
        till.shop.caller("ann").order("later", &[(&product, 1)]).await
    });
    assert_eq!(watched[2]["order"]["order"]["idempotency_key"], "later");

    let (exit, _, err) = vendctl(&till, &ann, &["order", "create", &format!("{product}=99")]).await;
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
    let operator = till.shop.replicas[0].server.token("operator", "me").await;
    till.gateway.script(Op::Authorise, [Step::approve().but(Manner::Status(500))]);
    till.gateway.script(Op::Query, [Step::nothing(Manner::Status(500))]);
    let ann = till.shop.caller("ann");
    let order = ann.order("basket", &[(&product, 1)]).await;
    till.unsettled(&ann, &order.order_id).await;
    let listed = said(&till, &operator, &["dead-letters", "list", "--kind", "order"]).await.remove(0);
    assert_eq!(listed["order_id"].as_str(), Some(order.order_id.as_str()));
    let letter = listed["dead_letter_id"].as_str().unwrap();
    said(&till, &operator, &["dead-letters", "redrive", letter]).await;
    till.ended(&ann, &order.order_id).await;
    let shown = said(&till, &operator, &["dead-letters", "show", letter]).await.remove(0);
    assert_eq!(shown["state"], "DEAD_LETTER_STATE_DONE");
    till.check().await;
}
