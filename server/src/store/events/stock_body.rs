//! Body of an event about central stock that no order moved. The product is the event's subject.

use crate::domain::catalog::{Adjustment, AdjustmentReason};
use crate::domain::ids::PurchaseId;
use crate::domain::stock::{StockCause, StockMove};
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vend_core::id::ProductId;

/// Body of an event about central stock. Fields may be added with a default, never renamed or reused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StockBody {
    delta: i64,
    after: i64,
    /// Without one the product was made with this stock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adjustment: Option<AdjustmentBody>,
    /// A purchase took it, or gave it back: the sign of the delta says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purchase: Option<Uuid>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct AdjustmentBody {
    id: Uuid,
    reason: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    by: String,
}

impl StockBody {
    /// The body of a move, as bytes.
    pub fn write(moved: &StockMove, cause: &StockCause) -> Result<Vec<u8>, StoreError> {
        let purchase = match cause {
            StockCause::Purchased(id) | StockCause::GivenBack(id) => Some(id.0),
            StockCause::ProductCreated | StockCause::Adjusted(_) => None,
        };
        let adjustment = match cause {
            StockCause::ProductCreated | StockCause::Purchased(_) | StockCause::GivenBack(_) => None,
            StockCause::Adjusted(a) => Some(AdjustmentBody {
                id: a.id,
                reason: a.reason as i64,
                note: a.note.clone(),
                by: a.by.clone(),
            }),
        };
        let body = Self { delta: moved.delta, after: moved.after, adjustment, purchase };
        serde_json::to_vec(&body).map_err(|error| StoreError::Data(error.to_string()))
    }

    /// What moved and why, of an event with this subject and time.
    pub fn read(bytes: &[u8], product: ProductId, at_ms: i64) -> Result<(StockMove, StockCause), StoreError> {
        let damaged = |what: &str| StoreError::corrupt(format!("a stock event's body: {what}"));
        let body: Self = serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))?;
        let moved = StockMove { product, delta: body.delta, after: body.after };
        if let Some(id) = body.purchase.map(PurchaseId) {
            let cause = if body.delta < 0 { StockCause::Purchased(id) } else { StockCause::GivenBack(id) };
            return Ok((moved, cause));
        }
        let Some(a) = body.adjustment else { return Ok((moved, StockCause::ProductCreated)) };
        let adjustment = Adjustment {
            id: a.id,
            product,
            delta: body.delta,
            stock_after: body.after,
            reason: AdjustmentReason::from_number(a.reason).ok_or_else(|| damaged("not a reason"))?,
            note: a.note,
            by: a.by,
            at_ms,
        };
        Ok((moved, StockCause::Adjusted(adjustment)))
    }
}
