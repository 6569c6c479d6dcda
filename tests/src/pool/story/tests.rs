use std::collections::BTreeMap;

use vendfleet_proto::v1::{
    self, MachineKind, PaymentMode, PaymentStatus, PoolState, PurchaseFailure, PurchaseState, SessionState,
    StockChangeCause, event::Data, inventory_event::Change,
};

use super::{Charge, Forgotten, Pool, breaches};

/// The n-th purchase on the machine, from n * 10 to n * 10 + 5.
fn session(n: i64, state: SessionState, bought: PurchaseState) -> v1::MachineSession {
    let failed = bought == PurchaseState::Failed;
    let purchase = v1::Purchase {
        purchase_id: format!("purchase-{n}"),
        session_id: format!("session-{n}"),
        machine_id: "lobby".to_owned(),
        customer_id: "ann".to_owned(),
        product_id: "cola".to_owned(),
        payment: PaymentMode::Gateway.into(),
        payment_status: if failed { PaymentStatus::Voided } else { PaymentStatus::Captured }.into(),
        state: bought.into(),
        failure: if failed { PurchaseFailure::VendFailed } else { PurchaseFailure::Unspecified }.into(),
        end_time_ms: n * 10 + 5,
        ..Default::default()
    };
    v1::MachineSession {
        session_id: format!("session-{n}"),
        machine_id: "lobby".to_owned(),
        machine_kind: MachineKind::Virtual.into(),
        customer_id: "ann".to_owned(),
        state: state.into(),
        purchase: Some(purchase),
        create_time_ms: n * 10,
        end_time_ms: n * 10 + 5,
        ..Default::default()
    }
}

fn moved(purchase: &str, delta: i64, cause: StockChangeCause) -> v1::Event {
    let change = v1::StockChange {
        product_id: "cola".to_owned(),
        delta,
        cause: cause.into(),
        purchase_id: purchase.to_owned(),
        ..Default::default()
    };
    let change = Some(Change::Stock(change));
    v1::Event { data: Some(Data::Inventory(v1::InventoryEvent { change })), ..Default::default() }
}

/// Two purchases one after the other: the first completed, the second failed and gave its unit back.
fn pool() -> Pool {
    let status = v1::PoolStatus { state: PoolState::Idle.into(), usage_count: 1, ..Default::default() };
    Pool {
        machines: vec![v1::Machine {
            machine_id: "lobby".to_owned(),
            kind: MachineKind::Virtual.into(),
            pool: Some(status),
            ..Default::default()
        }],
        sessions: vec![
            session(1, SessionState::Completed, PurchaseState::Completed),
            session(2, SessionState::Failed, PurchaseState::Failed),
        ],
        forgotten: Vec::new(),
        products: vec![v1::Product { product_id: "cola".to_owned(), stock: 6, ..Default::default() }],
        initial: BTreeMap::from([("cola".to_owned(), 10)]),
        ordered: BTreeMap::from([("cola".to_owned(), 3)]),
        events: vec![
            moved("purchase-1", -1, StockChangeCause::PurchaseCreated),
            moved("purchase-2", -1, StockChangeCause::PurchaseCreated),
            moved("purchase-2", 1, StockChangeCause::PurchaseFailed),
        ],
        charges: Some(BTreeMap::from([
            ("purchase-1".to_owned(), Charge { taken: 1, given_back: 0 }),
            ("purchase-2".to_owned(), Charge::default()),
        ])),
    }
}

fn bought(pool: &mut Pool, at: usize) -> &mut v1::Purchase {
    pool.sessions[at].purchase.as_mut().unwrap()
}

/// What must be said of a pool that was spoiled in this way.
#[track_caller]
fn noticed(word: &str, spoil: impl FnOnce(&mut Pool)) {
    let mut pool = pool();
    spoil(&mut pool);
    let found = breaches(&pool);
    assert!(found.iter().any(|breach| breach.contains(word)), "{word}: {found:?}");
}

#[test]
fn what_adds_up_is_left_in_peace() {
    assert_eq!(breaches(&pool()), Vec::<String>::new());
}

#[test]
fn two_holders_at_once_are_noticed() {
    noticed("two holders", |pool| pool.sessions[1].create_time_ms = 14);
    noticed("two holders", |pool| {
        (pool.sessions[0].state, pool.sessions[0].end_time_ms) = (SessionState::Processing.into(), 0);
    });
}

#[test]
fn a_machine_in_a_session_that_is_over_is_noticed() {
    noticed("its open sessions", |pool| {
        pool.machines[0].pool.as_mut().unwrap().session_id = "session-2".to_owned();
    });
    noticed("in no session", |pool| {
        pool.machines[0].pool.as_mut().unwrap().state = PoolState::Processing.into();
    });
}

#[test]
fn usage_that_counts_something_else_is_noticed() {
    noticed("usage 2", |pool| pool.machines[0].pool.as_mut().unwrap().usage_count = 2);
}

#[test]
fn what_retention_took_is_counted_and_no_more_than_that() {
    let forget = |pool: &mut Pool, completed| {
        pool.sessions.remove(0);
        let (machine_id, product_id) = ("lobby".to_owned(), "cola".to_owned());
        pool.forgotten.push(Forgotten { machine_id, product_id, completed });
    };
    let mut whole = pool();
    forget(&mut whole, 1);
    assert_eq!(breaches(&whole), Vec::<String>::new());
    noticed("usage 1, 0 purchases", |pool| forget(pool, 0));
    noticed("usage 1, 2 purchases", |pool| forget(pool, 2));
    noticed("6 in stock", |pool| forget(pool, 2));
    noticed("on no virtual machine", |pool| forget(pool, 0));
    noticed("no purchase", |pool| forget(pool, 0));
}

#[test]
fn a_unit_too_many_or_too_few_is_noticed() {
    noticed("7 in stock", |pool| pool.products[0].stock = 7);
    noticed("5 in stock", |pool| pool.products[0].stock = 5);
    noticed("moved", |pool| drop(pool.events.pop()));
    noticed("moved", |pool| {
        pool.events.push(moved("purchase-2", 1, StockChangeCause::PurchaseFailed));
    });
}

#[test]
fn money_without_a_product_and_a_product_without_money_are_noticed() {
    let charge = |purchase: &str, taken, given_back| {
        let purchase = purchase.to_owned();
        move |pool: &mut Pool| {
            pool.charges.as_mut().unwrap().insert(purchase, Charge { taken, given_back });
        }
    };
    noticed("the gateway did", charge("purchase-1", 0, 0));
    noticed("the gateway did", charge("purchase-1", 1, 1));
    noticed("the gateway did", charge("purchase-2", 1, 0));
    noticed("no purchase", charge("purchase-9", 1, 0));
    noticed("two stories", |pool| bought(pool, 1).payment_status = PaymentStatus::Unknown.into());
}

#[test]
fn a_session_that_tells_another_story_than_its_purchase_is_noticed() {
    noticed("two stories", |pool| pool.sessions[0].state = SessionState::Failed.into());
    noticed("bought nothing", |pool| pool.sessions[0].purchase = None);
    noticed("in two sessions", |pool| bought(pool, 1).purchase_id = "purchase-1".to_owned());
    noticed("has a reason", |pool| bought(pool, 1).failure = 0);
    noticed("another session", |pool| bought(pool, 1).customer_id = "bob".to_owned());
}
