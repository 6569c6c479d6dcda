//! A shop in memory: everything is loaded all the time, and what a store would write back is checked after each command.

use crate::domain::catalog::Product;
use crate::domain::ids::{Ids, OrderId};
use crate::domain::order::{
    Answer, Cancel, Change, Command, Create, Finding, Learnt, LineRequest, NewOrder, Order, Redrive, Report,
    Source, Status, View, WorkDone, Writes, claim, fold,
};
use crate::domain::payment::{Trouble, Verdict};
use crate::domain::stock::Shelf;
use crate::domain::text::Text;
use std::collections::BTreeMap;
use uuid::Uuid;
use vend_core::id::ProductId;
use vend_core::money::Currency;

/// Ids in the order they were asked for.
#[derive(Default)]
pub(super) struct Counter(u128);

impl Ids for Counter {
    fn uuid_v7(&mut self) -> Uuid {
        self.0 += 1;
        Uuid::from_u128(self.0)
    }
}

pub(super) struct World {
    pub(super) view: View,
    pub(super) initial: BTreeMap<ProductId, i64>,
    /// Every event so far.
    pub(super) log: Vec<Change>,
    pub(super) ids: Counter,
    pub(super) now_ms: i64,
    before: BTreeMap<OrderId, Order>,
}

pub(super) fn product(n: u8) -> ProductId {
    ProductId([n; 16])
}

pub(super) fn item(n: u8, stock: i64) -> Product {
    Product {
        id: product(n),
        sku: format!("SKU{n}"),
        name: format!("Product {n}"),
        description: String::new(),
        currency: Currency::parse("EUR").unwrap(),
        price_minor: 100 * i64::from(n),
        stock,
        low_stock_threshold: 2,
        version: 1,
        created_at_ms: 1,
        updated_at_ms: 1,
        archived_at_ms: 0,
    }
}

impl World {
    pub(super) fn new(products: impl IntoIterator<Item = Product>) -> Self {
        let products: Vec<Product> = products.into_iter().collect();
        let initial = products.iter().map(|product| (product.id, product.stock)).collect();
        let view = View { shelf: Shelf::new(products), clock_ms: 1_000, ..View::default() };
        let (log, ids, now_ms) = (Vec::new(), Counter::default(), 1_000);
        Self { view, initial, log, ids, now_ms, before: BTreeMap::new() }
    }

    pub(super) fn order(&self, id: OrderId) -> &Order {
        &self.view.orders[&id]
    }

    pub(super) fn stock(&self, product: ProductId) -> i64 {
        self.view.shelf.get(product).unwrap().stock
    }

    /// Folds a command and checks what must hold after any.
    pub(super) fn take(&mut self, command: &Command) -> (Answer, Writes) {
        self.remember();
        let shelf: Vec<i64> = self.stocks();
        let mut writes = Writes::default();
        let answer = fold(&mut self.view, command, &mut self.ids, &mut writes);
        if matches!(answer, Answer::Refused(_) | Answer::Stale | Answer::Existing(_)) {
            assert_eq!(self.stocks(), shelf, "a refusal moves no stock");
            assert!(writes.new.is_empty() && writes.changed.is_empty() && writes.changes.is_empty());
            assert!(writes.facts.is_empty() && writes.raised.is_empty() && writes.dead_letters.is_empty());
        }
        if let Answer::Created(order) | Answer::Cancelled { order, .. } | Answer::Done(order) = &answer {
            assert_eq!(order, self.order(order.id), "an answer is the order as it is now");
        }
        self.check(&writes);
        (answer, writes)
    }

    /// A worker claims an order.
    pub(super) fn claim(&mut self, id: OrderId, lease_ms: i64) -> Option<Order> {
        self.remember();
        let mut writes = Writes::default();
        let claimed = claim(&mut self.view, id, lease_ms, self.now_ms, &mut self.ids, &mut writes);
        assert_eq!(claimed.is_some(), writes.changed.contains(&id), "a claim that is not written is none");
        self.check(&writes);
        claimed
    }

    fn remember(&mut self) {
        self.before = self.view.orders.iter().map(|(id, order)| (*id, order.clone())).collect();
    }

    fn stocks(&self) -> Vec<i64> {
        self.initial.keys().map(|product| self.stock(*product)).collect()
    }

    fn check(&mut self, writes: &Writes) {
        for (id, order) in &self.view.orders {
            match self.before.get(id) {
                None => assert!(writes.new.contains(id), "a new order is written"),
                Some(before) if before != order => {
                    assert!(writes.changed.contains(id), "what has changed is written");
                    assert!(before.state.fence <= order.state.fence, "a fence only rises");
                    let ended =
                        matches!(before.state.status, Status::Paid | Status::Failed | Status::Cancelled);
                    if ended {
                        assert_eq!(before.state.status, order.state.status, "what has ended stays");
                        assert_eq!(before.state.ended_at_ms, order.state.ended_at_ms);
                    }
                    let rest = Order { state: before.state.clone(), ..order.clone() };
                    assert_eq!(*before, rest, "nothing but the state changes");
                }
                Some(_) => {}
            }
            assert_eq!(
                order.total_minor,
                order.lines.iter().map(crate::domain::order::Line::total_minor).sum::<i64>()
            );
        }
        for (product, initial) in &self.initial {
            let held: i64 = self
                .view
                .orders
                .values()
                .filter(|order| {
                    matches!(order.state.status, Status::Pending | Status::Processing | Status::Paid)
                })
                .flat_map(|order| order.lines.iter())
                .filter(|line| line.product == *product)
                .map(|line| i64::from(line.quantity))
                .sum();
            assert!(self.stock(*product) >= 0);
            assert_eq!(self.stock(*product) + held, *initial, "stock and what is held are what there was");
        }
        self.log.extend(writes.changes.iter().cloned());
    }

    /// The log, read from its beginning, tells every order and every product as they are.
    pub(super) fn replay(&self) {
        let mut stock = self.initial.clone();
        let mut last: BTreeMap<OrderId, &Change> = BTreeMap::new();
        for change in &self.log {
            for moved in &change.moves {
                let at = stock.get_mut(&moved.product).unwrap();
                *at += moved.delta;
                assert_eq!(*at, moved.after, "a move says what was left right after it");
            }
            let was = last.insert(change.order, change).map(|before| before.state.status);
            let fits = match (was, change.state.status) {
                (None, Status::Pending)
                | (Some(Status::Pending), Status::Processing | Status::Cancelled)
                | (Some(Status::Processing), Status::Processing | Status::Paid | Status::Failed) => true,
                (Some(was), is) => was == is,
                (None, _) => false,
            };
            assert!(fits, "{was:?} -> {:?}", change.state.status);
        }
        for (product, units) in stock {
            assert_eq!(self.stock(product), units);
        }
        for (id, order) in &self.view.orders {
            let (told, is) = (&last[id].state, &order.state);
            assert_eq!(
                (told.status, told.payment, &told.gateway_payment_id, told.failure, told.unsettled),
                (is.status, is.payment, &is.gateway_payment_id, is.failure, is.unsettled)
            );
            assert_eq!((told.ended_at_ms, told.updated_at_ms), (is.ended_at_ms, is.updated_at_ms));
        }
    }

    pub(super) fn create(&mut self, customer: &str, key: &str, lines: &[(u8, u32)]) -> Command {
        let asked: Vec<LineRequest> = lines
            .iter()
            .map(|(n, quantity)| LineRequest { product: product(*n), quantity: *quantity })
            .collect();
        let new = NewOrder::new(Text::parse(customer).unwrap(), key.to_owned(), &asked).unwrap();
        Command::Create(Create {
            id: OrderId(self.ids.uuid_v7()),
            new,
            at_ms: self.now_ms,
            trace_id: "t".to_owned(),
            traceparent: String::new(),
        })
    }

    /// Makes an order that must be possible.
    pub(super) fn made(&mut self, key: &str, lines: &[(u8, u32)]) -> OrderId {
        let command = self.create("anna", key, lines);
        match self.take(&command).0 {
            Answer::Created(order) => order.id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn cancel(&self, order: OrderId, customer: Option<&str>) -> Command {
        Command::Cancel(Cancel {
            order,
            customer: customer.map(ToOwned::to_owned),
            at_ms: self.now_ms,
            trace_id: "t".to_owned(),
            traceparent: String::new(),
        })
    }

    pub(super) fn report(&self, order: OrderId, fence: i64, done: WorkDone) -> Command {
        Command::Report(Report { order, fence, attempts: 1, done, at_ms: self.now_ms })
    }

    pub(super) fn finding(&self, order: OrderId, learnt: Learnt) -> Command {
        Command::Finding(Finding { order, learnt, at_ms: self.now_ms })
    }

    pub(super) fn redrive(&self, order: OrderId, kind: crate::domain::order::DeadLetterKind) -> Command {
        let (at_ms, trace_id) = (self.now_ms, "t".to_owned());
        Command::Redrive(Redrive { order, kind, at_ms, trace_id, traceparent: String::new() })
    }
}

pub(super) fn learnt(verdict: Verdict, source: Source) -> Learnt {
    Learnt {
        verdict,
        gateway_payment_id: "pay-1".to_owned(),
        detail: "said so".to_owned(),
        amount: None,
        source,
    }
}

pub(super) fn unknown() -> WorkDone {
    WorkDone::Unknown { trouble: Trouble::Timeout, detail: "no answer".to_owned(), again_in_ms: 5_000 }
}
