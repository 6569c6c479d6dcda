//! The stream of what happens to a customer's orders.

use super::acting::Customer;
use crate::domain::event::{Categories, Category, EventData, EventFilter};
use crate::domain::ids::OrderId;
use crate::error::ApiError;
use crate::grpc::events::{Outgoing, cursor, order_event_out, stream};
use crate::grpc::fields::Fields;
use crate::operations::Deps;
use crate::operations::events::{Delivery, Happened, Start};
use vendfleet_proto::v1::{self, watch_orders_response::Message};

pub(super) type OrderStream = Outgoing<v1::WatchOrdersResponse>;

/// Opens it for one customer, for one of its orders or all, after `after` as the request has it.
pub(super) async fn open(
    deps: &Deps,
    customer: Customer,
    order: Option<OrderId>,
    after: &str,
) -> Result<OrderStream, ApiError> {
    let start = if after.is_empty() {
        Start::Now
    } else {
        let mut fields = Fields::default();
        let cursor = cursor(&mut fields, after);
        Start::After(fields.finish(cursor)?)
    };
    let filter = EventFilter {
        categories: Categories::NONE.with(Category::Order),
        customer: Some(customer.into_string()),
        order,
        ..EventFilter::default()
    };
    // What happens elsewhere is none of a customer's business, and must not make its cursor too old.
    let reader = deps.events.open(filter, start, false).await?;
    let context = deps.context.clone();
    let to = move |delivery: Delivery| {
        let heartbeat = || Message::Heartbeat(v1::StreamHeartbeat { server_time_ms: context.now_ms() });
        let message = match &delivery.what {
            Happened::Event(event) => match &event.data {
                EventData::Order { change, order } => Message::Order(order_event_out(event, *change, order)),
                // The filter means orders alone.
                _ => heartbeat(),
            },
            Happened::Nothing => heartbeat(),
        };
        v1::WatchOrdersResponse { cursor: delivery.cursor.to_text(), message: Some(message) }
    };
    Ok(stream(reader, *deps.events.settings(), to))
}
