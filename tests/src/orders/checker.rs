//! Whether orders, stock, events and money say the same: invariants 3 and 4 of DESIGN section 8.
//!
//! Reads the public API, and of the database nothing but the adjustments that no call lists; [`super::story`] decides.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use vendfleet_proto::v1::{self, StreamStart, stream_events_response::Message};

use super::{
    Shop,
    story::{Books, Charge, breaches},
};

/// Most orders asked for one by one, and most customers whose own stream is read.
const MOST_GETS: usize = 200;
const MOST_WATCHED: usize = 4;
const PAGE_SIZE: i32 = 500;

/// What was compared, so that a check of nothing is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Orders.
    pub orders: usize,
    /// Events about orders and central stock.
    pub events: usize,
}

/// Checks a shop that nobody calls meanwhile. Panics with every breach it finds.
pub async fn check(shop: &Shop) -> Checked {
    verdict(shop, None).await
}

/// Likewise, and what the gateway did for each order.
pub async fn check_paid(shop: &Shop, charges: BTreeMap<String, Charge>) -> Checked {
    verdict(shop, Some(charges)).await
}

async fn verdict(shop: &Shop, charges: Option<BTreeMap<String, Charge>>) -> Checked {
    let (checked, found) = examine(shop, charges).await;
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
    checked
}

/// Checks, and gives the breaches.
pub async fn examine(shop: &Shop, charges: Option<BTreeMap<String, Charge>>) -> (Checked, Vec<String>) {
    let books = Books {
        products: products(shop).await,
        initial: shop.initial(),
        adjusted: adjusted(shop).await,
        orders: shop.caller("").list(v1::ListOrdersRequest::default()).await,
        events: events_since_the_oldest(shop, 0).await,
        charges,
    };
    let mut found = breaches(&books);
    each_order_is_what_the_list_says(shop, &books, &mut found).await;
    each_customer_is_told_its_own(shop, &books, &mut found).await;
    every_replica_tells_the_same(shop, &books, &mut found).await;
    (Checked { orders: books.orders.len(), events: books.events.len() }, found)
}

pub(crate) async fn products(shop: &Shop) -> Vec<v1::Product> {
    let mut catalog = shop.operator().catalog;
    let mut request =
        v1::ListProductsRequest { page_size: PAGE_SIZE, include_archived: true, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = catalog.list_products(request.clone()).await.unwrap().into_inner();
        all.extend(page.products);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

pub(crate) async fn adjusted(shop: &Shop) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    let rows: Vec<(Vec<u8>, i64)> =
        shop.rows().await.all("SELECT product_id, delta FROM stock_adjustments").await;
    for (product, delta) in rows {
        *sums.entry(Uuid::from_slice(&product).unwrap().to_string()).or_default() += delta;
    }
    sums
}

/// Everything about orders and central stock from the oldest event on.
pub fn from_the_oldest() -> v1::StreamEventsRequest {
    v1::StreamEventsRequest {
        start: StreamStart::Oldest.into(),
        categories: vec![v1::EventCategory::Order.into(), v1::EventCategory::Inventory.into()],
        ..Default::default()
    }
}

/// That, as one replica streams it, up to the first moment with nothing more.
pub async fn events_since_the_oldest(shop: &Shop, replica: usize) -> Vec<v1::Event> {
    events_of(shop, replica, from_the_oldest()).await
}

/// What a replica streams, up to the first moment with nothing more.
pub async fn events_of(shop: &Shop, replica: usize, request: v1::StreamEventsRequest) -> Vec<v1::Event> {
    let mut stream = shop.events(replica).stream_events(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    loop {
        match stream.message().await.unwrap().expect("the stream goes on").message {
            Some(Message::Event(event)) => events.push(event),
            Some(Message::Heartbeat(_)) => return events,
            None => panic!("a message that says nothing"),
        }
    }
}

async fn each_order_is_what_the_list_says(shop: &Shop, books: &Books, found: &mut Vec<String>) {
    let caller = shop.caller("");
    for order in books.orders.iter().take(MOST_GETS) {
        match caller.get(&order.order_id).await {
            Ok(read) if read == *order => {}
            read => found.push(format!("ListOrders says {order:?}, GetOrder says {read:?}")),
        }
    }
}

/// `WatchOrders` from before the first order tells a customer the same events as `StreamEvents` tells of its orders.
async fn each_customer_is_told_its_own(shop: &Shop, books: &Books, found: &mut Vec<String>) {
    let customers: BTreeSet<&str> = books.orders.iter().map(|order| order.customer_id.as_str()).collect();
    for customer in customers.into_iter().take(MOST_WATCHED) {
        let told = shop.caller(customer).happened_since(&shop.beginning).await;
        let theirs = books.events.iter().filter_map(|event| match &event.data {
            Some(v1::event::Data::Order(order)) => Some(order),
            _ => None,
        });
        let theirs = theirs.filter(|o| o.order.as_ref().is_some_and(|o| o.customer_id == customer));
        if !told.iter().eq(theirs.clone()) {
            let (told, there) = (told.len(), theirs.count());
            found.push(format!("customer {customer} is told {told} events, which are not its {there}"));
        }
    }
}

async fn every_replica_tells_the_same(shop: &Shop, books: &Books, found: &mut Vec<String>) {
    for (index, replica) in shop.replicas.iter().enumerate().skip(1) {
        if replica.server.is_running() && events_since_the_oldest(shop, index).await != books.events {
            found.push(format!("replica {index} tells other events than the first"));
        }
    }
}
