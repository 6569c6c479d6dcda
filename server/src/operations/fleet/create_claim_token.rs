//! Makes a single-use permission to enrol.

use super::{expect_in_use, expect_real, machine_not_found, resource};
use crate::domain::fleet::{ClaimToken, NewClaim};
use crate::domain::request::RequestKey;
use crate::domain::text::Text;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::operations::request::begin;
use crate::store::fleet::{claims, machines};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A new claim token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MadeClaim {
    /// The token itself, shown once; `None` when a request was repeated.
    pub shown: Option<String>,
    /// What is known of it.
    pub claim: ClaimToken,
}

/// Makes a claim token. Only its keyed hash is kept.
///
/// # Errors
/// MACHINE_NOT_FOUND, MACHINE_ARCHIVED, MACHINE_KIND_MISMATCH, IDEMPOTENCY_KEY_REUSED.
pub async fn create_claim_token(deps: &Deps, key: RequestKey, new: NewClaim) -> Result<MadeClaim, ApiError> {
    let now_ms = deps.context.now_ms();
    let token = URL_SAFE_NO_PAD.encode(deps.context.random_bytes::<32>());
    let claim = ClaimToken {
        id: deps.context.new_id(),
        token_hash: deps.key.hash(token.as_bytes()),
        machine: new.machine,
        serial: new.serial.map(Text::into_string).unwrap_or_default(),
        name: new.name.into_string(),
        group: new.group.map(|g| g.as_str().to_owned()).unwrap_or_default(),
        created_by: new.by,
        created_at_ms: now_ms,
        expires_at_ms: now_ms.saturating_add(new.ttl_ms.get()),
        used_at_ms: 0,
        credential: None,
        revoked_at_ms: 0,
    };
    let (repeated, claim) = write(deps, "create_claim_token", (key, claim), move |tx, (key, claim)| {
        Box::pin(async move {
            if let Some(known) = begin(tx, key, &claim.id.to_string(), now_ms).await? {
                let before = claims::find(tx, resource(&known.resource_id)?).await?;
                let gone =
                    || ApiError::new(Reason::ClaimTokenNotFound, "the claim token is not kept any more");
                return Ok((true, before.ok_or_else(gone)?));
            }
            if let Some(machine) = claim.machine {
                let found = machines::find(tx, machine).await?.ok_or_else(|| machine_not_found(machine))?;
                expect_in_use(expect_real(found)?)?;
            }
            claims::insert(tx, claim).await?;
            Ok((false, claim.clone()))
        })
    })
    .await?;
    Ok(MadeClaim { shown: (!repeated).then_some(token), claim })
}
