//! Why a command was not done, as the failure its caller sees.

use crate::domain::order::Refusal;
use crate::error::{ApiError, Reason};
use uuid::Uuid;
use vend_core::id::ProductId;

/// The failure of a refusal.
#[must_use]
pub fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::OrderNotFound(id) => {
            ApiError::new(Reason::OrderNotFound, "order_id: there is no such order").with("order_id", id)
        }
        Refusal::ProductNotFound(id) => {
            let id = shown(id);
            ApiError::new(Reason::ProductNotFound, format!("there is no product {id}")).with("product_id", id)
        }
        Refusal::ProductArchived(id) => {
            let id = shown(id);
            ApiError::new(Reason::ProductArchived, format!("product {id} is archived")).with("product_id", id)
        }
        Refusal::CurrencyMismatch { expected, actual } => ApiError::new(
            Reason::CurrencyMismatch,
            format!(
                "an order has one currency: the first product is sold in {expected}, another in {actual}"
            ),
        )
        .with("expected", expected)
        .with("actual", actual),
        Refusal::ExpectedCurrency { expected, actual } => ApiError::new(
            Reason::CurrencyMismatch,
            format!("expected_total: is in {expected}, the products are sold in {actual}"),
        )
        .with("expected", expected)
        .with("actual", actual),
        Refusal::TotalChanged { expected, actual, currency } => ApiError::new(
            Reason::PriceChanged,
            format!("expected_total: is {expected} {currency}, the total is {actual}"),
        )
        .with("expected_minor", expected)
        .with("price_minor", actual)
        .with("currency_code", currency),
        Refusal::InsufficientStock { product, requested, available } => {
            let id = shown(product);
            ApiError::new(
                Reason::InsufficientStock,
                format!("{requested} units of product {id} are asked for, {available} are there"),
            )
            .with("product_id", id)
            .with("requested", requested)
            .with("available", available)
        }
        Refusal::KeyReused { key, order } => ApiError::new(
            Reason::IdempotencyKeyReused,
            "idempotency_key: was used before with another request; the order that one made stands",
        )
        .with("key", key)
        .with("resource_id", order),
        Refusal::NotCancellable { order, status } => ApiError::new(
            Reason::OrderNotCancellable,
            format!("only a PENDING order can be cancelled; this one is {}", status.name()),
        )
        .with("order_id", order)
        .with("status", status.name()),
        Refusal::TooManyOpen { limit, most } => ApiError::new(
            Reason::TooManyOpenOrders,
            format!("this customer's open orders are as many as one may have: at most {most} ({limit})"),
        )
        .with("limit", limit)
        .with("most", most),
        Refusal::NotSetAside(order) => ApiError::new(
            Reason::DeadLetterNotOpen,
            format!("order {order} has no work of this kind that is set aside"),
        ),
    }
}

fn shown(id: ProductId) -> Uuid {
    Uuid::from_bytes(id.0)
}
