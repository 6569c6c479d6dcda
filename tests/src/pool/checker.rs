//! Whether machines, sessions, purchases, stock and money say the same: invariants 3 and 5 of DESIGN section 8.
//!
//! Reads the public API, and of the database nothing but the names of sessions, the fences and what is not kept any more,
//! which no call lists;
//! [`super::story`] decides.

use std::collections::BTreeMap;

use uuid::Uuid;
use vendfleet_proto::v1;

use super::{
    Buyer,
    story::{Forgotten, Pool, breaches},
};
use crate::orders::{
    Shop,
    checker::{adjusted, events_since_the_oldest, products},
    story::{Charge, holds_stock},
    till::Till,
};

const PAGE_SIZE: i32 = 500;

/// What was compared, so that a check of nothing is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Sessions.
    pub sessions: usize,
    /// Purchases that completed.
    pub completed: usize,
    /// Purchases that failed.
    pub failed: usize,
}

/// Checks a shop that nobody calls meanwhile. Panics with every breach it finds.
pub async fn check(shop: &Shop) -> Checked {
    verdict(&read(shop, None).await)
}

/// Likewise, and the gateway's own books.
pub async fn check_paid(till: &Till) -> Checked {
    let ledger = till.gateway.ledger();
    ledger.assert_never_twice();
    let charge = |p: &crate::gateway::Payment| Charge { taken: p.charges, given_back: p.refunds };
    let charges = ledger.payments.iter().map(|(key, payment)| (key.clone(), charge(payment))).collect();
    verdict(&read(&till.shop, Some(charges)).await)
}

fn verdict(pool: &Pool) -> Checked {
    let found = breaches(pool);
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
    let bought = |wanted: v1::PurchaseState| {
        let all = pool.sessions.iter().filter_map(|session| session.purchase.as_ref());
        all.filter(|purchase| purchase.state() == wanted).count()
    };
    Checked {
        sessions: pool.sessions.len(),
        completed: bought(v1::PurchaseState::Completed),
        failed: bought(v1::PurchaseState::Failed),
    }
}

async fn read(shop: &Shop, charges: Option<BTreeMap<String, Charge>>) -> Pool {
    let mut initial = shop.initial();
    for (product, delta) in adjusted(shop).await {
        *initial.entry(product).or_default() += delta;
    }
    let mut ordered: BTreeMap<String, i64> = BTreeMap::new();
    let orders = shop.caller("").list(v1::ListOrdersRequest::default()).await;
    for line in orders.iter().filter(|order| holds_stock(order)).flat_map(|order| &order.lines) {
        *ordered.entry(line.product_id.clone()).or_default() += i64::from(line.quantity);
    }
    Pool {
        machines: machines(shop).await,
        sessions: sessions(shop).await,
        forgotten: forgotten(shop).await,
        products: products(shop).await,
        initial,
        ordered,
        events: events_since_the_oldest(shop, 0).await,
        charges,
    }
}

async fn machines(shop: &Shop) -> Vec<v1::Machine> {
    let mut fleet = shop.operator().fleet;
    let mut request =
        v1::ListMachinesRequest { page_size: PAGE_SIZE, include_archived: true, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = fleet.list_machines(request.clone()).await.unwrap().into_inner();
        all.extend(page.machines);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

async fn sessions(shop: &Shop) -> Vec<v1::MachineSession> {
    let names: Vec<(Vec<u8>,)> = shop.rows().await.all("SELECT session_id FROM sessions").await;
    let buyer = Buyer::new(shop, 0, "");
    let mut all = Vec::with_capacity(names.len());
    for (id,) in names {
        all.push(buyer.session(&Uuid::from_slice(&id).unwrap().to_string()).await.unwrap());
    }
    all
}

async fn forgotten(shop: &Shop) -> Vec<Forgotten> {
    let sql = "SELECT machine_id, product_id, completed FROM forgotten_purchases";
    let rows: Vec<(Vec<u8>, Vec<u8>, i64)> = shop.rows().await.all(sql).await;
    let id = |bytes: Vec<u8>| Uuid::from_slice(&bytes).unwrap().to_string();
    let read = rows.into_iter().map(|(machine, product, completed)| Forgotten {
        machine_id: id(machine),
        product_id: id(product),
        completed: u64::try_from(completed).unwrap(),
    });
    read.collect()
}

/// Usage counts and fences, as they were when they were last looked at: they only rise.
#[derive(Debug, Default)]
pub struct Marks {
    machines: BTreeMap<Vec<u8>, (i64, i64)>,
    purchases: BTreeMap<Vec<u8>, i64>,
}

impl Marks {
    /// Looks again. Panics when one fell.
    pub async fn rise(&mut self, shop: &Shop) {
        let rows = shop.rows().await;
        let machines: Vec<(Vec<u8>, i64, i64)> =
            rows.all("SELECT machine_id, usage_count, fence FROM pool").await;
        for (id, usage, fence) in machines {
            let before = self.machines.insert(id, (usage, fence)).unwrap_or_default();
            assert!(usage >= before.0 && fence >= before.1, "{before:?} became {usage}, {fence}");
        }
        let purchases: Vec<(Vec<u8>, i64)> = rows.all("SELECT purchase_id, fence FROM purchases").await;
        for (id, fence) in purchases {
            let before = self.purchases.insert(id, fence).unwrap_or_default();
            assert!(fence >= before, "a purchase's fence fell from {before} to {fence}");
        }
    }
}
