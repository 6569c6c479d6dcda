//! Event streams over a stage, called as the edge calls them, and orders that make something happen.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub, clippy::disallowed_methods)]

use crate::fleet_support::{Stage, id, operator};
use server::{
    auth::{Caller, Person, Role, Scope},
    domain::{
        event::Cursor,
        order::{Command, Learnt, Report, Source, WorkDone},
        payment::{Trouble, Verdict},
    },
    grpc::{events::EventsGrpc, orders::OrdersGrpc},
    metrics::Metrics,
    operations::{
        Deps,
        events::{EventLog, EventSettings, now},
        orders::{OrderSettings, Orders},
    },
    store::Store,
};
use std::{collections::BTreeMap, future::Future, pin::pin, time::Duration};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Status};
use vendfleet_proto::v1::{
    self, event_service_server::EventService as _, order_service_server::OrderService as _,
    stream_events_response::Message,
};

/// Longest wait for anything that must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing by time but the look for other replicas' commits.
pub const QUIET: EventSettings = EventSettings {
    poll: Duration::from_millis(10),
    buffer_events: 1_024,
    heartbeat: Duration::from_secs(600),
    slow_consumer: Duration::from_secs(600),
};

/// A replica's services for orders and events.
pub struct Replica {
    pub deps: Deps,
    pub events: EventsGrpc,
    pub orders: OrdersGrpc,
    _follows: DropGuard,
}

impl Replica {
    pub fn of(stage: &Stage, settings: EventSettings) -> Self {
        Self::on(stage, stage.deps.store.clone(), settings)
    }

    pub fn on(stage: &Stage, store: Store, settings: EventSettings) -> Self {
        let mut deps = stage.deps.clone();
        deps.events = EventLog::new(store.clone(), settings);
        let metrics = Metrics::new(&mut Default::default());
        deps.orders = Orders::start(&store, &deps.context, &metrics, &OrderSettings::default());
        deps.store = store;
        let stop = CancellationToken::new();
        tokio::spawn(deps.events.clone().follow(stop.clone()));
        let (events, orders) = (EventsGrpc::new(deps.clone()), OrdersGrpc::new(deps.clone()));
        Self { deps, events, orders, _follows: stop.drop_guard() }
    }

    pub async fn stream(
        &self,
        request: v1::StreamEventsRequest,
    ) -> Result<impl Stream<Item = Result<v1::StreamEventsResponse, Status>> + Unpin + use<>, Status> {
        Ok(self.events.stream_events(operator(request)).await?.into_inner())
    }

    /// Everything that a filter means from its start up to now, with the cursor of each.
    pub async fn all(&self, request: v1::StreamEventsRequest) -> Vec<(String, v1::Event)> {
        let until = now(&self.deps.store).await.unwrap();
        let settings = EventSettings { heartbeat: Duration::from_millis(5), ..QUIET };
        let log = EventLog::new(self.deps.store.clone(), settings);
        let stop = CancellationToken::new();
        tokio::spawn(log.clone().follow(stop.clone()));
        let _stop = stop.drop_guard();
        let events = EventsGrpc::new(Deps { events: log, ..self.deps.clone() });
        let mut stream = events.stream_events(operator(request)).await.unwrap().into_inner();
        let mut found = Vec::new();
        let read = async {
            while let Some(message) = stream.next().await {
                let message = message.unwrap();
                match message.message.unwrap() {
                    Message::Event(event) => found.push((message.cursor, event)),
                    Message::Heartbeat(_) if is_at(&message.cursor, &until) => break,
                    Message::Heartbeat(_) => {}
                }
            }
        };
        soon(read).await;
        found
    }

    /// Everything still kept.
    pub async fn history(&self) -> Vec<(String, v1::Event)> {
        self.all(oldest()).await
    }

    pub async fn watch(
        &self,
        customer: &str,
        cursor: &str,
    ) -> Result<impl Stream<Item = Result<v1::WatchOrdersResponse, Status>> + Unpin + use<>, Status> {
        let request =
            v1::WatchOrdersRequest { cursor: cursor.to_owned(), ..v1::WatchOrdersRequest::default() };
        Ok(self.orders.watch_orders(as_customer(customer, request)).await?.into_inner())
    }

    pub async fn order(&self, customer: &str, product: &v1::Product, quantity: u32) -> v1::Order {
        let line = v1::CreateOrderLine { product_id: product.product_id.clone(), quantity };
        let new = v1::CreateOrderRequest {
            idempotency_key: id(),
            customer_id: String::new(),
            lines: vec![line],
            expected_total: None,
        };
        self.orders.create_order(as_customer(customer, new)).await.unwrap().into_inner().order.unwrap()
    }

    pub async fn cancel(&self, customer: &str, order: &v1::Order) {
        let cancel =
            v1::CancelOrderRequest { order_id: order.order_id.clone(), ..v1::CancelOrderRequest::default() };
        self.orders.cancel_order(as_customer(customer, cancel)).await.unwrap();
    }

    pub async fn get(&self, customer: &str, order: &v1::Order) -> v1::Order {
        let get = v1::GetOrderRequest { order_id: order.order_id.clone(), ..v1::GetOrderRequest::default() };
        self.orders.get_order(as_customer(customer, get)).await.unwrap().into_inner().order.unwrap()
    }

    /// Claims what is due and reports what a gateway would say of it; how many there were.
    pub async fn work(&self, says: impl Fn(usize) -> Option<Verdict>) -> usize {
        let claimed = self.deps.orders.claim(100, 60_000).await.unwrap();
        for (index, order) in claimed.iter().enumerate() {
            let done = match says(index) {
                Some(verdict) => WorkDone::Learnt(Learnt {
                    verdict,
                    gateway_payment_id: format!("pay-{index}"),
                    detail: "said so".to_owned(),
                    amount: None,
                    source: Source::Worker,
                }),
                None => WorkDone::Unknown {
                    trouble: Trouble::Timeout,
                    detail: "no answer".to_owned(),
                    again_in_ms: 60_000,
                },
            };
            let at_ms = self.deps.context.now_ms();
            let report = Report { order: order.id, fence: order.state.fence, attempts: 1, done, at_ms };
            self.deps.orders.submit(Command::Report(report)).await.unwrap();
        }
        claimed.len()
    }
}

pub fn oldest() -> v1::StreamEventsRequest {
    v1::StreamEventsRequest { start: v1::StreamStart::Oldest.into(), ..v1::StreamEventsRequest::default() }
}

pub fn behind(cursor: &str) -> v1::StreamEventsRequest {
    v1::StreamEventsRequest { cursor: cursor.to_owned(), ..v1::StreamEventsRequest::default() }
}

fn is_at(cursor: &str, until: &Cursor) -> bool {
    let cursor = Cursor::parse(cursor).unwrap();
    until.places.iter().all(|(shard, place)| cursor.place(*shard) >= *place)
}

pub fn as_customer<T>(subject: &str, message: T) -> Request<T> {
    as_person(subject, Role::Customer, Vec::new(), message)
}

pub fn as_service<T>(message: T) -> Request<T> {
    as_person("shop", Role::Service, vec![Scope::OrdersOnBehalf], message)
}

fn as_person<T>(subject: &str, role: Role, scopes: Vec<Scope>, message: T) -> Request<T> {
    let person = Person { subject: subject.to_owned(), role, scopes };
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller::Person(person));
    request
}

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, pin!(future)).await.expect("waited in vain")
}

/// Waits for a condition.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// The next events of a stream, with their cursors; heartbeats are passed over.
pub async fn take(
    stream: &mut (impl Stream<Item = Result<v1::StreamEventsResponse, Status>> + Unpin),
    count: usize,
) -> Vec<(String, v1::Event)> {
    let mut found = Vec::new();
    while found.len() < count {
        let message = soon(stream.next()).await.expect("the stream goes on").unwrap();
        if let Message::Event(event) = message.message.unwrap() {
            found.push((message.cursor, event));
        }
    }
    found
}

/// The first message of a stream from now on.
pub async fn greeted(
    stream: &mut (impl Stream<Item = Result<v1::StreamEventsResponse, Status>> + Unpin),
) -> String {
    let message = soon(stream.next()).await.unwrap().unwrap();
    assert!(matches!(message.message, Some(Message::Heartbeat(_))), "{message:?}");
    message.cursor
}

pub fn ids(events: &[(String, v1::Event)]) -> Vec<String> {
    events.iter().map(|(_, event)| event.event_id.clone()).collect()
}

/// Ids by shard: between shards there is no order.
pub fn by_shard(events: &[(String, v1::Event)]) -> BTreeMap<u32, Vec<String>> {
    let mut shards: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (_, event) in events {
        shards.entry(event.shard).or_default().push(event.event_id.clone());
    }
    shards
}
