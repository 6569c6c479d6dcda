//! What a key is bound to, and what a refusal leaves behind.

use tonic::Code;
use vendfleet_proto::v1::{self, OrderStatus};
use vendfleet_tests::{
    fleet::Engine,
    orders::{Shop, checker::check},
    refusal::refusal,
};

pub(crate) async fn the_same_key_with_other_lines_is_refused_and_what_it_made_stands(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let (cola, chips) = (shop.product("COLA", 10).await, shop.product("CHIPS", 10).await);
    let ann = shop.caller("ann");
    let order = ann.order("basket", &[(&cola, 2)]).await;
    for other in [vec![(cola.as_str(), 3)], vec![(chips.as_str(), 2)], vec![(&cola, 2), (&chips, 1)]] {
        let refused = refusal(&ann.create("basket", &other).await.unwrap_err());
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED")
        );
        assert_eq!((refused.said("key"), refused.said("resource_id")), ("basket", order.order_id.as_str()));
    }
    assert_eq!(ann.create("basket", &[(&cola, 2)]).await.unwrap(), (order, true));
    assert_eq!((shop.stock(&cola).await, shop.stock(&chips).await), (8, 10));
    assert_eq!(check(&shop).await.orders, 1);
}

pub(crate) async fn lines_are_merged_before_anything_else(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let (cola, chips) = (shop.product("COLA", 10).await, shop.product("CHIPS", 10).await);
    let ann = shop.caller("ann");
    let order = ann.order("basket", &[(&chips, 1), (&cola, 1), (&chips, 2)]).await;
    let lines: Vec<_> = order.lines.iter().map(|l| (l.product_id.as_str(), l.quantity)).collect();
    assert_eq!(lines, [(chips.as_str(), 3), (cola.as_str(), 1)]);
    // The same request, said otherwise.
    for same in [vec![(chips.as_str(), 3), (&cola, 1)], vec![(&cola, 1), (&chips, 3)]] {
        let (again, already_existed) = ann.create("basket", &same).await.unwrap();
        assert_eq!((again.order_id.as_str(), already_existed), (order.order_id.as_str(), true));
        assert_eq!(again.lines, order.lines);
    }
    let refused = refusal(&ann.create("other", &[(&cola, 6_000), (&cola, 6_000)]).await.unwrap_err());
    assert_eq!(refused.reason, "INVALID_FIELD");
    assert!(refused.fields[0].0.starts_with("lines[1]"), "{refused:?}");
    check(&shop).await;
}

pub(crate) async fn a_refusal_leaves_no_key_behind(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 1).await;
    let ann = shop.caller("ann");
    let refused = refusal(&ann.create("basket", &[(&product, 2)]).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.said("available")), ("INSUFFICIENT_STOCK", "1"));
    shop.adjust(&product, 1).await;
    let (order, already_existed) = ann.create("basket", &[(&product, 2)]).await.unwrap();
    assert!(!already_existed);
    // And with other lines, too: a key that made nothing is bound to nothing.
    refusal(&ann.create("next", &[(&product, 5)]).await.unwrap_err());
    shop.adjust(&product, 1).await;
    assert!(!ann.create("next", &[(&product, 1)]).await.unwrap().1);
    assert_eq!(order.status(), OrderStatus::Pending);
    assert_eq!(check(&shop).await.orders, 2);
}

pub(crate) async fn a_key_is_its_customers_own(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 10).await;
    let (ann, ben) = (shop.caller("ann"), shop.caller("ben"));
    let (hers, his) =
        (ann.order("basket", &[(&product, 1)]).await, ben.order("basket", &[(&product, 2)]).await);
    assert_ne!(hers.order_id, his.order_id);
    // Whoever acts for her: the key is the customer's, not the caller's.
    let herself = shop.customer("ann").await;
    assert_eq!(herself.create("basket", &[(&product, 1)]).await.unwrap(), (hers, true));
    check(&shop).await;
}

pub(crate) async fn a_repeat_gives_the_order_as_it_is_now_at_the_price_it_had(engine: Engine) {
    let shop = Shop::unpaid(engine).await;
    let product = shop.product("COLA", 10).await;
    let ann = shop.caller("ann");
    let order = ann.order("basket", &[(&product, 2)]).await;
    let mut catalog = shop.operator().catalog;
    let get = v1::GetProductRequest { product_id: product.clone() };
    let etag = catalog.get_product(get).await.unwrap().into_inner().product.unwrap().etag;
    let dearer = v1::UpdateProductRequest {
        request_id: vendfleet_tests::fleet::operator::request_id(),
        product_id: product.clone(),
        etag,
        name: Some("Cola, but dearer".to_owned()),
        price: Some(v1::Money { currency_code: "CHF".to_owned(), minor_units: 999 }),
        ..Default::default()
    };
    catalog.update_product(dearer).await.unwrap();
    let archive = v1::ArchiveProductRequest { product_id: product.clone() };
    catalog.archive_product(archive).await.unwrap();
    assert_eq!(ann.create("basket", &[(&product, 2)]).await.unwrap(), (order.clone(), true));
    let refused = refusal(&ann.create("another", &[(&product, 1)]).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "PRODUCT_ARCHIVED"));

    // An archived product takes its units back all the same.
    ann.cancel(&order.order_id).await.unwrap();
    let (cancelled, _) = ann.create("basket", &[(&product, 2)]).await.unwrap();
    assert_eq!(cancelled.status(), OrderStatus::Cancelled);
    assert_eq!(shop.stock(&product).await, 10);
    check(&shop).await;
}
