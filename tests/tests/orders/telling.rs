//! What is told of orders: in order, to whom it belongs, from where one left off; and that the checker would notice.

use tonic::Code;
use vendfleet_proto::v1::{OrderEventType, watch_orders_response::Message};
use vendfleet_tests::{
    fleet::Engine,
    orders::{
        Shop,
        checker::{check, examine},
    },
    refusal::refusal,
};

pub(crate) async fn who_watches_misses_nothing_between_two_streams(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 10).await;
    let (ann, ben) = (shop.customer("ann").await, shop.caller("ben"));
    let mut stream = ann.watch("").await.unwrap();
    let mut cursor = stream.message().await.unwrap().unwrap().cursor;
    let first = ann.order("first", &[(&product, 1)]).await;
    ben.order("his", &[(&product, 1)]).await;
    let told = loop {
        let message = stream.message().await.unwrap().unwrap();
        cursor.clone_from(&message.cursor);
        if let Some(Message::Order(event)) = message.message {
            break event;
        }
    };
    assert_eq!((told.r#type(), told.order.as_ref()), (OrderEventType::Created, Some(&first)));
    drop(stream);

    let second = ann.order("second", &[(&product, 1)]).await;
    ann.cancel(&first.order_id).await.unwrap();
    let told: Vec<_> = ann
        .happened_since(&cursor)
        .await
        .into_iter()
        .map(|event| (event.r#type(), event.order.unwrap().order_id))
        .collect();
    assert_eq!(
        told,
        [(OrderEventType::Created, second.order_id), (OrderEventType::Cancelled, first.order_id)]
    );
    check(&shop).await;
}

pub(crate) async fn a_cursor_that_leads_nowhere_says_so(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let other = Shop::unpaid(engine).await;
    let ann = shop.caller("ann");
    let elsewhere = other.caller("ann").now().await;
    let lost = |status: tonic::Status| {
        let refused = refusal(&status);
        (refused.code, refused.reason)
    };
    let mut opened = ann.watch(&elsewhere).await;
    let status = match &mut opened {
        Ok(stream) => stream.message().await.unwrap_err(),
        Err(status) => status.clone(),
    };
    assert_eq!(lost(status), (Code::OutOfRange, "CURSOR_LOST".to_owned()));
}

pub(crate) async fn the_checker_sees_what_does_not_add_up(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 10).await;
    let order = shop.caller("ann").order("basket", &[(&product, 3)]).await;
    shop.caller("ann").order("other", &[(&product, 1)]).await;
    check(&shop).await;
    let rows = shop.rows().await;
    let (order_id, product_id) =
        (uuid::Uuid::parse_str(&order.order_id).unwrap(), uuid::Uuid::parse_str(&product).unwrap());
    let spoil: [(&'static str, &[u8], &str, &'static str); 3] = [
        (
            "UPDATE products SET stock = stock + 1 WHERE product_id = $1",
            product_id.as_bytes(),
            "in stock",
            "UPDATE products SET stock = stock - 1 WHERE product_id = $1",
        ),
        (
            "UPDATE orders SET status = 5 WHERE order_id = $1",
            order_id.as_bytes(),
            "its events end with",
            "UPDATE orders SET status = 1 WHERE order_id = $1",
        ),
        (
            "UPDATE events SET position = position + 1000 WHERE subject = $1",
            order_id.as_bytes(),
            "takes",
            "UPDATE events SET position = position - 1000 WHERE subject = $1",
        ),
    ];
    for (wrong, id, said, right) in spoil {
        rows.execute(wrong, id).await;
        let (_, found) = examine(&shop, None).await;
        assert!(found.iter().any(|breach| breach.contains(said)), "{wrong}: {found:#?}");
        rows.execute(right, id).await;
    }
    check(&shop).await;
}
