//! Many callers at once, on both engines, also through two replicas: nothing is oversold, made twice or given back twice.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on stops")]

#[macro_use]
mod fleet_support;
#[path = "orders_support/mod.rs"]
mod support;

use fleet_support::{Stage, reason};
use server::domain::ids::OrderId;
use server::domain::order::{Answer, Command, Learnt, Report, Source, WorkDone};
use server::domain::payment::{Trouble, Verdict};
use server::operations::Deps;
use server::operations::orders::{OrderSettings, Orders};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use support::Shop;
use tokio::task::JoinSet;
use tonic_types::StatusExt as _;
use vendfleet_proto::v1::{self, OrderStatus};

on_both_engines! {
    a_thousand_callers_race_for_one_unit,
    fifty_callers_with_one_key_make_one_order,
    one_key_on_two_replicas_makes_one_order,
    five_cancels_at_once_give_back_once,
    a_bad_member_fails_nobody_else,
    replicas_and_lanes_sell_what_there_is,
    a_full_queue_refuses_before_any_work,
    claims_reports_and_facts_pass_through_the_group_commit,
}

/// Two servers on one database, with lanes of their own.
fn replicas(stage: &Stage) -> [Arc<Shop>; 2] {
    [1, 3].map(|lanes| {
        let settings = OrderSettings { lanes, ..OrderSettings::default() };
        Arc::new(Shop::on(&with(stage, &settings)))
    })
}

fn with(stage: &Stage, settings: &OrderSettings) -> Deps {
    let metrics = server::metrics::Metrics::new(&mut Default::default());
    let orders = Orders::start(&stage.deps.store, &stage.deps.context, &metrics, settings);
    Deps { orders, ..stage.deps.clone() }
}

async fn a_thousand_callers_race_for_one_unit(stage: Stage) {
    let shop = Arc::new(Shop::new(&stage));
    let cola = Arc::new(stage.product("COLA", 1).await);
    let mut callers = JoinSet::new();
    for n in 0..1_000 {
        let (shop, cola) = (Arc::clone(&shop), Arc::clone(&cola));
        callers.spawn(async move { shop.order(&format!("c{n}"), "k", &[(&cola, 1)]).await });
    }
    let mut won = 0;
    for result in callers.join_all().await {
        match result {
            Ok((_, existed)) => {
                assert!(!existed);
                won += 1;
            }
            Err(status) => {
                assert_eq!(reason(&status), "INSUFFICIENT_STOCK");
                let info = status.get_details_error_info().unwrap();
                assert_eq!(info.metadata["available"], "0");
            }
        }
    }
    assert_eq!((won, shop.stock(&cola).await), (1, 0));
}

async fn fifty_callers_with_one_key_make_one_order(stage: Stage) {
    let shop = Arc::new(Shop::new(&stage));
    let cola = Arc::new(stage.product("COLA", 100).await);
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let (shop, cola) = (Arc::clone(&shop), Arc::clone(&cola));
        callers.spawn(async move { shop.order("anna", "k", &[(&cola, 2)]).await.unwrap() });
    }
    let answers = callers.join_all().await;
    assert_eq!(answers.iter().filter(|(_, existed)| !existed).count(), 1);
    let ids: HashSet<&str> = answers.iter().map(|(order, _)| order.order_id.as_str()).collect();
    assert_eq!((ids.len(), shop.stock(&cola).await), (1, 98));
}

async fn one_key_on_two_replicas_makes_one_order(stage: Stage) {
    let shops = replicas(&stage);
    let products = [stage.product("A", 1_000).await, stage.product("B", 1_000).await];
    let mut callers = JoinSet::new();
    for n in 0..120_usize {
        // Every other caller uses the key for another product: which request the key belongs to is open, that it makes one order
        // is not.
        let (shop, product) = (Arc::clone(&shops[n % 2]), products[n / 2 % 2].clone());
        callers.spawn(async move {
            (n % 12, shop.order("anna", &format!("k{}", n % 12), &[(&product, 1)]).await)
        });
    }
    let mut made: HashMap<usize, HashSet<String>> = HashMap::new();
    let mut created = 0;
    for (key, result) in callers.join_all().await {
        match result {
            Ok((order, existed)) => {
                created += usize::from(!existed);
                made.entry(key).or_default().insert(order.order_id);
            }
            Err(status) => {
                let reason = reason(&status);
                assert!(reason == "IDEMPOTENCY_KEY_REUSED" || reason == "LOCK_CONFLICT", "{reason}");
            }
        }
    }
    assert_eq!(created, 12);
    assert!(made.values().all(|orders| orders.len() == 1));
    let left = shops[0].stock(&products[0]).await + shops[0].stock(&products[1]).await;
    assert_eq!(left, 2_000 - 12);
}

async fn five_cancels_at_once_give_back_once(stage: Stage) {
    let shops = replicas(&stage);
    let cola = stage.product("COLA", 10).await;
    let (order, _) = shops[0].order("anna", "k", &[(&cola, 4)]).await.unwrap();
    let mut callers = JoinSet::new();
    for n in 0..5 {
        let (shop, id) = (Arc::clone(&shops[n % 2]), order.order_id.clone());
        callers.spawn(async move { shop.cancel("anna", &id).await.unwrap() });
    }
    let answers = callers.join_all().await;
    assert_eq!(answers.iter().filter(|(_, already)| !already).count(), 1);
    assert!(answers.iter().all(|(order, _)| order.status() == OrderStatus::Cancelled));
    assert_eq!(shops[0].stock(&cola).await, 10);
}

async fn a_bad_member_fails_nobody_else(stage: Stage) {
    let shop = Arc::new(Shop::new(&stage));
    let cola = stage.product("COLA", 1_000).await;
    let bad = v1::Product { product_id: uuid::Uuid::now_v7().to_string(), ..cola.clone() };
    // A key of the database that the view knows nothing of, among new ones.
    shop.order("anna", "taken", &[(&cola, 1)]).await.unwrap();
    let mut callers = JoinSet::new();
    for n in 0..60 {
        let shop = Arc::clone(&shop);
        let (key, product) = match n % 6 {
            0 => ("taken".to_owned(), cola.clone()),
            1 => (format!("k{n}"), bad.clone()),
            _ => (format!("k{n}"), cola.clone()),
        };
        callers.spawn(async move { (n % 6, shop.order("anna", &key, &[(&product, 1)]).await) });
    }
    for (kind, result) in callers.join_all().await {
        match kind {
            0 => assert!(result.unwrap().1),
            1 => assert_eq!(reason(&result.unwrap_err()), "PRODUCT_NOT_FOUND"),
            _ => assert!(!result.unwrap().1),
        }
    }
    assert_eq!(shop.stock(&cola).await, 1_000 - 41);
}

async fn replicas_and_lanes_sell_what_there_is(stage: Stage) {
    let shops = replicas(&stage);
    let mut products = Vec::new();
    for n in 0..4 {
        products.push(stage.product(&format!("P{n}"), 20).await);
    }
    let mut callers = JoinSet::new();
    for n in 0..200_usize {
        let (shop, products) = (Arc::clone(&shops[n % 2]), products.clone());
        callers.spawn(async move {
            let (a, b) = (&products[n % 4], &products[(n + 1 + n / 4 % 3) % 4]);
            let lines = [(a, 1), (b, 1)];
            let made = shop.order(&format!("c{n}"), "k", &lines).await;
            if let Ok((order, _)) = &made
                && n % 3 == 0
            {
                shop.cancel(&format!("c{n}"), &order.order_id).await.unwrap();
            }
            made.map(|(order, _)| order)
        });
    }
    for result in callers.join_all().await {
        if let Err(status) = result {
            assert_eq!(reason(&status), "INSUFFICIENT_STOCK");
        }
    }
    let all = v1::ListOrdersRequest { page_size: 100, ..Default::default() };
    let mut held: HashMap<String, i64> = HashMap::new();
    let mut token = String::new();
    loop {
        let request = v1::ListOrdersRequest { page_token: token, ..all.clone() };
        let page = shops[0].list_all(request).await;
        for order in page.orders.iter().filter(|order| order.status() == OrderStatus::Pending) {
            for line in &order.lines {
                *held.entry(line.product_id.clone()).or_default() += i64::from(line.quantity);
            }
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    for product in &products {
        let held = held.get(&product.product_id).copied().unwrap_or_default();
        assert_eq!(shops[0].stock(product).await + held, 20);
    }
}

async fn a_full_queue_refuses_before_any_work(stage: Stage) {
    let settings =
        OrderSettings { max_queued_commands: 1, max_batch_commands: 1, ..OrderSettings::default() };
    let shop = Arc::new(Shop::on(&with(&stage, &settings)));
    let cola = stage.product("COLA", 1_000).await;
    let mut callers = JoinSet::new();
    for n in 0..40 {
        let (shop, cola) = (Arc::clone(&shop), cola.clone());
        callers.spawn(async move { shop.order("anna", &format!("k{n}"), &[(&cola, 1)]).await });
    }
    let (mut done, mut refused) = (0, 0);
    for result in callers.join_all().await {
        match result {
            Ok(_) => done += 1,
            Err(status) => {
                assert_eq!(reason(&status), "OVERLOADED");
                assert!(status.get_details_retry_info().is_some());
                refused += 1;
            }
        }
    }
    assert!(done > 0 && refused > 0, "{done} {refused}");
    assert_eq!(shop.stock(&cola).await, 1_000 - done, "who was refused took nothing");
}

async fn claims_reports_and_facts_pass_through_the_group_commit(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 10).await;
    let orders = &stage.deps.orders;
    let mut committed = orders.committed();
    for n in 0..3 {
        shop.order("anna", &format!("k{n}"), &[(&cola, 1)]).await.unwrap();
    }
    assert!(committed.has_changed().unwrap());
    committed.mark_unchanged();
    let claimed = orders.claim(10, 30_000).await.unwrap();
    assert_eq!(claimed.len(), 3);
    let learnt = |verdict| Learnt {
        verdict,
        gateway_payment_id: "pay".to_owned(),
        detail: String::new(),
        amount: None,
        source: Source::Worker,
    };
    let outcomes = [
        WorkDone::Learnt(learnt(Verdict::Captured)),
        WorkDone::Learnt(learnt(Verdict::Declined)),
        WorkDone::Unknown { trouble: Trouble::Timeout, detail: "no answer".to_owned(), again_in_ms: 60_000 },
    ];
    for (order, done) in claimed.iter().zip(outcomes) {
        let report = Report {
            order: order.id,
            fence: order.state.fence,
            attempts: 1,
            done,
            at_ms: stage.deps.context.now_ms(),
        };
        assert!(matches!(orders.submit(Command::Report(report)).await.unwrap(), Answer::Done(_)));
    }
    assert!(committed.has_changed().unwrap());
    let expected = [OrderStatus::Paid, OrderStatus::Failed, OrderStatus::Processing];
    for (order, status) in claimed.iter().zip(expected) {
        let OrderId(id) = order.id;
        assert_eq!(shop.get("anna", &id.to_string()).await.unwrap().status(), status);
    }
    assert_eq!(shop.stock(&cola).await, 8);
    let unsettled = v1::ListOrdersRequest { unsettled_only: true, ..Default::default() };
    assert_eq!(shop.list("anna", unsettled).await.unwrap().orders.len(), 1);
    assert!(orders.claim(10, 30_000).await.unwrap().is_empty());
}
