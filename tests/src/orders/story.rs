//! What orders, stock and events say, held against each other: pure, by its own arithmetic. Every breach is a sentence.

use std::collections::{BTreeMap, BTreeSet};

use vendfleet_proto::v1::{
    self, OrderEventType, OrderStatus, PaymentStatus, StockChangeCause, event::Data, inventory_event::Change,
};

/// What was read.
#[derive(Debug, Default, Clone)]
pub struct Books {
    /// Every product, archived ones too.
    pub products: Vec<v1::Product>,
    /// What each was made with.
    pub initial: BTreeMap<String, i64>,
    /// What was added and taken by hand.
    pub adjusted: BTreeMap<String, i64>,
    /// Every order.
    pub orders: Vec<v1::Order>,
    /// Every event about orders and central stock, as streamed from the oldest on.
    pub events: Vec<v1::Event>,
    /// What a gateway did, where there was one that keeps books: by order.
    pub charges: Option<BTreeMap<String, Charge>>,
}

/// What a gateway did for one order.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Times money was taken.
    pub taken: u32,
    /// Times it was given back.
    pub given_back: u32,
}

/// Everything that does not add up.
pub fn breaches(books: &Books) -> Vec<String> {
    let mut found = Vec::new();
    stock_adds_up(books, &mut found);
    orders_stand_by_themselves(books, &mut found);
    events_have_their_own_names_and_places(books, &mut found);
    events_tell_the_same_story(books, &mut found);
    stock_changes_are_a_chain(books, &mut found);
    orders_moved_the_stock_they_hold(books, &mut found);
    money_matches(books, &mut found);
    found
}

pub(crate) fn holds_stock(order: &v1::Order) -> bool {
    matches!(order.status(), OrderStatus::Pending | OrderStatus::Processing | OrderStatus::Paid)
}

/// DESIGN 8.3.
fn stock_adds_up(books: &Books, found: &mut Vec<String>) {
    let mut held: BTreeMap<&str, i64> = BTreeMap::new();
    for line in books.orders.iter().filter(|order| holds_stock(order)).flat_map(|order| &order.lines) {
        *held.entry(&line.product_id).or_default() += i64::from(line.quantity);
    }
    for product in &books.products {
        let id = product.product_id.as_str();
        let (stock, held) = (product.stock, held.get(id).copied().unwrap_or(0));
        let began = books.initial.get(id).copied().unwrap_or(0);
        let adjusted = books.adjusted.get(id).copied().unwrap_or(0);
        if stock < 0 {
            found.push(format!("product {id} has {stock} units"));
        }
        if stock + held != began + adjusted {
            found.push(format!(
                "product {id}: {stock} in stock and {held} held; it began with {began} and {adjusted} were added"
            ));
        }
    }
}

/// What a row says by itself.
fn orders_stand_by_themselves(books: &Books, found: &mut Vec<String>) {
    let mut keys = BTreeSet::new();
    for order in &books.orders {
        let mut say = |what: &str| found.push(format!("order {}: {what}: {order:?}", order.order_id));
        if !keys.insert((&order.customer_id, &order.idempotency_key)) {
            say("a second one with the same key");
        }
        let currency = order.total.as_ref().map_or("", |total| total.currency_code.as_str());
        let mut sum = 0;
        for line in &order.lines {
            let (unit, total) =
                (line.unit_price.clone().unwrap_or_default(), line.line_total.clone().unwrap_or_default());
            if unit.currency_code != currency || total.currency_code != currency {
                say("a line of another currency");
            }
            if total.minor_units != unit.minor_units * i64::from(line.quantity) {
                say("a line's total is not price times quantity");
            }
            sum += total.minor_units;
        }
        if order.total.as_ref().map_or(0, |total| total.minor_units) != sum {
            say("the total is not the sum of its lines");
        }
        let (status, payment) = (order.status(), order.payment_status());
        let ended = matches!(status, OrderStatus::Paid | OrderStatus::Failed | OrderStatus::Cancelled);
        if ended != (order.end_time_ms != 0) {
            say("an end without an end time, or the other way round");
        }
        if order.unsettled && status != OrderStatus::Processing {
            say("unsettled without being PROCESSING");
        }
        let is_free = order.total.as_ref().is_none_or(|total| total.minor_units == 0);
        let settled = match payment {
            // Given back at the provider after it was paid.
            PaymentStatus::Captured => true,
            PaymentStatus::Refunded => status == OrderStatus::Paid,
            PaymentStatus::NotRequired => is_free,
            _ => false,
        };
        if (status == OrderStatus::Paid) != settled
            && (status == OrderStatus::Paid || payment == PaymentStatus::Captured)
        {
            say("PAID and captured money go together, unless it was given back or there was nothing to pay");
        }
        if (status == OrderStatus::Failed) != (order.failure() != v1::OrderFailure::Unspecified) {
            say("a failed order has a reason, another has none");
        }
        if status == OrderStatus::Unspecified {
            say("it is in no state");
        }
    }
}

/// Ids are unique; positions of a shard rise, and what shares one is told in the order of its number.
fn events_have_their_own_names_and_places(books: &Books, found: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    let mut places: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for event in &books.events {
        let id = &event.event_id;
        if !names.insert(id) {
            found.push(format!("event {id} was told twice in one stream"));
        }
        let number = id.split_once(':').and_then(|(_, number)| number.parse().ok()).unwrap_or(0_u64);
        let place = (event.position, number);
        if let Some(before) = places.insert(event.shard, place)
            && before >= place
        {
            found.push(format!("event {id} at {place:?} came after {before:?}"));
        }
    }
}

/// DESIGN 8.4: what happened to an order, step by step, ends where the order stands.
fn events_tell_the_same_story(books: &Books, found: &mut Vec<String>) {
    let mut told: BTreeMap<&str, Vec<&v1::OrderEvent>> = BTreeMap::new();
    for event in &books.events {
        if let Some(Data::Order(data)) = &event.data {
            let order = data.order.as_ref().map_or("", |order| order.order_id.as_str());
            if order != event.subject || data.event_id != event.event_id {
                found.push(format!("event {} is not about its subject {}", event.event_id, event.subject));
            }
            told.entry(&event.subject).or_default().push(data);
        }
    }
    let known: BTreeSet<&str> = books.orders.iter().map(|order| order.order_id.as_str()).collect();
    for id in told.keys().filter(|id| !known.contains(**id)) {
        found.push(format!("order {id} has events and does not exist"));
    }
    for order in &books.orders {
        let id = order.order_id.as_str();
        let steps = told.get(id).map(Vec::as_slice).unwrap_or_default();
        let mut stands = OrderStatus::Unspecified;
        for step in steps {
            let snapshot = step.order.clone().unwrap_or_default();
            let after = snapshot.status();
            if !follows(stands, step.r#type(), after) {
                let kind = step.r#type().as_str_name();
                found.push(format!("order {id}: {kind} took it from {stands:?} to {after:?}"));
            }
            if unchanging(&snapshot) != unchanging(order) {
                found.push(format!("order {id}: {} tells of another order than there is", step.event_id));
            }
            stands = after;
        }
        match steps.last().and_then(|step| step.order.as_ref()) {
            None => found.push(format!("order {id} has no events")),
            Some(last) if told_of(last) != told_of(order) => {
                found.push(format!("order {id}: its events end with {last:?}, the table says {order:?}"));
            }
            Some(_) => {}
        }
    }
}

/// Whether an event of this type can take an order from one state to the other.
fn follows(before: OrderStatus, event: OrderEventType, after: OrderStatus) -> bool {
    use OrderStatus as S;
    match event {
        OrderEventType::Created => (before, after) == (S::Unspecified, S::Pending),
        OrderEventType::Processing => (before, after) == (S::Pending, S::Processing),
        OrderEventType::Paid => (before, after) == (S::Processing, S::Paid),
        OrderEventType::Failed => (before, after) == (S::Processing, S::Failed),
        OrderEventType::Cancelled => (before, after) == (S::Pending, S::Cancelled),
        OrderEventType::Unsettled => (before, after) == (S::Processing, S::Processing),
        OrderEventType::Redriven => {
            before == after && matches!(before, S::Processing | S::Failed | S::Cancelled)
        }
        OrderEventType::Refund => before == after && matches!(before, S::Paid | S::Failed | S::Cancelled),
        OrderEventType::Unspecified => false,
    }
}

fn unchanging(order: &v1::Order) -> v1::Order {
    v1::Order {
        order_id: order.order_id.clone(),
        customer_id: order.customer_id.clone(),
        idempotency_key: order.idempotency_key.clone(),
        lines: order.lines.clone(),
        total: order.total.clone(),
        create_time_ms: order.create_time_ms,
        trace_id: order.trace_id.clone(),
        ..Default::default()
    }
}

/// All of an order but how often the gateway was asked: an attempt that taught nothing is no event.
fn told_of(order: &v1::Order) -> v1::Order {
    v1::Order { payment_attempts: 0, ..order.clone() }
}

fn stock_changes(books: &Books) -> impl Iterator<Item = (&v1::Event, &v1::StockChange)> {
    books.events.iter().filter_map(|event| match &event.data {
        Some(Data::Inventory(v1::InventoryEvent { change: Some(Change::Stock(change)) })) => {
            Some((event, change))
        }
        _ => None,
    })
}

/// Per product each change begins where the one before it ended, from nothing to the stock there is.
fn stock_changes_are_a_chain(books: &Books, found: &mut Vec<String>) {
    let mut stands: BTreeMap<&str, i64> = BTreeMap::new();
    for (event, change) in stock_changes(books) {
        let id = change.product_id.as_str();
        let before = stands.insert(id, change.stock_after).unwrap_or(0);
        if before + change.delta != change.stock_after {
            found.push(format!(
                "product {id}: event {} takes {before} by {} to {}",
                event.event_id, change.delta, change.stock_after
            ));
        }
    }
    for product in &books.products {
        let (id, stock) = (product.product_id.as_str(), product.stock);
        let told = stands.get(id).copied().unwrap_or(0);
        if told != stock {
            found.push(format!("product {id} has {stock} units, its events end with {told}"));
        }
    }
}

/// Each order took what its lines say, once, and gave it back, once, if it ended without being paid.
fn orders_moved_the_stock_they_hold(books: &Books, found: &mut Vec<String>) {
    type Moves<'a> = BTreeMap<(&'a str, &'a str), Vec<(i64, StockChangeCause)>>;
    let mut moves: Moves<'_> = BTreeMap::new();
    for (_, change) in stock_changes(books).filter(|(_, change)| !change.order_id.is_empty()) {
        let key = (change.order_id.as_str(), change.product_id.as_str());
        moves.entry(key).or_default().push((change.delta, change.cause()));
    }
    for order in &books.orders {
        let back = match order.status() {
            OrderStatus::Failed => Some(StockChangeCause::OrderFailed),
            OrderStatus::Cancelled => Some(StockChangeCause::OrderCancelled),
            _ => None,
        };
        for line in &order.lines {
            let units = i64::from(line.quantity);
            let taken = [(-units, StockChangeCause::OrderCreated)];
            let expected: Vec<_> = taken.into_iter().chain(back.map(|cause| (units, cause))).collect();
            let told = moves.remove(&(order.order_id.as_str(), line.product_id.as_str())).unwrap_or_default();
            if told != expected {
                let (id, product) = (&order.order_id, &line.product_id);
                found.push(format!("order {id}: moved {told:?} of {product}, its lines say {expected:?}"));
            }
        }
    }
    for ((order, product), told) in moves {
        found.push(format!("order {order} moved {told:?} of {product}, which it has no line of"));
    }
}

/// Money is taken once for what is paid, and not kept for what is not.
fn money_matches(books: &Books, found: &mut Vec<String>) {
    let Some(charges) = &books.charges else { return };
    for order in &books.orders {
        let charge = charges.get(&order.order_id).copied().unwrap_or_default();
        let kept = i64::from(charge.taken) - i64::from(charge.given_back);
        let right = match order.status() {
            OrderStatus::Paid => match order.payment_status() {
                PaymentStatus::NotRequired => charge.taken == 0,
                PaymentStatus::Refunded => charge.taken == 1 && kept == 0,
                _ => charge.taken == 1 && kept == 1,
            },
            // Given back, or listed as owed.
            OrderStatus::Failed | OrderStatus::Cancelled => {
                charge.taken <= 1
                    && (kept == 0 || kept == 1 && order.payment_status() == PaymentStatus::RefundPending)
            }
            _ => charge.taken <= 1 && kept >= 0,
        };
        if !right {
            found.push(format!(
                "order {} is {:?} and {:?}, the gateway did {charge:?}",
                order.order_id,
                order.status(),
                order.payment_status()
            ));
        }
    }
    let known: BTreeSet<&str> = books.orders.iter().map(|order| order.order_id.as_str()).collect();
    for id in charges.keys().filter(|id| !known.contains(id.as_str())) {
        found.push(format!("the gateway was asked for money for {id}, which is no order"));
    }
}

#[cfg(test)]
mod tests;
