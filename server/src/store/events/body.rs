//! What an event's row carries besides its columns, JSON: fields may be added with a default, never renamed or reused.
//!
//! What never changes of an order is read from its own row; the body holds what the order was right after the event.

use crate::domain::order::{Change, ChangeKind, Failure, State, Status, Work};
use crate::domain::payment::PaymentStatus;
use crate::domain::stock::StockMove;
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use vend_core::id::ProductId;

/// Body of an event about an order. Numbers are those of `orders`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderBody {
    change: i64,
    status: i64,
    payment: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    gateway_payment_id: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    failure: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    failure_detail: String,
    #[serde(default, skip_serializing_if = "is_false")]
    unsettled: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    attempts: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    ended_at_ms: i64,
    /// Product (hex), delta, stock right after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    moves: Vec<(String, i64, i64)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn is_one(number: &u64) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl OrderBody {
    /// The body of a change, as bytes.
    pub fn write(change: &Change) -> Result<Vec<u8>, StoreError> {
        let state = &change.state;
        let body = Self {
            change: change.kind as i64,
            status: state.status as i64,
            payment: state.payment as i64,
            gateway_payment_id: state.gateway_payment_id.clone(),
            failure: state.failure.map_or(0, |failure| failure as i64),
            failure_detail: state.failure_detail.clone(),
            unsettled: state.unsettled,
            attempts: i64::from(state.attempts),
            ended_at_ms: state.ended_at_ms,
            moves: change.moves.iter().map(|m| (hex::encode(m.product.0), m.delta, m.after)).collect(),
        };
        serde_json::to_vec(&body).map_err(|error| StoreError::Data(error.to_string()))
    }

    /// What happened, the order's state right after it (as of the event's time), and the central stock it moved.
    pub fn read(bytes: &[u8], at_ms: i64) -> Result<(ChangeKind, State, Vec<StockMove>), StoreError> {
        let damaged = |what: &str| StoreError::corrupt(format!("an order event's body: {what}"));
        let body: Self = serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))?;
        let mut moves = Vec::with_capacity(body.moves.len());
        for (product, delta, after) in body.moves {
            let mut id = [0; 16];
            hex::decode_to_slice(&product, &mut id).map_err(|_| damaged("not a product"))?;
            moves.push(StockMove { product: ProductId(id), delta, after });
        }
        let state = State {
            status: Status::from_number(body.status).ok_or_else(|| damaged("not a status"))?,
            payment: PaymentStatus::from_number(body.payment)
                .ok_or_else(|| damaged("not a payment status"))?,
            gateway_payment_id: body.gateway_payment_id,
            failure: Failure::from_number(body.failure),
            failure_detail: body.failure_detail,
            unsettled: body.unsettled,
            attempts: u32::try_from(body.attempts).map_err(|_| damaged("attempts"))?,
            work: Work::None,
            due_at_ms: 0,
            fence: 0,
            updated_at_ms: at_ms,
            ended_at_ms: body.ended_at_ms,
        };
        let kind = ChangeKind::from_number(body.change).ok_or_else(|| damaged("not a change"))?;
        Ok((kind, state, moves))
    }
}
