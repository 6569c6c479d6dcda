//! Requests about orders, held to their rules.

use super::acting::Customer;
use crate::domain::order::{LineRequest, MAX_LINES, MAX_QUANTITY, NewOrder, OrderFilter};
use crate::grpc::fields::Fields;
use vend_core::id::ProductId;
use vendfleet_proto::v1;

/// Longest idempotency key, characters.
const MAX_KEY: usize = 128;

pub(super) fn new_order(
    fields: &mut Fields,
    customer: Customer,
    message: &v1::CreateOrderRequest,
) -> Option<NewOrder> {
    let key = key(fields, &message.idempotency_key);
    let lines = lines(fields, &message.lines);
    let expected_total = match &message.expected_total {
        None => Some(None),
        Some(total) => fields.price("expected_total", total).map(Some),
    };
    match NewOrder::new(customer, key?, &lines?) {
        Ok(new) => Some(NewOrder { expected_total: expected_total?, ..new }),
        Err(index) => {
            fields.broke(
                format!("lines[{index}].quantity"),
                format!("must be at most {MAX_QUANTITY} units of a product in all lines together"),
            );
            None
        }
    }
}

fn key(fields: &mut Fields, key: &str) -> Option<String> {
    let fits = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let parsed = if fits {
        Ok(key.to_owned())
    } else {
        Err(format!("must be 1 to {MAX_KEY} printable ASCII characters"))
    };
    fields.take("idempotency_key", parsed)
}

fn lines(fields: &mut Fields, lines: &[v1::CreateOrderLine]) -> Option<Vec<LineRequest>> {
    if !(1..=MAX_LINES).contains(&lines.len()) {
        fields.broke("lines", format!("must be 1 to {MAX_LINES}"));
        return None;
    }
    let mut parsed = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let product = fields.uuid(&format!("lines[{index}].product_id"), &line.product_id);
        let quantity = line.quantity;
        let fits = (1..=MAX_QUANTITY).contains(&quantity);
        if !fits {
            fields.broke(format!("lines[{index}].quantity"), format!("must be 1 to {MAX_QUANTITY}"));
        }
        if let Some(product) = product
            && fits
        {
            parsed.push(LineRequest { product: ProductId(product.into_bytes()), quantity });
        }
    }
    (parsed.len() == lines.len()).then_some(parsed)
}

/// `customer`: whose; `None` is everybody's.
pub(super) fn filter(
    fields: &mut Fields,
    customer: Option<String>,
    message: &v1::ListOrdersRequest,
) -> Option<OrderFilter> {
    let mut named = Vec::new();
    let mut fits = true;
    for (index, number) in message.statuses.iter().enumerate() {
        let field = format!("statuses[{index}]");
        match fields.member(&field, *number, |n| OrderFilter::status(i64::from(n))) {
            Some(status) if named.contains(&status) => {
                fields.broke(field, "must be named once");
                fits = false;
            }
            Some(status) => named.push(status),
            None => fits = false,
        }
    }
    // UNSPECIFIED is any, whatever is named beside it.
    let statuses = named.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default();
    fits.then_some(OrderFilter { customer, statuses, unsettled_only: message.unsettled_only })
}
