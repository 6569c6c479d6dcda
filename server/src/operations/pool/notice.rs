//! What the gateway tells by itself of a purchase's payment: a reason to ask.

use super::Pool;
use crate::domain::ids::PurchaseId;
use crate::error::ApiError;
use crate::store::{End, pool as store};
use std::time::Duration;

impl Pool {
    /// The gateway has news of this purchase's payment: a worker asks at once, or, where one may be asking just now, after
    /// `asks_for` at the latest. Whether there is such a purchase.
    ///
    /// # Errors
    /// UNAVAILABLE, LOCK_CONFLICT.
    pub async fn notice(&self, purchase: PurchaseId, asks_for: Duration) -> Result<bool, ApiError> {
        let asks_for_ms = i64::try_from(asks_for.as_millis()).unwrap_or(i64::MAX);
        let found = self
            .store
            .run_tx("notice_purchase", self.context.clone(), move |tx, context| {
                Box::pin(async move {
                    let found = store::notice(tx, purchase, asks_for_ms, context.now_ms()).await?;
                    Ok(if found == Some(true) { End::Commit(found) } else { End::RollBack(found) })
                })
            })
            .await?;
        if found == Some(true) {
            self.wake_workers();
        }
        Ok(found.is_some())
    }
}
