//! Many callers at once: for the last unit, with one key, with one order to cancel.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::{Code, Status};
use vendfleet_proto::v1::{self, OrderStatus};
use vendfleet_tests::{
    fleet::Engine,
    orders::{
        Shop,
        caller::{Caller, Made},
        checker::check,
    },
    refusal::refusal,
    server::ServerOptions,
};

/// Connections that many callers share: a server takes 256 calls at once on one.
const CONNECTIONS: usize = 16;
/// How long a crowd of a thousand may take to be told, unoptimised and with other tests beside it: nobody waits for a lock
/// until it times out. What it takes on an idle machine is the bench's to say.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Asks for one unit in everybody's name at once.
async fn crowd(callers: Vec<(Caller, String)>, product: &str) -> Vec<Result<Made, Status>> {
    let mut asking = JoinSet::new();
    for (caller, key) in callers {
        let product = product.to_owned();
        asking.spawn(async move { caller.create(&key, &[(&product, 1)]).await });
    }
    asking.join_all().await
}

/// So many customers over a few connections, evenly over the replicas.
fn customers(shop: &Shop, how_many: usize) -> Vec<(Caller, String)> {
    let lines: Vec<_> = (0..CONNECTIONS).map(|n| shop.caller_at(n % shop.replicas.len(), "nobody")).collect();
    let of = |n: usize| (lines[n % CONNECTIONS].acting_for(&format!("customer-{n}")), "basket".to_owned());
    (0..how_many).map(of).collect()
}

/// One has it; everybody else is told that nothing is left.
fn exactly_one_wins(answers: &[Result<Made, Status>], product: &str) {
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1, "of {} callers", answers.len());
    for status in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let refused = refusal(status);
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::FailedPrecondition, "INSUFFICIENT_STOCK"),
            "{refused:?}"
        );
        assert_eq!(
            (refused.said("product_id"), refused.said("requested"), refused.said("available")),
            (product, "1", "0")
        );
    }
}

/// Fifty callers, evenly over the replicas.
pub(crate) async fn fifty_race(shop: &Shop, product: &str) {
    let answers = crowd(customers(shop, 50), product).await;
    exactly_one_wins(&answers, product);
}

pub(crate) async fn fifty_callers_race_for_the_last_unit_and_one_has_it(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("LAST", 1).await;
    fifty_race(&shop, &product).await;
    assert_eq!(shop.stock(&product).await, 0);
    assert_eq!(check(&shop).await.orders, 1);
}

pub(crate) async fn a_thousand_callers_on_the_last_unit_are_told_at_once(engine: Engine) {
    let patient = |o: ServerOptions| {
        o.set("worker.enabled", false)
            .set("limits.deadline_ms", 30_000)
            .set("database.lock_timeout_ms", 30_000)
    };
    let shop = Shop::start(engine, 1, patient).await;
    let product = shop.product("LAST", 1).await;
    let crowd_of = customers(&shop, 1_000);
    // So that what is measured is the answer, not sixteen handshakes.
    for (caller, _) in &crowd_of[..CONNECTIONS] {
        caller.list(v1::ListOrdersRequest::default()).await;
    }
    let asked = Instant::now();
    let answers = crowd(crowd_of, &product).await;
    let took = asked.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
    exactly_one_wins(&answers, &product);
    assert_eq!(check(&shop).await.orders, 1);
}

pub(crate) async fn fifty_callers_with_one_key_have_one_order(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 100).await;
    let callers = (0..50).map(|_| (shop.caller("ann"), "one basket".to_owned())).collect();
    one_key_one_order(&shop, callers, &product).await;
}

/// The same for all, or ABORTED with a time at which asking again gives the same.
pub(crate) async fn one_key_one_order(shop: &Shop, callers: Vec<(Caller, String)>, product: &str) {
    let (asker, key) = callers[0].clone();
    let before = shop.stock(product).await;
    let answers = crowd(callers, product).await;
    let order = asker.order(&key, &[(product, 1)]).await;
    let mut made = 0;
    for answer in answers {
        match answer {
            Ok((theirs, already_existed)) => {
                assert_eq!(theirs, order);
                made += u32::from(!already_existed);
            }
            Err(status) => {
                let refused = refusal(&status);
                assert_eq!((refused.code, refused.reason.as_str()), (Code::Aborted, "LOCK_CONFLICT"));
                assert!(refused.retry_after.is_some(), "{refused:?}");
            }
        }
    }
    assert_eq!(made, 1, "one caller is told that it made it");
    assert_eq!(shop.stock(product).await, before - 1);
    check(shop).await;
}

pub(crate) async fn five_cancels_at_once_give_stock_back_once(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 10).await;
    let order = shop.caller("ann").order("basket", &[(&product, 4)]).await;
    assert_eq!(shop.stock(&product).await, 6);
    let mut asking = JoinSet::new();
    for _ in 0..5 {
        let (caller, id) = (shop.caller("ann"), order.order_id.clone());
        asking.spawn(async move { caller.cancel(&id).await.unwrap() });
    }
    let answers = asking.join_all().await;
    assert_eq!(answers.iter().filter(|(_, already)| !already).count(), 1);
    assert!(answers.iter().all(|(order, _)| order.status() == OrderStatus::Cancelled));
    assert_eq!(shop.stock(&product).await, 10);
    assert!(shop.caller("ann").cancel(&order.order_id).await.unwrap().1, "and again, much later");
    check(&shop).await;
}

pub(crate) async fn a_mixed_crowd_leaves_books_that_add_up(engine: Engine) {
    mixed_crowd(&Shop::unpaid(engine).await).await;
}

/// Orders of overlapping products in every order, cancels, and adjustments, evenly over the replicas.
pub(crate) async fn mixed_crowd(shop: &Shop) {
    let products = [
        shop.product("A", 40).await,
        shop.product("B", 7).await,
        shop.product("C", 1_000).await,
        shop.product("D", 0).await,
    ];
    let mut asking = JoinSet::new();
    for n in 0..120_u32 {
        let replica = usize::try_from(n).unwrap() % shop.replicas.len();
        let (caller, products) = (shop.caller_at(replica, &format!("customer-{}", n % 7)), products.clone());
        asking.spawn(async move {
            let at = |step: u32| products[usize::try_from((n + step) % 4).unwrap()].as_str();
            let key = format!("basket-{n}");
            let answer = caller.create(&key, &[(at(0), 1 + n % 3), (at(1), 1), (at(0), 1)]).await;
            if let Ok((order, _)) = answer
                && n.is_multiple_of(3)
            {
                caller.cancel(&order.order_id).await.unwrap();
            }
        });
    }
    for n in 0..10 {
        shop.adjust(&products[n % 4], 3).await;
    }
    asking.join_all().await;
    assert!(check(shop).await.orders > 0);
}

pub(crate) async fn callers_that_go_away_leave_one_order_or_none_per_key(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 100_000).await;
    let mut leaving = JoinSet::new();
    for n in 0..10_u32 {
        let (caller, product) = (shop.caller(&format!("customer-{n}")), product.clone());
        // Over another connection: who resets many calls at once loses the one it did it on.
        let back = shop.caller(&format!("customer-{n}"));
        leaving.spawn(async move {
            for basket in 0..30 {
                // Gone before, while and after it is committed.
                let patience = Duration::from_micros(u64::from(n * 30 + basket) * 40);
                let key = format!("basket-{}", basket / 2);
                let lines = [(product.as_str(), 1)];
                drop(tokio::time::timeout(patience, caller.create(&key, &lines)).await);
            }
            // And back: each key is one order, whatever became of it.
            for basket in 0..15 {
                back.order(&format!("basket-{basket}"), &[(&product, 1)]).await;
            }
        });
    }
    leaving.join_all().await;
    assert_eq!(check(&shop).await.orders, 150);
}
