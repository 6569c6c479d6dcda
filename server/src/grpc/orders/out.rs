//! Orders on the wire.

use crate::domain::order::{Line, Order};
use uuid::Uuid;
use vend_core::money::{Currency, Minor};
use vendfleet_proto::v1;

/// An order as it is, or as it was right after an event when `order.state` is that.
pub(crate) fn order_out(order: &Order) -> v1::Order {
    let state = &order.state;
    v1::Order {
        order_id: order.id.to_string(),
        customer_id: order.customer.clone(),
        idempotency_key: order.key.clone(),
        status: state.status as i32,
        payment_status: state.payment as i32,
        gateway_payment_id: state.gateway_payment_id.clone(),
        failure: state.failure.map_or(0, |failure| failure as i32),
        failure_detail: state.failure_detail.clone(),
        unsettled: state.unsettled,
        lines: order.lines.iter().map(|line| line_out(line, order.currency)).collect(),
        total: Some(money(order.currency, order.total_minor)),
        payment_attempts: state.attempts,
        create_time_ms: order.created_at_ms,
        update_time_ms: state.updated_at_ms,
        end_time_ms: state.ended_at_ms,
        trace_id: order.trace_id.clone(),
    }
}

fn line_out(line: &Line, currency: Currency) -> v1::OrderLine {
    v1::OrderLine {
        product_id: Uuid::from_bytes(line.product.0).to_string(),
        sku: line.sku.clone(),
        name: line.name.clone(),
        unit_price: Some(money(currency, line.unit_price_minor)),
        quantity: line.quantity,
        line_total: Some(money(currency, line.total_minor())),
    }
}

fn money(currency: Currency, minor_units: Minor) -> v1::Money {
    v1::Money { currency_code: currency.as_str().to_owned(), minor_units }
}
