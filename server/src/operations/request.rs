//! Calls that are not idempotent by nature, made safe to repeat.

use super::deps::Failure;
use crate::domain::request::{KnownRequest, RequestKey};
use crate::error::{ApiError, Reason};
use crate::store::{Tx, requests};

/// Takes the request id, first of all statements: a repeat that comes at the same time waits here. `Some`: this very request was
/// answered before; give that answer again.
pub(crate) async fn begin(
    tx: &mut Tx,
    key: &RequestKey,
    resource_id: &str,
    now_ms: i64,
) -> Result<Option<KnownRequest>, Failure> {
    let Some(known) = requests::take(tx, key, resource_id, now_ms).await? else { return Ok(None) };
    if known.fingerprint == key.fingerprint {
        return Ok(Some(known));
    }
    let mut error = ApiError::new(
        Reason::IdempotencyKeyReused,
        "request_id: was used before with another request; what that one did stands",
    )
    .with("key", key.request_id);
    if !known.resource_id.is_empty() {
        error = error.with("resource_id", known.resource_id);
    }
    Err(error.into())
}
