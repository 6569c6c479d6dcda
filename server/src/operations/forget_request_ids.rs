//! Forgets request ids whose time is over, a bounded batch at a time.

use crate::domain::request::REQUEST_ID_KEPT_MS;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::store::requests;

/// Rows deleted in one commit.
const ROWS_PER_STEP: i64 = 1_000;

/// One step; gives how many went. Call again at once while it gives as many as a step takes at most.
///
/// # Errors
/// The database can't be written.
pub async fn forget_request_ids(deps: &Deps) -> Result<u64, ApiError> {
    let before_ms = deps.context.now_ms().saturating_sub(REQUEST_ID_KEPT_MS);
    let forgotten = write(deps, "forget_request_ids", (), move |tx, ()| {
        Box::pin(async move { Ok(requests::forget_before(tx, before_ms, ROWS_PER_STEP).await?) })
    });
    Ok(forgotten.await?)
}
