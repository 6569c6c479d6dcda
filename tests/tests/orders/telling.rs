//! What is told of orders: in order, to whom it belongs, from where one left off; and that the checker would notice.

use tokio::{sync::watch, task::JoinSet};
use tonic::Code;
use vendfleet_proto::v1::{
    self, OrderEventType, stream_events_response::Message as Told, watch_orders_response::Message,
};
use vendfleet_tests::{
    fleet::Engine,
    orders::{
        Shop,
        checker::{check, events_since_the_oldest, examine, from_the_oldest},
    },
    refusal::refusal,
    wait::{PATIENCE, until_true},
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

/// Opens a stream again after every few events, from the last cursor, until told that nothing more comes.
async fn follower(shop: &Shop, replica: usize, mut open: watch::Receiver<bool>) -> Vec<v1::Event> {
    const EVENTS_PER_STREAM: usize = 17;
    let mut request = from_the_oldest();
    let mut told: Vec<v1::Event> = Vec::new();
    loop {
        let mut stream = shop.events(replica).stream_events(request.clone()).await.unwrap().into_inner();
        let mut read = 0;
        while read < EVENTS_PER_STREAM {
            let ends = !*open.borrow_and_update();
            let message = stream.message().await.unwrap().expect("the stream goes on");
            request.cursor = message.cursor;
            request.start = v1::StreamStart::Unspecified.into();
            match message.message.unwrap() {
                Told::Event(event) => {
                    told.push(event);
                    read += 1;
                }
                Told::Heartbeat(_) if ends => return told,
                Told::Heartbeat(_) => {}
            }
        }
    }
}

pub(crate) async fn who_follows_the_events_of_a_busy_server_is_told_all_of_them_in_order(engine: Engine) {
    let replicas = if engine == Engine::Postgres { 2 } else { 1 };
    let shop = Shop::start(engine, replicas, |o| o.set("payments.simulated_delay_most_ms", 50)).await;
    let products = [shop.product("A", 1_000_000).await, shop.product("B", 30).await];
    let (open, closed) = watch::channel(true);
    let busy = async {
        let mut buying = JoinSet::new();
        for n in 0..12 {
            let (caller, products) =
                (shop.caller_at(n % replicas, &format!("customer-{n}")), products.clone());
            buying.spawn(async move {
                for basket in 0..15 {
                    let lines = [(products[0].as_str(), 1), (products[(basket + n) % 2].as_str(), 1)];
                    if let Ok((order, _)) = caller.create(&format!("basket-{basket}"), &lines).await
                        && basket % 4 == 0
                    {
                        let _ = caller.cancel(&order.order_id).await;
                    }
                }
            });
        }
        buying.join_all().await;
        until_true("every order to end", PATIENCE, || async {
            let all = shop.caller("").list(v1::ListOrdersRequest::default()).await;
            all.iter().all(|order| order.end_time_ms != 0)
        })
        .await;
        open.send_replace(false);
    };
    let ((), one, other) =
        tokio::join!(busy, follower(&shop, 0, closed.clone()), follower(&shop, replicas - 1, closed.clone()));
    let all = events_since_the_oldest(&shop, 0).await;
    assert!(all.len() > 300, "{}", all.len());
    assert!(one == all, "{} events were told, there are {}", one.len(), all.len());
    assert!(other == all, "{} events were told by the other, there are {}", other.len(), all.len());
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
