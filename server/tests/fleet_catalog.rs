//! What the catalogue promises.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

mod fleet_support;

use fleet_support::{Stage, fields, id, operator, reason, refused};
use vendfleet_proto::v1::{self, catalog_service_server::CatalogService as _};

on_both_engines! {
    a_repeated_create_makes_one_product,
    a_request_id_used_for_something_else_is_refused_and_names_what_it_made,
    a_refused_call_leaves_its_request_id_free,
    every_bad_field_is_named_at_once,
    an_update_needs_the_etag_that_was_read,
    stock_is_no_part_of_the_etag,
    a_taken_sku_says_whose_it_is,
    an_archived_product_gives_its_sku_back_and_changes_no_more,
    stock_is_adjusted_once_per_request_and_never_below_zero,
    pages_hold_everything_once_and_a_token_serves_its_own_filter_only,
    low_stock_is_one_alert_per_crossing,
    text_no_database_stores_is_refused_at_the_edge,
    a_request_id_is_kept_thirty_days,
}

fn new(sku: &str) -> v1::CreateProductRequest {
    v1::CreateProductRequest {
        request_id: id(),
        sku: sku.to_owned(),
        name: "Cola".to_owned(),
        price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 150 }),
        initial_stock: 10,
        ..v1::CreateProductRequest::default()
    }
}

fn adjust(product: &v1::Product, delta: i64) -> v1::AdjustStockRequest {
    v1::AdjustStockRequest {
        request_id: id(),
        product_id: product.product_id.clone(),
        delta,
        reason: v1::StockAdjustmentReason::Received.into(),
        note: String::new(),
    }
}

async fn a_repeated_create_makes_one_product(stage: Stage) {
    let request = new("COLA");
    let first = stage.catalog.create_product(operator(request.clone())).await.unwrap().into_inner();
    let second = stage.catalog.create_product(operator(request)).await.unwrap().into_inner();
    assert_eq!(first, second);
    let all = stage.catalog.list_products(operator(v1::ListProductsRequest::default())).await.unwrap();
    assert_eq!(all.into_inner().products.len(), 1);
}

async fn a_request_id_used_for_something_else_is_refused_and_names_what_it_made(stage: Stage) {
    let request = new("COLA");
    let made = stage.catalog.create_product(operator(request.clone())).await.unwrap().into_inner();
    let other = v1::CreateProductRequest { sku: "WATER".to_owned(), ..request };
    let refusal = refused(stage.catalog.create_product(operator(other))).await;
    assert_eq!(reason(&refusal), "IDEMPOTENCY_KEY_REUSED");
    let info = tonic_types::StatusExt::get_details_error_info(&refusal).unwrap();
    assert_eq!(info.metadata["resource_id"], made.product.unwrap().product_id);
}

async fn a_refused_call_leaves_its_request_id_free(stage: Stage) {
    stage.product("COLA", 1).await;
    let request = new("COLA");
    assert_eq!(reason(&refused(stage.catalog.create_product(operator(request.clone()))).await), "SKU_EXISTS");
    let other = v1::CreateProductRequest { sku: "WATER".to_owned(), ..request };
    stage.catalog.create_product(operator(other)).await.unwrap();
}

async fn every_bad_field_is_named_at_once(stage: Stage) {
    let rubbish = v1::CreateProductRequest {
        request_id: "once".to_owned(),
        sku: String::new(),
        name: "x".repeat(65),
        description: "x".repeat(1025),
        price: Some(v1::Money { currency_code: "eur".to_owned(), minor_units: -1 }),
        initial_stock: -1,
        low_stock_threshold: 1_000_000_001,
    };
    let refusal = refused(stage.catalog.create_product(operator(rubbish))).await;
    assert_eq!(reason(&refusal), "INVALID_FIELD");
    let expected = [
        "request_id",
        "sku",
        "name",
        "description",
        "price.currency_code",
        "price.minor_units",
        "initial_stock",
        "low_stock_threshold",
    ];
    assert_eq!(fields(&refusal), expected);

    let no_price = v1::CreateProductRequest { price: None, ..new("COLA") };
    assert_eq!(fields(&refused(stage.catalog.create_product(operator(no_price))).await), ["price"]);

    let rubbish = v1::AdjustStockRequest {
        request_id: String::new(),
        product_id: "COLA".to_owned(),
        delta: 0,
        reason: 99,
        note: "x".repeat(257),
    };
    let refusal = refused(stage.catalog.adjust_stock(operator(rubbish))).await;
    assert_eq!(fields(&refusal), ["request_id", "product_id", "delta", "reason", "note"]);

    let rubbish = v1::UpdateProductRequest {
        request_id: String::new(),
        product_id: String::new(),
        etag: String::new(),
        sku: Some(String::new()),
        name: Some(String::new()),
        description: Some("x".repeat(1025)),
        price: Some(v1::Money { currency_code: "XXX".to_owned(), minor_units: 1 << 60 }),
        low_stock_threshold: Some(-1),
    };
    let refusal = refused(stage.catalog.update_product(operator(rubbish))).await;
    assert_eq!(fields(&refusal).len(), 9, "{:?}", fields(&refusal));
}

async fn an_update_needs_the_etag_that_was_read(stage: Stage) {
    let product = stage.product("COLA", 1).await;
    let change = |etag: &str, name: &str| v1::UpdateProductRequest {
        request_id: id(),
        product_id: product.product_id.clone(),
        etag: etag.to_owned(),
        name: Some(name.to_owned()),
        ..v1::UpdateProductRequest::default()
    };
    let first = change(&product.etag, "Cola classic");
    let after = stage.catalog.update_product(operator(first.clone())).await.unwrap().into_inner();
    assert_ne!(after.product.as_ref().unwrap().etag, product.etag);
    let stale = refused(stage.catalog.update_product(operator(change(&product.etag, "Cola new")))).await;
    assert_eq!(reason(&stale), "ETAG_MISMATCH");
    let repeated = stage.catalog.update_product(operator(first)).await.unwrap().into_inner();
    assert_eq!(repeated, after, "a repeat is answered, its etag is not judged again");
}

async fn stock_is_no_part_of_the_etag(stage: Stage) {
    let product = stage.product("COLA", 1).await;
    let after = stage.catalog.adjust_stock(operator(adjust(&product, 5))).await.unwrap().into_inner();
    assert_eq!(after.product.unwrap().etag, product.etag);
}

async fn a_taken_sku_says_whose_it_is(stage: Stage) {
    let holder = stage.product("COLA", 1).await;
    let refusal = refused(stage.catalog.create_product(operator(new("COLA")))).await;
    let info = tonic_types::StatusExt::get_details_error_info(&refusal).unwrap();
    assert_eq!((info.reason.as_str(), &info.metadata["product_id"]), ("SKU_EXISTS", &holder.product_id));
}

async fn an_archived_product_gives_its_sku_back_and_changes_no_more(stage: Stage) {
    let product = stage.product("COLA", 1).await;
    let archive = v1::ArchiveProductRequest { product_id: product.product_id.clone() };
    let gone = stage.catalog.archive_product(operator(archive.clone())).await.unwrap().into_inner();
    assert!(gone.product.as_ref().unwrap().archived);
    let again = stage.catalog.archive_product(operator(archive)).await.unwrap().into_inner();
    assert_eq!(again, gone);
    assert_eq!(
        reason(&refused(stage.catalog.adjust_stock(operator(adjust(&product, 1)))).await),
        "PRODUCT_ARCHIVED"
    );
    stage.product("COLA", 1).await;
}

async fn stock_is_adjusted_once_per_request_and_never_below_zero(stage: Stage) {
    let product = stage.product("COLA", 10).await;
    let take = adjust(&product, -4);
    let first = stage.catalog.adjust_stock(operator(take.clone())).await.unwrap().into_inner();
    assert_eq!(first.adjustment.as_ref().unwrap().stock_after, 6);
    let second = stage.catalog.adjust_stock(operator(take)).await.unwrap().into_inner();
    assert_eq!(second, first);
    let short = refused(stage.catalog.adjust_stock(operator(adjust(&product, -7)))).await;
    let info = tonic_types::StatusExt::get_details_error_info(&short).unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["available"].as_str()), ("INSUFFICIENT_STOCK", "6"));
    let full = refused(stage.catalog.adjust_stock(operator(adjust(&product, 1_000_000_000)))).await;
    assert_eq!(reason(&full), "STOCK_LIMIT_EXCEEDED");
}

async fn pages_hold_everything_once_and_a_token_serves_its_own_filter_only(stage: Stage) {
    for n in 0..5 {
        stage.product(&format!("P{n}"), n).await;
    }
    let list = |token: &str, low: bool| v1::ListProductsRequest {
        page_size: 2,
        page_token: token.to_owned(),
        low_stock_only: low,
        ..v1::ListProductsRequest::default()
    };
    let (mut skus, mut token) = (Vec::new(), String::new());
    loop {
        let page = stage.catalog.list_products(operator(list(&token, false))).await.unwrap().into_inner();
        skus.extend(page.products.into_iter().map(|p| p.sku));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    skus.sort();
    assert_eq!(skus, ["P0", "P1", "P2", "P3", "P4"]);

    let first = stage.catalog.list_products(operator(list("", false))).await.unwrap().into_inner();
    let token = first.next_page_token;
    let mut garbled = token.clone().into_bytes();
    garbled[3] ^= 1;
    let garbled = String::from_utf8(garbled).unwrap();
    for (bad, low) in [(token.as_str(), true), (garbled.as_str(), false), ("AAAA", false), ("%", false)] {
        let refusal = refused(stage.catalog.list_products(operator(list(bad, low)))).await;
        assert_eq!(reason(&refusal), "PAGE_TOKEN_INVALID", "{bad}");
    }
    let size = v1::ListProductsRequest { page_size: 501, ..v1::ListProductsRequest::default() };
    assert_eq!(fields(&refused(stage.catalog.list_products(operator(size))).await), ["page_size"]);
}

async fn low_stock_is_one_alert_per_crossing(stage: Stage) {
    let product = stage.product("COLA", 3).await;
    let take = |delta| stage.catalog.adjust_stock(operator(adjust(&product, delta)));
    take(-3).await.unwrap();
    let raised = stage.alerts(v1::AlertType::LowStock).await;
    assert_eq!(raised.len(), 1);
    assert_eq!((raised[0].product_id.as_str(), raised[0].state), (product.product_id.as_str(), 1));
    take(2).await.unwrap();
    assert_eq!(stage.alerts(v1::AlertType::LowStock).await[0].state, v1::AlertState::Resolved as i32);
    take(-2).await.unwrap();
    assert_eq!(stage.alerts(v1::AlertType::LowStock).await.len(), 2);
}

async fn text_no_database_stores_is_refused_at_the_edge(stage: Stage) {
    let nul = v1::CreateProductRequest { name: "a\0b".to_owned(), ..new("COLA") };
    assert_eq!(fields(&refused(stage.catalog.create_product(operator(nul))).await), ["name"]);
    let sql = v1::CreateProductRequest { name: "'; DROP TABLE products; --".to_owned(), ..new("COLA") };
    let kept = stage.catalog.create_product(operator(sql)).await.unwrap().into_inner();
    assert_eq!(kept.product.unwrap().name, "'; DROP TABLE products; --");
}

async fn a_request_id_is_kept_thirty_days(stage: Stage) {
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    let request = new("COLA");
    stage.catalog.create_product(operator(request.clone())).await.unwrap();
    stage.clock.advance(DAY * 29);
    assert_eq!(server::operations::forget_request_ids(&stage.deps).await.unwrap(), 0);
    stage.catalog.create_product(operator(request.clone())).await.unwrap();
    stage.clock.advance(DAY * 2);
    assert_eq!(server::operations::forget_request_ids(&stage.deps).await.unwrap(), 1);
    assert_eq!(reason(&refused(stage.catalog.create_product(operator(request))).await), "SKU_EXISTS");
}
