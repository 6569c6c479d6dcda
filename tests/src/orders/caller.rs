//! Who orders: the calls of OrderService in one customer's name.

use tonic::{Status, Streaming};
use vendfleet_proto::v1::{self, order_service_client::OrderServiceClient, watch_orders_response::Message};

use crate::client::AuthorizedChannel;

const PAGE_SIZE: i32 = 100;

/// An order, and whether an earlier call had made it.
pub type Made = (v1::Order, bool);

/// Calls in one customer's name.
#[derive(Debug, Clone)]
pub struct Caller {
    /// For what has no word of its own here.
    pub client: OrderServiceClient<AuthorizedChannel>,
    /// Whom it acts for; empty: the token's subject.
    pub customer: String,
}

impl Caller {
    /// Through this client.
    pub fn new(client: OrderServiceClient<AuthorizedChannel>, customer: &str) -> Self {
        Self { client, customer: customer.to_owned() }
    }

    /// For another customer, over the same connection.
    #[must_use]
    pub fn acting_for(&self, customer: &str) -> Self {
        Self { client: self.client.clone(), customer: customer.to_owned() }
    }

    /// Asks for an order of these products and units.
    pub async fn create(&self, key: &str, lines: &[(&str, u32)]) -> Result<Made, Status> {
        let request = v1::CreateOrderRequest {
            idempotency_key: key.to_owned(),
            customer_id: self.customer.clone(),
            lines: lines
                .iter()
                .map(|(product, quantity)| v1::CreateOrderLine {
                    product_id: (*product).to_owned(),
                    quantity: *quantity,
                })
                .collect(),
            expected_total: None,
        };
        let answer = self.client.clone().create_order(request).await?.into_inner();
        Ok((answer.order.expect("an OK names the order"), answer.already_existed))
    }

    /// One order of these; panics when it is refused.
    pub async fn order(&self, key: &str, lines: &[(&str, u32)]) -> v1::Order {
        self.create(key, lines).await.unwrap_or_else(|status| panic!("{key}: {status:?}")).0
    }

    /// One order.
    pub async fn get(&self, order_id: &str) -> Result<v1::Order, Status> {
        let request =
            v1::GetOrderRequest { order_id: order_id.to_owned(), customer_id: self.customer.clone() };
        Ok(self.client.clone().get_order(request).await?.into_inner().order.expect("an OK names the order"))
    }

    /// Where an order stands.
    pub async fn status(&self, order_id: &str) -> v1::OrderStatus {
        self.get(order_id).await.unwrap().status()
    }

    /// Cancels an order; gives whether an earlier call had.
    pub async fn cancel(&self, order_id: &str) -> Result<(v1::Order, bool), Status> {
        let request =
            v1::CancelOrderRequest { order_id: order_id.to_owned(), customer_id: self.customer.clone() };
        let answer = self.client.clone().cancel_order(request).await?.into_inner();
        Ok((answer.order.expect("an OK names the order"), answer.already_cancelled))
    }

    /// Every order that passes the filter, page by page.
    pub async fn list(&self, filter: v1::ListOrdersRequest) -> Vec<v1::Order> {
        let mut request = v1::ListOrdersRequest { customer_id: self.customer.clone(), ..filter };
        if request.page_size == 0 {
            request.page_size = PAGE_SIZE;
        }
        let mut all = Vec::new();
        loop {
            let page = self.client.clone().list_orders(request.clone()).await.unwrap().into_inner();
            all.extend(page.orders);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// A stream of what happens to its orders.
    pub async fn watch(&self, cursor: &str) -> Result<Streaming<v1::WatchOrdersResponse>, Status> {
        let request = v1::WatchOrdersRequest {
            customer_id: self.customer.clone(),
            cursor: cursor.to_owned(),
            order_id: String::new(),
        };
        Ok(self.client.clone().watch_orders(request).await?.into_inner())
    }

    /// The cursor of this moment.
    pub async fn now(&self) -> String {
        let first = self.watch("").await.unwrap().message().await.unwrap().expect("a first message");
        assert!(matches!(first.message, Some(Message::Heartbeat(_))), "{first:?}");
        first.cursor
    }

    /// Everything that happened since a cursor, up to the first moment at which nothing more did.
    pub async fn happened_since(&self, cursor: &str) -> Vec<v1::OrderEvent> {
        let mut stream = self.watch(cursor).await.unwrap();
        let mut told = Vec::new();
        loop {
            let message = stream.message().await.unwrap().expect("the stream goes on");
            match message.message.expect("a message says something") {
                Message::Order(event) => told.push(event),
                Message::Heartbeat(_) => return told,
            }
        }
    }
}
