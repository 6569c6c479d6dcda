//! Takes a claim token back.

use crate::domain::fleet::ClaimToken;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::store::fleet::claims;
use uuid::Uuid;

/// Revokes a claim token; one that was used or revoked stays as it is.
///
/// # Errors
/// CLAIM_TOKEN_NOT_FOUND.
pub async fn revoke_claim_token(deps: &Deps, id: Uuid) -> Result<ClaimToken, ApiError> {
    let now_ms = deps.context.now_ms();
    let revoked = write(deps, "revoke_claim_token", (), move |tx, ()| {
        Box::pin(async move {
            claims::revoke(tx, id, now_ms).await?;
            let not_found = || {
                ApiError::new(Reason::ClaimTokenNotFound, "claim_token_id: there is no such claim token")
                    .with("claim_token_id", id)
            };
            Ok(claims::find(tx, id).await?.ok_or_else(not_found)?)
        })
    });
    Ok(revoked.await?)
}
