#![allow(clippy::unwrap_used)]
use super::render;
use vendfleet_proto::v1::{
    ConfigSlot, MachineConfig, Money, Product, RecordBody, Transaction, VendBody, record_body,
};

#[test]
fn a_product_reads_like_a_label() {
    let product = Product {
        product_id: "0193-x".into(),
        sku: "COLA".into(),
        price: Some(Money { currency_code: "EUR".into(), minor_units: 250 }),
        stock: 12,
        create_time_ms: 1_795_234_200_000,
        ..Product::default()
    };
    assert_eq!(
        render(&product).unwrap(),
        "product_id: 0193-x\nsku: COLA\nprice: 2.50 EUR\nstock: 12\ncreate_time: 2026-11-21 04:10:00Z\n"
    );
}

#[test]
fn an_amount_inside_takes_the_currency_of_what_is_around_it() {
    let config = MachineConfig {
        currency_code: "JPY".into(),
        slots: vec![
            ConfigSlot { slot: 11, price_minor: 150, capacity: 8, ..Default::default() },
            ConfigSlot { slot: 12, price_minor: 90, ..Default::default() },
        ],
        ..Default::default()
    };
    assert_eq!(
        render(&config).unwrap(),
        "currency_code: JPY\nslots:\n  - slot: 11\n    price: 150 JPY\n    capacity: 8\n  - slot: 12\n    price: 90 JPY\n"
    );
}

#[test]
fn ids_in_records_show_as_the_ids_of_the_api() {
    let id = uuid::Uuid::from_u128(7);
    let vend = VendBody { transaction_id: id.as_bytes().to_vec(), ..Default::default() };
    let body = RecordBody { body: Some(record_body::Body::Vend(vend)), ..Default::default() };
    assert!(render(&body).unwrap().contains(&format!("transaction_id: {id}")));
}

#[test]
fn what_says_nothing_is_left_out() {
    assert_eq!(render(&Transaction::default()).unwrap(), "");
}
