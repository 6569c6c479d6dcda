//! The rows of orders.

use crate::domain::ids::OrderId;
use crate::domain::order::{Failure, Line, Order, State, Status, Work};
use crate::domain::payment::PaymentStatus;
use crate::store::bulk::Kind::{self, Bool, Bytes, Int, Text};
use crate::store::{Row, StoreError};
use std::sync::Arc;
use vend_core::id::ProductId;
use vend_core::money::Currency;

macro_rules! order_columns {
    () => {
        "order_id, customer_id, idempotency_key, fingerprint, currency, total_minor, lines, created_at_ms, trace_id, \
         traceparent, status, payment, gateway_payment_id, failure, failure_detail, unsettled, attempts, work, due_at_ms, \
         fence, updated_at_ms, ended_at_ms"
    };
}
pub(super) use order_columns;

pub(super) const ORDER_KINDS: [Kind; 22] = [
    Bytes, Text, Text, Bytes, Text, Int, Text, Int, Text, Text, Int, Int, Text, Int, Text, Bool, Int, Int,
    Int, Int, Int, Int,
];

/// Product (hex), SKU, name, unit price, quantity.
type StoredLine<S> = (String, S, S, i64, u32);

/// Lines as they are kept.
pub(super) fn lines_out(lines: &[Line]) -> Result<String, StoreError> {
    let stored: Vec<StoredLine<&str>> = lines
        .iter()
        .map(|line| {
            let product = hex::encode(line.product.0);
            (product, line.sku.as_str(), line.name.as_str(), line.unit_price_minor, line.quantity)
        })
        .collect();
    serde_json::to_string(&stored).map_err(|error| StoreError::Data(error.to_string()))
}

fn lines_in(text: &str) -> Result<Arc<[Line]>, StoreError> {
    let damaged = |what: &str| StoreError::corrupt(format!("orders.lines: {what}"));
    let stored: Vec<StoredLine<String>> =
        serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
    stored
        .into_iter()
        .map(|(product, sku, name, unit_price_minor, quantity)| {
            let mut id = [0; 16];
            hex::decode_to_slice(&product, &mut id).map_err(|_| damaged("not a product"))?;
            Ok(Line { product: ProductId(id), sku, name, unit_price_minor, quantity })
        })
        .collect()
}

/// Reads `order_columns!`.
pub(super) fn order(row: &Row) -> Result<Order, StoreError> {
    let mut c = row.columns();
    Ok(Order {
        id: OrderId(c.uuid()?),
        customer: c.text()?.to_owned(),
        key: c.text()?.to_owned(),
        fingerprint: c.array()?,
        currency: Currency::parse(c.text()?).ok_or_else(|| c.damaged("not a currency"))?,
        total_minor: c.int()?,
        lines: lines_in(c.text()?)?,
        created_at_ms: c.int()?,
        trace_id: c.text()?.to_owned(),
        traceparent: c.text()?.to_owned(),
        state: State {
            status: Status::from_number(c.int()?).ok_or_else(|| c.damaged("not a status"))?,
            payment: PaymentStatus::from_number(c.int()?).ok_or_else(|| c.damaged("not a payment status"))?,
            gateway_payment_id: c.text()?.to_owned(),
            failure: match c.int()? {
                0 => None,
                number => Some(Failure::from_number(number).ok_or_else(|| c.damaged("not a failure"))?),
            },
            failure_detail: c.text()?.to_owned(),
            unsettled: c.bool()?,
            attempts: c.number()?,
            work: Work::from_number(c.int()?).ok_or_else(|| c.damaged("not a kind of work"))?,
            due_at_ms: c.int()?,
            fence: c.int()?,
            updated_at_ms: c.int()?,
            ended_at_ms: c.int()?,
        },
    })
}
