//! Orders over their gRPC service, on both engines: what a caller is promised.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on stops")]

#[macro_use]
mod fleet_support;
#[path = "orders_support/mod.rs"]
mod support;

use fleet_support::{Stage, fields, reason, refused};
use support::{Shop, customer, service};
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;
use vendfleet_proto::v1::{self, OrderStatus, order_service_server::OrderService as _};

on_both_engines! {
    an_order_takes_stock_and_keeps_what_it_cost,
    the_same_key_and_request_is_the_same_order,
    the_same_key_for_another_request_is_refused,
    a_refusal_leaves_nothing_behind_and_frees_its_key,
    a_repeat_is_answered_though_the_stock_is_gone,
    lines_of_a_product_are_merged,
    one_order_has_one_currency,
    what_is_not_sold_is_not_ordered,
    bad_fields_are_named_by_their_paths,
    a_cancel_gives_stock_back_once,
    orders_are_listed_newest_first_in_pages,
    a_page_token_is_good_for_its_list_only,
    a_list_holds_what_its_filter_says,
    a_customer_sees_its_own_orders_alone,
    a_service_acts_for_whom_it_names,
}

async fn an_order_takes_stock_and_keeps_what_it_cost(stage: Stage) {
    let shop = Shop::new(&stage);
    let (cola, chips) = (stage.product("COLA", 10).await, stage.product("CHIPS", 5).await);
    let (order, existed) = shop.order("anna", "k1", &[(&cola, 2), (&chips, 5)]).await.unwrap();
    assert!(!existed);
    assert_eq!(order.status(), OrderStatus::Pending);
    assert_eq!(order.payment_status(), v1::PaymentStatus::Pending);
    assert_eq!((order.customer_id.as_str(), order.idempotency_key.as_str()), ("anna", "k1"));
    assert_eq!(order.total.clone().unwrap().minor_units, 7 * 150);
    let first = &order.lines[0];
    assert_eq!((first.product_id.as_str(), first.quantity), (cola.product_id.as_str(), 2));
    assert_eq!((first.sku.as_str(), first.unit_price.clone().unwrap().minor_units), ("COLA", 150));
    assert_eq!(first.line_total.clone().unwrap().minor_units, 300);
    assert_eq!((shop.stock(&cola).await, shop.stock(&chips).await), (8, 0));

    shop.reprice(&cola, 999).await;
    let read = shop.get("anna", &order.order_id).await.unwrap();
    assert_eq!(read, order, "what an order cost never changes");
    let (again, existed) = shop.order("anna", "k1", &[(&cola, 2), (&chips, 5)]).await.unwrap();
    assert!(existed);
    assert_eq!(again, order);
    assert_eq!(shop.stock(&cola).await, 8, "a repeat takes nothing");
}

async fn the_same_key_and_request_is_the_same_order(stage: Stage) {
    let shop = Shop::new(&stage);
    let (cola, chips) = (stage.product("COLA", 10).await, stage.product("CHIPS", 5).await);
    let (order, _) = shop.order("anna", "k", &[(&cola, 2), (&chips, 1)]).await.unwrap();
    let (turned, existed) = shop.order("anna", "k", &[(&chips, 1), (&cola, 2)]).await.unwrap();
    assert!(existed, "lines in another order are the same request");
    assert_eq!(turned.order_id, order.order_id);
    let (split, existed) = shop.order("anna", "k", &[(&cola, 1), (&chips, 1), (&cola, 1)]).await.unwrap();
    assert!(existed, "and so are lines that merge to it");
    assert_eq!(split.order_id, order.order_id);
    let (other, existed) = shop.order("bert", "k", &[(&cola, 2), (&chips, 1)]).await.unwrap();
    assert!(!existed, "a key is its customer's own");
    assert_ne!(other.order_id, order.order_id);

    shop.cancel("anna", &order.order_id).await.unwrap();
    let (now, existed) = shop.order("anna", "k", &[(&cola, 2), (&chips, 1)]).await.unwrap();
    assert!(existed);
    assert_eq!(now.status(), OrderStatus::Cancelled, "as it is now");
}

async fn the_same_key_for_another_request_is_refused(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 10).await;
    let (order, _) = shop.order("anna", "k", &[(&cola, 2)]).await.unwrap();
    let status = shop.order("anna", "k", &[(&cola, 3)]).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"));
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.metadata["key"].as_str(), &info.metadata["resource_id"]), ("k", &order.order_id));
    let status = shop.order("anna", "k", &[(&cola, 30)]).await.unwrap_err();
    assert_eq!(reason(&status), "IDEMPOTENCY_KEY_REUSED", "whether or not it could be done");
    assert_eq!(shop.stock(&cola).await, 8);
}

async fn a_refusal_leaves_nothing_behind_and_frees_its_key(stage: Stage) {
    let shop = Shop::new(&stage);
    let (cola, chips) = (stage.product("COLA", 10).await, stage.product("CHIPS", 2).await);
    let status = shop.order("anna", "k", &[(&cola, 1), (&chips, 3)]).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "INSUFFICIENT_STOCK"));
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["product_id"], chips.product_id);
    assert_eq!((info.metadata["requested"].as_str(), info.metadata["available"].as_str()), ("3", "2"));
    assert_eq!((shop.stock(&cola).await, shop.stock(&chips).await), (10, 2), "a line that fits took nothing");
    assert!(shop.list("anna", v1::ListOrdersRequest::default()).await.unwrap().orders.is_empty());

    shop.adjust(&chips, 1).await;
    let (order, existed) = shop.order("anna", "k", &[(&cola, 1), (&chips, 3)]).await.unwrap();
    assert!(!existed, "the key is free again, also for the same request");
    assert_eq!(order.lines.len(), 2);
}

async fn a_repeat_is_answered_though_the_stock_is_gone(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 3).await;
    let (order, _) = shop.order("anna", "k", &[(&cola, 3)]).await.unwrap();
    let (again, existed) = shop.order("anna", "k", &[(&cola, 3)]).await.unwrap();
    assert!(existed);
    assert_eq!(again.order_id, order.order_id);
    shop.archive(&cola).await;
    let (again, existed) = shop.order("anna", "k", &[(&cola, 3)]).await.unwrap();
    assert!(existed, "also when the product is not sold any more");
    assert_eq!(again, order);
}

async fn lines_of_a_product_are_merged(stage: Stage) {
    let shop = Shop::new(&stage);
    let (cola, chips) = (stage.product("COLA", 20_000).await, stage.product("CHIPS", 5).await);
    let (order, _) = shop.order("anna", "k", &[(&cola, 2), (&chips, 1), (&cola, 3)]).await.unwrap();
    let lines: Vec<_> = order.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
    assert_eq!(lines, [("COLA", 5), ("CHIPS", 1)]);
    let status = shop.order("anna", "l", &[(&cola, 9_000), (&chips, 1), (&cola, 1_001)]).await.unwrap_err();
    assert_eq!(fields(&status), ["lines[2].quantity"], "the bound holds after merging");
}

async fn one_order_has_one_currency(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 10).await;
    let dollars = shop.product_in("USD", "SODA", 10).await;
    let status = shop.order("anna", "k", &[(&cola, 1), (&dollars, 1)]).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "CURRENCY_MISMATCH"));
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.metadata["expected"].as_str(), info.metadata["actual"].as_str()), ("EUR", "USD"));
    assert_eq!(shop.stock(&cola).await, 10);
}

async fn what_is_not_sold_is_not_ordered(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 10).await;
    let unknown = v1::Product { product_id: Uuid::now_v7().to_string(), ..cola.clone() };
    let status = shop.order("anna", "k", &[(&unknown, 1)]).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "PRODUCT_NOT_FOUND"));
    shop.archive(&cola).await;
    let status = shop.order("anna", "k", &[(&cola, 1)]).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "PRODUCT_ARCHIVED"));
}

async fn bad_fields_are_named_by_their_paths(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 10).await;
    let line =
        |product_id: &str, quantity| v1::CreateOrderLine { product_id: product_id.to_owned(), quantity };
    let request = |key: &str, lines| v1::CreateOrderRequest {
        idempotency_key: key.to_owned(),
        customer_id: String::new(),
        lines,
        expected_total: None,
    };
    for (request, expected) in [
        (request("", vec![line(&cola.product_id, 1)]), vec!["idempotency_key"]),
        (request("k\u{e9}", vec![line(&cola.product_id, 1)]), vec!["idempotency_key"]),
        (request(&"k".repeat(129), vec![line(&cola.product_id, 1)]), vec!["idempotency_key"]),
        (request("k", vec![]), vec!["lines"]),
        (request("k", vec![line(&cola.product_id, 1); 101]), vec!["lines"]),
        (
            request("", vec![line(&cola.product_id, 1), line("cola", 0), line(&cola.product_id, 10_001)]),
            vec!["idempotency_key", "lines[1].product_id", "lines[1].quantity", "lines[2].quantity"],
        ),
    ] {
        let status = refused(shop.orders.create_order(customer("anna", request))).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(fields(&status), expected);
    }
    let status = shop.get("anna", "x").await.unwrap_err();
    assert_eq!(fields(&status), ["order_id"]);
    let bad = v1::ListOrdersRequest { page_size: 101, statuses: vec![1, 1, 9], ..Default::default() };
    let status = shop.list("anna", bad).await.unwrap_err();
    assert_eq!(fields(&status), ["statuses[1]", "statuses[2]", "page_size"]);
    let status = refused(shop.orders.get_order(service(
        true,
        v1::GetOrderRequest { order_id: Uuid::now_v7().to_string(), customer_id: "c".repeat(129) },
    )))
    .await;
    assert_eq!(fields(&status), ["customer_id"]);
    assert_eq!(shop.stock(&cola).await, 10);
}

async fn a_cancel_gives_stock_back_once(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 10).await;
    let (order, _) = shop.order("anna", "k", &[(&cola, 4)]).await.unwrap();
    let (cancelled, already) = shop.cancel("anna", &order.order_id).await.unwrap();
    assert_eq!((cancelled.status(), already), (OrderStatus::Cancelled, false));
    assert!(cancelled.end_time_ms > 0);
    let (again, already) = shop.cancel("anna", &order.order_id).await.unwrap();
    assert!(already);
    assert_eq!(again, cancelled);
    assert_eq!(shop.stock(&cola).await, 10);
    let status = shop.cancel("bert", &order.order_id).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "ORDER_NOT_FOUND"));

    let (order, _) = shop.order("anna", "l", &[(&cola, 4)]).await.unwrap();
    let claimed = stage.deps.orders.claim(10, 30_000).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let status = shop.cancel("anna", &order.order_id).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "ORDER_NOT_CANCELLABLE")
    );
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (&info.metadata["order_id"], info.metadata["status"].as_str()),
        (&order.order_id, "PROCESSING")
    );
    assert_eq!(shop.stock(&cola).await, 6);
}

async fn orders_are_listed_newest_first_in_pages(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 100).await;
    let mut made = Vec::new();
    for n in 0..18 {
        made.push(shop.order("anna", &format!("k{n}"), &[(&cola, 1)]).await.unwrap().0.order_id);
        stage.clock.advance(std::time::Duration::from_millis(1));
    }
    made.reverse();
    let first = shop.list("anna", v1::ListOrdersRequest::default()).await.unwrap();
    assert_eq!(first.orders.len(), 15, "the default");
    let next = v1::ListOrdersRequest { page_token: first.next_page_token, ..Default::default() };
    let second = shop.list("anna", next).await.unwrap();
    assert_eq!((second.orders.len(), second.next_page_token.as_str()), (3, ""));
    let listed: Vec<String> =
        first.orders.into_iter().chain(second.orders).map(|order| order.order_id).collect();
    assert_eq!(listed, made);
    let whole = v1::ListOrdersRequest { page_size: 100, ..Default::default() };
    assert_eq!(shop.list("anna", whole).await.unwrap().orders.len(), 18);
}

async fn a_page_token_is_good_for_its_list_only(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 100).await;
    for n in 0..3 {
        shop.order("anna", &format!("k{n}"), &[(&cola, 1)]).await.unwrap();
    }
    let list = v1::ListOrdersRequest { page_size: 1, ..Default::default() };
    let token = shop.list("anna", list.clone()).await.unwrap().next_page_token;
    let other = v1::ListOrdersRequest { page_token: token.clone(), statuses: vec![1], ..list.clone() };
    assert_eq!(reason(&shop.list("anna", other).await.unwrap_err()), "PAGE_TOKEN_INVALID");
    let same = v1::ListOrdersRequest { page_token: token.clone(), ..list.clone() };
    assert_eq!(reason(&shop.list("bert", same.clone()).await.unwrap_err()), "PAGE_TOKEN_INVALID");
    assert_eq!(shop.list("anna", same).await.unwrap().orders.len(), 1);
    let torn = v1::ListOrdersRequest { page_token: token[1..].to_owned(), ..list };
    assert_eq!(reason(&shop.list("anna", torn).await.unwrap_err()), "PAGE_TOKEN_INVALID");
}

async fn a_list_holds_what_its_filter_says(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 100).await;
    let (kept, _) = shop.order("anna", "a", &[(&cola, 1)]).await.unwrap();
    let (gone, _) = shop.order("anna", "b", &[(&cola, 1)]).await.unwrap();
    shop.cancel("anna", &gone.order_id).await.unwrap();
    let ids = |answer: v1::ListOrdersResponse| -> Vec<String> {
        answer.orders.into_iter().map(|order| order.order_id).collect()
    };
    let only = |statuses: &[OrderStatus]| v1::ListOrdersRequest {
        statuses: statuses.iter().map(|status| i32::from(*status)).collect(),
        ..Default::default()
    };
    assert_eq!(
        ids(shop.list("anna", only(&[OrderStatus::Pending])).await.unwrap()),
        std::slice::from_ref(&kept.order_id)
    );
    assert_eq!(ids(shop.list("anna", only(&[OrderStatus::Cancelled])).await.unwrap()), [gone.order_id]);
    let both = only(&[OrderStatus::Cancelled, OrderStatus::Pending]);
    assert_eq!(ids(shop.list("anna", both).await.unwrap()).len(), 2);
    let unsettled = v1::ListOrdersRequest { unsettled_only: true, ..Default::default() };
    assert!(shop.list("anna", unsettled).await.unwrap().orders.is_empty());
}

async fn a_customer_sees_its_own_orders_alone(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 10).await;
    let (order, _) = shop.order("anna", "k", &[(&cola, 1)]).await.unwrap();
    let status = shop.get("bert", &order.order_id).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "ORDER_NOT_FOUND"));
    let unknown = shop.get("bert", &Uuid::now_v7().to_string()).await.unwrap_err();
    assert_eq!(status.message(), unknown.message(), "nothing tells another's order from none");
    assert!(shop.list("bert", v1::ListOrdersRequest::default()).await.unwrap().orders.is_empty());
    let named = v1::GetOrderRequest { order_id: order.order_id.clone(), customer_id: "anna".to_owned() };
    let status = refused(shop.orders.get_order(customer("bert", named.clone()))).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"));
    let scope = &status.get_details_error_info().unwrap().metadata["required_scope"];
    assert_eq!(scope, "orders.on_behalf");
    shop.orders.get_order(customer("anna", named)).await.expect("to name oneself is nothing special");
}

async fn a_service_acts_for_whom_it_names(stage: Stage) {
    let shop = Shop::new(&stage);
    let cola = stage.product("COLA", 10).await;
    let request = |customer: &str| v1::CreateOrderRequest {
        idempotency_key: "k".to_owned(),
        customer_id: customer.to_owned(),
        lines: vec![v1::CreateOrderLine { product_id: cola.product_id.clone(), quantity: 1 }],
        expected_total: None,
    };
    let status = refused(shop.orders.create_order(service(false, request("anna")))).await;
    assert_eq!(reason(&status), "PERMISSION_DENIED", "a service without the scope is nobody but itself");
    let made = shop.orders.create_order(service(true, request("anna"))).await.unwrap().into_inner();
    let order = made.order.unwrap();
    assert_eq!(order.customer_id, "anna");
    assert_eq!(shop.get("anna", &order.order_id).await.unwrap(), order);
    let own = shop.orders.create_order(service(false, request(""))).await.unwrap().into_inner();
    assert_eq!(own.order.unwrap().customer_id, "shop");

    let get = |customer: &str| v1::GetOrderRequest {
        order_id: order.order_id.clone(),
        customer_id: customer.to_owned(),
    };
    shop.orders.get_order(service(true, get(""))).await.expect("anybody's, when nobody is named");
    shop.orders.get_order(service(true, get("anna"))).await.expect("that customer's");
    let status = refused(shop.orders.get_order(service(true, get("bert")))).await;
    assert_eq!(reason(&status), "ORDER_NOT_FOUND", "who names a customer means it");
    let status = refused(shop.orders.get_order(service(false, get("")))).await;
    assert_eq!(reason(&status), "ORDER_NOT_FOUND");
    let all = shop.orders.list_orders(service(true, v1::ListOrdersRequest::default())).await.unwrap();
    assert_eq!(all.into_inner().orders.len(), 2);
    let one = v1::ListOrdersRequest { customer_id: "anna".to_owned(), ..Default::default() };
    assert_eq!(shop.orders.list_orders(service(true, one)).await.unwrap().into_inner().orders.len(), 1);
}
