//! What may be asked for, who sees what, and pages.

use tonic::Code;
use vendfleet_proto::v1::{self, OrderStatus};
use vendfleet_tests::{
    fleet::Engine,
    orders::{Shop, caller::Caller, checker::check},
    refusal::{Refusal, refusal},
};

/// Nobody's.
const UNKNOWN: &str = "01934c6e-8f7a-7c3e-9d1b-2f4a6c8e0b1d";

async fn refused(caller: &Caller, lines: &[(&str, u32)]) -> Refusal {
    refusal(&caller.create("basket", lines).await.expect_err("it is refused"))
}

pub(crate) async fn what_cannot_be_ordered_is_refused_by_name_and_takes_nothing(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let (euro, franc) = (shop.product("EURO", 5).await, shop.product_at("FRANC", 5, 300, "CHF").await);
    let ann = shop.caller("ann");

    let mixed = refused(&ann, &[(&euro, 1), (&franc, 1)]).await;
    assert_eq!((mixed.code, mixed.reason.as_str()), (Code::InvalidArgument, "CURRENCY_MISMATCH"));
    assert_eq!((mixed.said("expected"), mixed.said("actual")), ("EUR", "CHF"));

    let unknown = refused(&ann, &[(&euro, 1), (UNKNOWN, 1)]).await;
    assert_eq!((unknown.code, unknown.reason.as_str()), (Code::NotFound, "PRODUCT_NOT_FOUND"));
    assert_eq!(unknown.said("product_id"), UNKNOWN);

    let short = refused(&ann, &[(&euro, 5), (&franc, 6)]).await;
    assert!(["CURRENCY_MISMATCH", "INSUFFICIENT_STOCK"].contains(&short.reason.as_str()), "{short:?}");
    let short = refused(&ann, &[(&euro, 6)]).await;
    assert_eq!((short.said("requested"), short.said("available")), ("6", "5"));

    assert_eq!((shop.stock(&euro).await, shop.stock(&franc).await), (5, 5));
    assert_eq!(check(&shop).await.orders, 0);
}

pub(crate) async fn rubbish_in_an_order_names_field_and_rule(engine: Engine) {
    type Spoil = (&'static str, fn(&mut v1::CreateOrderRequest));
    const RUBBISH: [Spoil; 12] = [
        ("idempotency_key", |c| c.idempotency_key.clear()),
        ("idempotency_key", |c| c.idempotency_key = "k".repeat(129)),
        ("idempotency_key", |c| c.idempotency_key = "schlüssel".to_owned()),
        ("idempotency_key", |c| c.idempotency_key = "a\nb".to_owned()),
        ("customer_id", |c| c.customer_id = "c".repeat(129)),
        ("lines", |c| c.lines.clear()),
        ("lines", |c| c.lines = vec![c.lines[0].clone(); 101]),
        ("lines[0].product_id", |c| c.lines[0].product_id = "COLA".to_owned()),
        ("lines[0].product_id", |c| c.lines[0].product_id.clear()),
        ("lines[0].quantity", |c| c.lines[0].quantity = 0),
        ("lines[0].quantity", |c| c.lines[0].quantity = 10_001),
        ("lines[0].quantity", |c| c.lines[0].quantity = u32::MAX),
    ];
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 5).await;
    let mut client = shop.caller("").client;
    let good = v1::CreateOrderRequest {
        idempotency_key: "basket".to_owned(),
        customer_id: "ann".to_owned(),
        lines: vec![v1::CreateOrderLine { product_id: product, quantity: 1 }],
        expected_total: None,
    };
    for (field, spoil) in RUBBISH {
        let mut spoilt = good.clone();
        spoil(&mut spoilt);
        let refused = refusal(&client.create_order(spoilt).await.expect_err(field));
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
        let named = refused.fields.iter().find(|(name, _)| name == field);
        assert!(named.is_some_and(|(_, rule)| !rule.is_empty()), "{field}: {refused:?}");
    }
    client.create_order(good).await.unwrap();
    assert_eq!(check(&shop).await.orders, 1);
}

pub(crate) async fn what_the_customer_was_shown_is_what_it_pays(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product_at("COLA", 5, 900, "EUR").await;
    let mut client = shop.caller("").client;
    let euro = |minor_units| Some(v1::Money { currency_code: "EUR".to_owned(), minor_units });
    let shown = |expected_total| v1::CreateOrderRequest {
        idempotency_key: "basket".to_owned(),
        customer_id: "ann".to_owned(),
        lines: vec![v1::CreateOrderLine { product_id: product.clone(), quantity: 2 }],
        expected_total,
    };
    let refused = refusal(&client.create_order(shown(euro(300))).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "PRICE_CHANGED"));
    let said = ["expected_minor", "price_minor", "currency_code"].map(|key| refused.said(key).to_owned());
    assert_eq!(said, ["300", "1800", "EUR"]);
    let yen = Some(v1::Money { currency_code: "JPY".to_owned(), minor_units: 1_800 });
    let refused = refusal(&client.create_order(shown(yen)).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "CURRENCY_MISMATCH"));
    for (field, minor_units, code) in
        [("expected_total.minor_units", -1, "EUR"), ("expected_total.currency_code", 1, "euro")]
    {
        let money = v1::Money { currency_code: code.to_owned(), minor_units };
        let refused = refusal(&client.create_order(shown(Some(money))).await.unwrap_err());
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), ("INVALID_FIELD", field));
    }
    // Nothing was taken and no key is left; with the total as it is the order is made, and a repeat gives it whatever it expects.
    assert_eq!(shop.stock(&product).await, 5);
    let made = client.create_order(shown(euro(1_800))).await.unwrap().into_inner();
    assert!(!made.already_existed);
    for expected in [euro(1_800), euro(300), None] {
        let again = client.create_order(shown(expected)).await.unwrap().into_inner();
        assert_eq!((again.already_existed, &again.order), (true, &made.order));
    }
    assert_eq!(check(&shop).await.orders, 1);
}

pub(crate) async fn a_hundred_lines_and_the_dearest_order_there_can_be(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let mut products = Vec::new();
    for n in 0..100 {
        // The highest price and the most units of the contract: 100 lines stay within 64 bits.
        products.push(shop.product_at(&format!("P{n}"), 10_000, 1_000_000_000_000, "EUR").await);
    }
    let lines: Vec<_> = products.iter().map(|product| (product.as_str(), 10_000)).collect();
    let order = shop.caller("ann").order("basket", &lines).await;
    assert_eq!(order.lines.len(), 100);
    assert_eq!(order.total.unwrap().minor_units, 1_000_000_000_000_000_000);
    // A price of nothing is a price.
    let gift = shop.product_at("GIFT", 1, 0, "EUR").await;
    assert_eq!(shop.caller("ann").order("gift", &[(&gift, 1)]).await.total.unwrap().minor_units, 0);
    assert_eq!(check(&shop).await.orders, 2);
}

pub(crate) async fn a_customer_sees_its_own_orders_and_no_other(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 10).await;
    let (ann, ben) = (shop.customer("ann").await, shop.customer("ben").await);
    let hers = ann.order("basket", &[(&product, 1)]).await;
    assert_eq!(hers.customer_id, "ann");
    for status in [
        ben.get(&hers.order_id).await.unwrap_err(),
        ben.cancel(&hers.order_id).await.unwrap_err(),
        ben.get(UNKNOWN).await.unwrap_err(),
    ] {
        let refused = refusal(&status);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, "ORDER_NOT_FOUND"));
    }
    assert!(ben.list(v1::ListOrdersRequest::default()).await.is_empty());
    // Naming another needs the scope; naming oneself does not.
    let posing = Caller { customer: "ann".to_owned(), ..ben.clone() };
    for status in [
        posing.create("k", &[(&product, 1)]).await.unwrap_err(),
        posing.get(&hers.order_id).await.unwrap_err(),
        posing.cancel(&hers.order_id).await.unwrap_err(),
        posing.watch("").await.unwrap_err(),
    ] {
        let refused = refusal(&status);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"));
        assert_eq!(refused.said("required_scope"), "orders.on_behalf");
    }
    let herself = Caller { customer: "ann".to_owned(), ..ann.clone() };
    assert_eq!(herself.get(&hers.order_id).await.unwrap(), hers);
    // A service sees everybody's, and one customer's when it names one.
    assert_eq!(shop.caller("").get(&hers.order_id).await.unwrap(), hers);
    assert_eq!(shop.caller("ann").get(&hers.order_id).await.unwrap(), hers);
    assert_eq!(shop.caller("ben").get(&hers.order_id).await.unwrap_err().code(), Code::NotFound);
    check(&shop).await;
}

pub(crate) async fn pages_are_newest_first_and_bound_to_their_filter(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 100).await;
    let (ann, ben) = (shop.caller("ann"), shop.caller("ben"));
    let mut made = Vec::new();
    for n in 0..20 {
        made.push(ann.order(&format!("basket-{n}"), &[(&product, 1)]).await);
    }
    let his = ben.order("basket", &[(&product, 1)]).await;
    for order in &made[..5] {
        ann.cancel(&order.order_id).await.unwrap();
    }
    let ids = |orders: &[v1::Order]| orders.iter().map(|o| o.order_id.clone()).collect::<Vec<_>>();
    let mut newest_first = ids(&made);
    newest_first.reverse();

    for page_size in [1, 3, 100] {
        let listed = ann.list(v1::ListOrdersRequest { page_size, ..Default::default() }).await;
        assert_eq!(ids(&listed), newest_first, "{page_size} a page");
    }
    let everybodys = shop.caller("").list(v1::ListOrdersRequest::default()).await;
    assert_eq!((everybodys.len(), &everybodys[0].order_id), (21, &his.order_id));
    let of = |statuses: &[OrderStatus]| v1::ListOrdersRequest {
        statuses: statuses.iter().map(|status| i32::from(*status)).collect(),
        page_size: 2,
        ..Default::default()
    };
    assert_eq!(ids(&ann.list(of(&[OrderStatus::Cancelled])).await), newest_first[15..]);
    assert_eq!(ann.list(of(&[OrderStatus::Cancelled, OrderStatus::Pending])).await.len(), 20);
    assert!(ann.list(of(&[OrderStatus::Paid])).await.is_empty());
    let unsettled = v1::ListOrdersRequest { unsettled_only: true, ..Default::default() };
    assert!(ann.list(unsettled).await.is_empty());

    let mut client = ann.client.clone();
    let mut page = v1::ListOrdersRequest { customer_id: "ann".to_owned(), ..Default::default() };
    let first = client.list_orders(page.clone()).await.unwrap().into_inner();
    assert_eq!(first.orders.len(), 15, "unless asked otherwise");
    page.page_token = first.next_page_token;
    let elsewhere = v1::ListOrdersRequest { customer_id: "ben".to_owned(), ..page.clone() };
    let otherwise = v1::ListOrdersRequest { unsettled_only: true, ..page.clone() };
    let rubbish = v1::ListOrdersRequest { page_token: "bm9uc2Vuc2U".to_owned(), ..page.clone() };
    for bad in [elsewhere, otherwise, rubbish] {
        let refused = refusal(&client.list_orders(bad).await.unwrap_err());
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
    }
    for page_size in [-1, 101] {
        let bad = v1::ListOrdersRequest { page_size, ..Default::default() };
        assert_eq!(refusal(&client.list_orders(bad).await.unwrap_err()).fields[0].0, "page_size");
    }
    check(&shop).await;
}

pub(crate) async fn a_customer_has_only_so_many_open_orders_and_holds_only_so_much(engine: Engine) {
    let shop = Shop::start(engine, 1, |options| {
        options
            .set("worker.enabled", false)
            .set("orders.open_per_customer", 3)
            .set("orders.held_units_per_customer", 10)
    })
    .await;
    let product = shop.product("COLA", 100).await;
    let (greedy, ann) = (shop.caller("greedy"), shop.caller("ann"));
    let first = greedy.order("first", &[(&product, 4)]).await;
    greedy.order("second", &[(&product, 4)]).await;
    let held = refusal(&greedy.create("third", &[(&product, 3)]).await.unwrap_err());
    assert_eq!((held.code, held.reason.as_str()), (Code::ResourceExhausted, "TOO_MANY_OPEN_ORDERS"));
    assert_eq!((held.said("limit"), held.said("most")), ("orders.held_units_per_customer", "10"));
    greedy.order("third", &[(&product, 2)]).await;
    let open = refusal(&greedy.create("fourth", &[(&product, 1)]).await.unwrap_err());
    assert_eq!((open.said("limit"), open.said("most")), ("orders.open_per_customer", "3"));
    assert!(open.retry_after.is_some());
    assert_eq!(shop.stock(&product).await, 90, "a refusal takes nothing");
    ann.order("first", &[(&product, 10)]).await;
    // What was done before is still answered, and what ends makes room.
    assert_eq!(greedy.order("first", &[(&product, 4)]).await.order_id, first.order_id);
    greedy.cancel(&first.order_id).await.unwrap();
    greedy.order("fourth", &[(&product, 1)]).await;
    let again = refusal(&greedy.create("fifth", &[(&product, 1)]).await.unwrap_err());
    assert_eq!(again.reason, "TOO_MANY_OPEN_ORDERS");
    check(&shop).await;
}
