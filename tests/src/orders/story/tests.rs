use std::collections::BTreeMap;

use vendfleet_proto::v1::{
    self, OrderEventType as E, OrderStatus as S, PaymentStatus as P, StockChangeCause as C, event::Data,
};

use super::{Books, Charge, breaches};

fn euro(minor_units: i64) -> v1::Money {
    v1::Money { currency_code: "EUR".to_owned(), minor_units }
}

/// An order of three units of "cola" at 2.50.
fn order(id: &str, status: S, payment: P) -> v1::Order {
    let ended = matches!(status, S::Paid | S::Failed | S::Cancelled);
    let failure = if status == S::Failed { v1::OrderFailure::PaymentDeclined } else { Default::default() };
    v1::Order {
        order_id: id.to_owned(),
        customer_id: "ann".to_owned(),
        idempotency_key: format!("key of {id}"),
        status: status.into(),
        payment_status: payment.into(),
        failure: failure.into(),
        lines: vec![v1::OrderLine {
            product_id: "cola".to_owned(),
            unit_price: Some(euro(250)),
            quantity: 3,
            line_total: Some(euro(750)),
            ..Default::default()
        }],
        total: Some(euro(750)),
        end_time_ms: i64::from(ended),
        ..Default::default()
    }
}

/// Numbers events as they come.
#[derive(Default)]
struct Log {
    events: Vec<v1::Event>,
    stock: i64,
}

impl Log {
    fn push(&mut self, id: String, subject: &str, data: Data) {
        let position = u64::try_from(self.events.len()).unwrap();
        let event = v1::Event {
            event_id: id,
            subject: subject.to_owned(),
            shard: 1,
            position,
            data: Some(data),
            ..Default::default()
        };
        self.events.push(event);
    }

    fn told(&mut self, kind: E, order: v1::Order) {
        let event_id = format!("{}-{kind:?}:0", order.order_id);
        let subject = order.order_id.clone();
        let data = v1::OrderEvent {
            event_id: event_id.clone(),
            r#type: kind.into(),
            order: Some(order),
            ..Default::default()
        };
        self.push(event_id, &subject, Data::Order(data));
    }

    fn moved(&mut self, delta: i64, cause: C, order: &str) {
        self.stock += delta;
        let change = v1::StockChange {
            product_id: "cola".to_owned(),
            delta,
            stock_after: self.stock,
            cause: cause.into(),
            order_id: order.to_owned(),
            ..Default::default()
        };
        let change = v1::inventory_event::Change::Stock(change);
        self.push(
            format!("{order}-{cause:?}:1"),
            "cola",
            Data::Inventory(v1::InventoryEvent { change: Some(change) }),
        );
    }
}

/// One order of each end, and books that add up.
fn books() -> Books {
    let mut log = Log::default();
    log.moved(20, C::ProductCreated, "");
    log.moved(2, C::Adjustment, "");
    let mut orders = Vec::new();
    for (id, status, payment) in [
        ("paid", S::Paid, P::Captured),
        ("failed", S::Failed, P::Declined),
        ("cancelled", S::Cancelled, P::Pending),
        ("open", S::Pending, P::Pending),
    ] {
        log.told(E::Created, order(id, S::Pending, P::Pending));
        log.moved(-3, C::OrderCreated, id);
        if matches!(status, S::Paid | S::Failed) {
            log.told(E::Processing, order(id, S::Processing, P::Unknown));
        }
        match status {
            S::Paid => log.told(E::Paid, order(id, status, payment)),
            S::Failed => {
                log.told(E::Failed, order(id, status, payment));
                log.moved(3, C::OrderFailed, id);
            }
            S::Cancelled => {
                log.told(E::Cancelled, order(id, status, payment));
                log.moved(3, C::OrderCancelled, id);
            }
            _ => {}
        }
        orders.push(order(id, status, payment));
    }
    Books {
        products: vec![v1::Product { product_id: "cola".to_owned(), stock: log.stock, ..Default::default() }],
        initial: BTreeMap::from([("cola".to_owned(), 20)]),
        adjusted: BTreeMap::from([("cola".to_owned(), 2)]),
        orders,
        events: log.events,
        charges: Some(BTreeMap::from([("paid".to_owned(), Charge { taken: 1, given_back: 0 })])),
    }
}

#[test]
fn books_that_add_up_have_no_breaches() {
    assert_eq!(breaches(&books()), Vec::<String>::new());
}

/// Something that must never be, and a word of the sentence that says so.
type Spoil = (&'static str, fn(&mut Books));

const SPOILT: [Spoil; 20] = [
    ("in stock", |b| b.products[0].stock += 1),
    ("in stock", |b| b.adjusted.clear()),
    ("has -1 units", |b| b.products[0].stock = -1),
    ("a second one with the same key", |b| b.orders[1].idempotency_key = "key of paid".to_owned()),
    ("not price times quantity", |b| b.orders[0].lines[0].line_total = Some(euro(1))),
    ("not the sum of its lines", |b| b.orders[0].total = Some(euro(1))),
    ("an end without an end time", |b| b.orders[0].end_time_ms = 0),
    ("unsettled without being PROCESSING", |b| b.orders[3].unsettled = true),
    ("captured money go together", |b| b.orders[0].payment_status = P::Unknown.into()),
    ("a failed order has a reason", |b| b.orders[1].failure = 0),
    ("told twice", |b| b.events.push(b.events[0].clone())),
    ("came after", |b| b.events.swap(3, 4)),
    ("has no events", |b| b.events.retain(|e| e.subject != "open")),
    ("does not exist", |b| drop(b.orders.pop())),
    ("took it from", |b| b.events.retain(|e| e.event_id != "paid-Processing:0")),
    ("its events end with", |b| b.events.retain(|e| e.event_id != "paid-Paid:0")),
    ("another order than there is", |b| b.orders[0].customer_id = "ben".to_owned()),
    ("its lines say", |b| b.events.retain(|e| e.event_id != "cancelled-OrderCancelled:1")),
    ("the gateway did", |b| {
        b.charges = Some(BTreeMap::from([("paid".to_owned(), Charge { taken: 2, given_back: 1 })]));
    }),
    ("the gateway did", |b| {
        b.charges.as_mut().unwrap().insert("failed".to_owned(), Charge { taken: 1, given_back: 0 });
    }),
];

#[test]
fn each_thing_that_must_never_be_is_said_by_name() {
    for (said, spoil) in SPOILT {
        let mut books = books();
        spoil(&mut books);
        let found = breaches(&books);
        assert!(found.iter().any(|breach| breach.contains(said)), "{said}: {found:#?}");
    }
}
