//! What the event log tells, and to whom.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

mod events_support;
mod fleet_support;

use events_support::{QUIET, Replica, as_service, behind, by_shard, greeted, ids, oldest, soon, take};
use fleet_support::{Device, Stage, fields, id, operator, reason};
use server::domain::{
    order::OrderFilter,
    page::PageRequest,
    payment::Verdict,
    sync::{BadBody, VerdictReason},
};
use std::collections::{BTreeMap, BTreeSet};
use tokio_stream::StreamExt as _;
use vend_core::{
    counters::Totals,
    id::TransactionId,
    money::Currency,
    record::{Body, CashCollected, Fault, Refill, Settled, Settlement, SlotCount},
};
use vendfleet_proto::v1::{
    self, event::Data, inventory_event::Change, order_service_server::OrderService as _, sale_event::Sale,
    watch_orders_response::Message,
};

on_both_engines! {
    orders_replayed_from_their_events_are_the_table,
    a_sync_is_told_record_by_record,
    a_redriven_record_is_told_when_it_counts_and_never_twice,
    an_adopted_branch_is_told_under_the_epoch_the_device_wrote,
    every_filter_gives_what_it_means_and_nothing_else,
    a_customer_sees_its_own_orders_alone,
    stock_and_alerts_outside_orders_are_told,
    what_breaks_a_rule_is_named,
}

/// Orders in every state there is, of two customers and two products.
async fn trade(stage: &Stage, replica: &Replica) -> [v1::Product; 2] {
    let products = [stage.product("COLA", 100).await, stage.product("CHIPS", 50).await];
    let mut orders = Vec::new();
    for number in 0..8_u32 {
        let customer = if number % 2 == 0 { "ann" } else { "bob" };
        stage.clock.advance(std::time::Duration::from_millis(7));
        orders.push((
            customer,
            replica.order(customer, &products[(number % 3 / 2) as usize], number + 1).await,
        ));
    }
    replica.cancel(orders[0].0, &orders[0].1).await;
    replica.cancel(orders[3].0, &orders[3].1).await;
    let says = [Some(Verdict::Captured), Some(Verdict::Declined), None];
    assert_eq!(replica.work(|index| says[index % 3]).await, 6);
    replica.order("ann", &products[1], 2).await;
    products
}

async fn orders_replayed_from_their_events_are_the_table(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let products = trade(&stage, &replica).await;
    let mut orders: BTreeMap<String, v1::Order> = BTreeMap::new();
    let mut stock: BTreeMap<String, i64> = BTreeMap::new();
    for (_, event) in replica.history().await {
        match event.data.unwrap() {
            Data::Order(told) => {
                let kind = named(told.r#type());
                let order = told.order.unwrap();
                let before = orders.get(&order.order_id).map_or(0, |order| order.status);
                let is_final = [3, 4, 5].contains(&before);
                assert!(!is_final || before == order.status, "a final state stays");
                assert_eq!(event.r#type, format!("dev.vendfleet.{kind}"));
                assert_eq!(event.subject, order.order_id);
                orders.insert(order.order_id.clone(), order);
            }
            Data::Inventory(told) => {
                let Some(Change::Stock(moved)) = told.change else { panic!("no machine here") };
                let level = stock.entry(moved.product_id).or_default();
                *level += moved.delta;
                assert_eq!(*level, moved.stock_after, "every move is told, in order");
            }
            // An unsettled order's.
            Data::Alert(_) => {}
            Data::Sale(_) => panic!("no machine here"),
        }
    }
    let mut session = stage.deps.store.read().await.unwrap();
    let page = PageRequest { size: 100, after: None };
    let table = server::store::orders::list(&mut session, &OrderFilter::default(), &page).await.unwrap();
    drop(session);
    assert_eq!(table.len(), 9);
    for row in &table {
        let told = &orders[&row.id.to_string()];
        assert_eq!(told, &replica.get(&row.customer, told).await);
    }
    let statuses: BTreeSet<i32> = orders.values().map(|order| order.status).collect();
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5], "every state was there");
    for product in products {
        let get = v1::GetProductRequest { product_id: product.product_id.clone() };
        let row = v1::catalog_service_server::CatalogService::get_product(&stage.catalog, operator(get));
        assert_eq!(stock[&product.product_id], row.await.unwrap().into_inner().product.unwrap().stock);
    }
}

fn named(kind: v1::OrderEventType) -> String {
    kind.as_str_name().replace("ORDER_EVENT_TYPE_", "order.").to_lowercase()
}

fn records(device: &mut Device) -> TransactionId {
    let eur = Currency::parse("EUR").unwrap();
    let vend = device.vend();
    device.append(Body::Settlement(Settlement {
        settlement_id: TransactionId(uuid::Uuid::now_v7().into_bytes()),
        vend,
        what: Settled::Owed,
        amount_minor: 50,
        currency: eur,
    }));
    let fault = Fault { code: "MOTOR_JAM".to_owned(), slot: Some(3), detail: String::new(), cleared: false };
    device.append(Body::Fault(fault));
    let slots = vec![SlotCount { slot: 3, product: device.product, units: 4 }];
    device.append(Body::Refill(Refill { slots, tubes_loaded: Vec::new() }));
    device.append_raw(2, 1, b"rubbish");
    device.count(9);
    let since_reset = Totals::default();
    device.append(Body::CashCollected(CashCollected {
        box_minor: 0,
        tubes_minor: 0,
        currency: eur,
        since_reset,
    }));
    vend
}

async fn a_sync_is_told_record_by_record(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let product = stage.product("COLA", 10).await;
    let mut device = Device::new(&stage.machine("m").await, &product);
    let vend = records(&mut device);
    device.sync(&stage).await;
    device.vend();
    device.sync(&stage).await;
    let sync_shard = |(_, event): &&(String, v1::Event)| event.machine().is_some();
    let history = replica.history().await;
    let told: Vec<&(String, v1::Event)> = history.iter().filter(sync_shard).collect();
    let types: Vec<&str> = told.iter().map(|(_, event)| event.r#type.as_str()).collect();
    let expected = ["sale.vend", "sale.settlement", "inventory.slots_filled", "inventory.slots_counted"];
    let expected = expected.iter().chain(&["sale.cash_collected", "sale.vend"]);
    assert_eq!(types, expected.map(|kind| format!("dev.vendfleet.{kind}")).collect::<Vec<_>>());
    let numbers: Vec<&str> =
        told.iter().map(|(_, event)| event.event_id.split_once(':').unwrap().1).collect();
    assert_eq!(
        numbers,
        ["2", "3", "5", "7", "8", "9"],
        "the record's seq; a boot, a fault and a dead letter tell nothing"
    );
    assert_eq!(told[0].1.position, told[4].1.position);
    assert_eq!(told[0].1.event_id.split(':').next(), told[4].1.event_id.split(':').next());
    let Some(Data::Sale(sale)) = &told[0].1.data else { panic!() };
    assert_eq!((sale.machine_id.as_str(), sale.seq), (device.machine.to_string().as_str(), 2));
    assert_eq!(sale.epoch, device.epoch_hex());
    let Some(Sale::Transaction(transaction)) = &sale.sale else { panic!() };
    let mut listed = stage.transactions(&device.machine.to_string()).await.remove(0);
    listed.settlements.clear();
    assert_eq!(transaction, &listed, "the same as FleetService gives, without later settlements");
    let Some(Data::Sale(v1::SaleEvent { sale: Some(Sale::Settlement(later)), .. })) = &told[1].1.data else {
        panic!()
    };
    assert_eq!(later.transaction_id, uuid::Uuid::from_bytes(vend.0).to_string());
}

trait AboutMachine {
    fn machine(&self) -> Option<&str>;
}

impl AboutMachine for v1::Event {
    fn machine(&self) -> Option<&str> {
        match self.data.as_ref().unwrap() {
            Data::Sale(sale) => Some(&sale.machine_id),
            Data::Inventory(v1::InventoryEvent { change: Some(Change::Slots(slots)) }) => {
                Some(&slots.machine_id)
            }
            _ => None,
        }
    }
}

async fn a_redriven_record_is_told_when_it_counts_and_never_twice(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let product = stage.product("COLA", 10).await;
    let mut device = Device::new(&stage.machine("m").await, &product);
    device.vend();
    // As the fold of an older server would have judged it.
    let bad = BadBody { reason: VerdictReason::SchemaUnknown, detail: "schema".to_owned() };
    device.records[1].meaning = Err(bad);
    device.vend();
    device.sync(&stage).await;
    let sales = || v1::StreamEventsRequest { categories: vec![v1::EventCategory::Sale.into()], ..oldest() };
    let before = replica.all(sales()).await;
    assert_eq!(before.len(), 1);
    let list = v1::ListDeadLettersRequest::default();
    let letters = v1::fleet_service_server::FleetService::list_dead_letters(&stage.fleet, operator(list));
    let letter = letters.await.unwrap().into_inner().dead_letters.remove(0);
    let redrive = v1::RedriveDeadLetterRequest { request_id: id(), dead_letter_id: letter.dead_letter_id };
    v1::fleet_service_server::FleetService::redrive_dead_letter(&stage.fleet, operator(redrive))
        .await
        .unwrap();
    let after = replica.all(sales()).await;
    assert_eq!(after.len(), 2);
    assert_eq!(after[0].1, before[0].1, "what a range told of never changes");
    let later = v1::StreamEventsRequest { start: 0, cursor: before[0].0.clone(), ..sales() };
    let later = replica.all(later).await;
    assert_eq!(ids(&later), ids(&after[1..]));
    let Some(Data::Sale(sale)) = &after[1].1.data else { panic!() };
    assert_eq!(sale.seq, 2);
    assert_eq!(stage.transactions(&device.machine.to_string()).await.len(), 2);
}

async fn an_adopted_branch_is_told_under_the_epoch_the_device_wrote(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let product = stage.product("COLA", 10).await;
    let mut original = Device::new(&stage.machine("m").await, &product);
    original.sync(&stage).await;
    let mut copy = original.clone();
    original.vend();
    original.sync(&stage).await;
    copy.vend();
    copy.sync(&stage).await;
    let branch = stage.branches().await.remove(0);
    let told =
        replica.all(v1::StreamEventsRequest { machine_id: original.machine.to_string(), ..oldest() }).await;
    assert_eq!(told.iter().filter(|(_, e)| matches!(e.data, Some(Data::Sale(_)))).count(), 1, "held apart");
    let adopt = v1::AdoptBranchRequest { request_id: id(), branch_id: branch.branch_id, note: String::new() };
    let adopted = v1::fleet_service_server::FleetService::adopt_branch(&stage.fleet, operator(adopt)).await;
    adopted.unwrap();
    let told =
        replica.all(v1::StreamEventsRequest { machine_id: original.machine.to_string(), ..oldest() }).await;
    let sales: Vec<&v1::SaleEvent> = told
        .iter()
        .filter_map(|(_, event)| if let Some(Data::Sale(sale)) = &event.data { Some(sale) } else { None })
        .collect();
    assert_eq!(sales.len(), 2);
    assert!(sales.iter().all(|sale| sale.epoch == original.epoch_hex() && sale.seq == 2));
}

async fn every_filter_gives_what_it_means_and_nothing_else(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let products = trade(&stage, &replica).await;
    let mut machines = Vec::new();
    for product in &products {
        let mut device = Device::new(&stage.machine(&product.sku).await, product);
        records(&mut device);
        device.sync(&stage).await;
        machines.push(device.machine.to_string());
    }
    let history = replica.history().await;
    assert!(history.len() > 30);
    let categories = [vec![], vec![1], vec![2], vec![3], vec![4], vec![1, 4], vec![2, 3], vec![4, 3, 2, 1]];
    let products = ["", &products[0].product_id, &products[1].product_id];
    for categories in categories {
        for machine_id in ["", machines[0].as_str()] {
            for product_id in products {
                for customer_id in ["", "ann"] {
                    let request = v1::StreamEventsRequest {
                        categories: categories.clone(),
                        machine_id: machine_id.to_owned(),
                        product_id: product_id.to_owned(),
                        customer_id: customer_id.to_owned(),
                        ..oldest()
                    };
                    let meant: Vec<(String, v1::Event)> =
                        history.iter().filter(|(_, event)| means(&request, event)).cloned().collect();
                    let got = replica.all(request.clone()).await;
                    assert_eq!(by_shard(&got), by_shard(&meant), "{request:?}");
                }
            }
        }
    }
}

fn means(request: &v1::StreamEventsRequest, event: &v1::Event) -> bool {
    let (category, machine, products, customer): (i32, String, Vec<String>, String) =
        match event.data.as_ref().unwrap() {
            Data::Order(told) => {
                let order = told.order.as_ref().unwrap();
                let products = order.lines.iter().map(|line| line.product_id.clone()).collect();
                (1, String::new(), products, order.customer_id.clone())
            }
            Data::Sale(sale) => {
                let product = match sale.sale.as_ref().unwrap() {
                    Sale::Transaction(transaction) => vec![transaction.product_id.clone()],
                    _ => Vec::new(),
                };
                (2, sale.machine_id.clone(), product, String::new())
            }
            Data::Inventory(told) => match told.change.as_ref().unwrap() {
                Change::Stock(moved) => (3, String::new(), vec![moved.product_id.clone()], String::new()),
                Change::Slots(slots) => {
                    let counts = match slots.change.as_ref().unwrap() {
                        v1::slot_change::Change::Refill(refill) => &refill.slots,
                        v1::slot_change::Change::Audit(audit) => &audit.slots,
                    };
                    let hex = |count: &v1::SlotCount| {
                        uuid::Uuid::from_slice(&count.product_id).unwrap().to_string()
                    };
                    (3, slots.machine_id.clone(), counts.iter().map(hex).collect(), String::new())
                }
            },
            Data::Alert(told) => {
                let alert = told.alert.as_ref().unwrap();
                (4, alert.machine_id.clone(), vec![alert.product_id.clone()], String::new())
            }
        };
    (request.categories.is_empty() || request.categories.contains(&category))
        && (request.machine_id.is_empty() || request.machine_id == machine)
        && (request.product_id.is_empty() || products.contains(&request.product_id))
        && (request.customer_id.is_empty() || (category == 1 && request.customer_id == customer))
}

async fn a_customer_sees_its_own_orders_alone(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let product = stage.product("COLA", 100).await;
    let before = replica.order("ann", &product, 1).await;
    let mut anns = replica.watch("ann", "").await.unwrap();
    let first = soon(anns.next()).await.unwrap().unwrap();
    assert!(matches!(first.message, Some(Message::Heartbeat(_))), "from now on");
    replica.order("bob", &product, 1).await;
    let order = replica.order("ann", &product, 2).await;
    replica.cancel("ann", &before).await;
    let mut cursor = first.cursor.clone();
    let mut told = Vec::new();
    for _ in 0..2 {
        let message = soon(anns.next()).await.unwrap().unwrap();
        let Some(Message::Order(event)) = message.message else { panic!() };
        told.push((event.r#type(), event.order.unwrap().order_id));
        cursor = message.cursor;
    }
    let (created, cancelled) = (v1::OrderEventType::Created, v1::OrderEventType::Cancelled);
    assert_eq!(told, [(created, order.order_id.clone()), (cancelled, before.order_id.clone())]);
    // Again from the first cursor: one order alone.
    let one = v1::WatchOrdersRequest {
        cursor: first.cursor.clone(),
        order_id: before.order_id.clone(),
        customer_id: "ann".to_owned(),
    };
    let mut again = replica.orders.watch_orders(as_service(one)).await.unwrap().into_inner();
    let message = soon(again.next()).await.unwrap().unwrap();
    let Some(Message::Order(event)) = message.message else { panic!() };
    assert_eq!((event.r#type(), event.order.unwrap().order_id), (cancelled, before.order_id.clone()));
    // EventService tells the same events with the same ids.
    let orders = v1::StreamEventsRequest { customer_id: "ann".to_owned(), ..behind(&first.cursor) };
    let same = replica.all(orders).await;
    assert_eq!(ids(&same)[1], event.event_id);
    // From the last cursor there is only what is new.
    let mut rest = replica.watch("ann", &cursor).await.unwrap();
    let new = replica.order("ann", &product, 3).await;
    let Some(Message::Order(event)) = soon(rest.next()).await.unwrap().unwrap().message else { panic!() };
    assert_eq!(event.order.unwrap().order_id, new.order_id);
    let others =
        v1::WatchOrdersRequest { customer_id: "bob".to_owned(), ..v1::WatchOrdersRequest::default() };
    let refused = replica.orders.watch_orders(events_support::as_customer("ann", others)).await.unwrap_err();
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
}

async fn stock_and_alerts_outside_orders_are_told(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let mut stream = replica.stream(v1::StreamEventsRequest::default()).await.unwrap();
    greeted(&mut stream).await;
    let product = stage.product("COLA", 10).await;
    let adjust = v1::AdjustStockRequest {
        request_id: id(),
        product_id: product.product_id.clone(),
        delta: -10,
        reason: v1::StockAdjustmentReason::Count.into(),
        note: "counted".to_owned(),
    };
    v1::catalog_service_server::CatalogService::adjust_stock(&stage.catalog, operator(adjust)).await.unwrap();
    let told = take(&mut stream, 3).await;
    let mut types: Vec<&str> = told.iter().map(|(_, event)| event.r#type.as_str()).collect();
    types.sort_unstable();
    let stock = "dev.vendfleet.inventory.stock_changed";
    assert_eq!(types, ["dev.vendfleet.alert.raised", stock, stock]);
    let causes: Vec<(i64, i32)> = told
        .iter()
        .filter_map(|(_, event)| match &event.data {
            Some(Data::Inventory(v1::InventoryEvent { change: Some(Change::Stock(moved)) })) => {
                Some((moved.delta, moved.cause))
            }
            _ => None,
        })
        .collect();
    let (made, adjusted) = (v1::StockChangeCause::ProductCreated, v1::StockChangeCause::Adjustment);
    assert_eq!(causes, [(10, made.into()), (-10, adjusted.into())]);
}

async fn what_breaks_a_rule_is_named(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let cursor = {
        let mut stream = replica.stream(v1::StreamEventsRequest::default()).await.unwrap();
        greeted(&mut stream).await
    };
    let none = v1::StreamEventsRequest::default;
    let cases = [
        (v1::StreamEventsRequest { start: 1, ..behind(&cursor) }, "start"),
        (v1::StreamEventsRequest { start: 9, ..none() }, "start"),
        (behind("rubbish"), "cursor"),
        (behind(&"A".repeat(257)), "cursor"),
        (v1::StreamEventsRequest { categories: vec![0], ..none() }, "categories[0]"),
        (v1::StreamEventsRequest { categories: vec![1, 2, 1], ..none() }, "categories[2]"),
        (v1::StreamEventsRequest { machine_id: "x".to_owned(), ..none() }, "machine_id"),
        (v1::StreamEventsRequest { product_id: "x".to_owned(), ..none() }, "product_id"),
        (v1::StreamEventsRequest { customer_id: "x".repeat(129), ..none() }, "customer_id"),
    ];
    for (request, field) in cases {
        let status = replica.stream(request).await.err().unwrap();
        assert_eq!((reason(&status).as_str(), fields(&status)), ("INVALID_FIELD", vec![field.to_owned()]));
    }
    let refused = replica.watch("ann", "rubbish").await.err().unwrap();
    assert_eq!(fields(&refused), ["cursor"]);
}
