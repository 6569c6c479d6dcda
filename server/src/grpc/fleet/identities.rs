//! Claim tokens and credentials.

use crate::domain::fleet::{
    ClaimState, ClaimToken, Credential, CredentialState, MAX_CLAIM_TTL_MS, MAX_DRAIN_MS, NewClaim, Revocation,
};
use crate::domain::ids::{CredentialId, MachineId};
use crate::domain::text::Within;
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::grpc::request::{person, request_key};
use crate::operations::{Deps, fleet};
use tonic::Request;
use uuid::Uuid;
use vendfleet_proto::v1;

const DEFAULT_CLAIM_TTL_MS: i64 = 86_400_000;
const DEFAULT_DRAIN_MS: i64 = 604_800_000;

pub(super) async fn create_claim_token(
    deps: &Deps,
    request: Request<v1::CreateClaimTokenRequest>,
) -> Result<v1::CreateClaimTokenResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "CreateClaimToken", &request_id, &message);
    let new = new_claim(&mut fields, &message, caller.subject);
    let (key, new) = fields.finish(key.zip(new))?;
    let made = fleet::create_claim_token(deps, key, new).await?;
    let now_ms = deps.context.now_ms();
    Ok(v1::CreateClaimTokenResponse {
        claim_token: made.shown.unwrap_or_default(),
        info: Some(claim_out(made.claim, now_ms)),
    })
}

pub(super) async fn list_claim_tokens(
    deps: &Deps,
    request: Request<v1::ListClaimTokensRequest>,
) -> Result<v1::ListClaimTokensResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListClaimTokens", &message);
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let state = fields.member("state", message.state, |n| {
        Some(match v1::ClaimTokenState::try_from(n).ok()? {
            v1::ClaimTokenState::Unspecified => return None,
            v1::ClaimTokenState::Open => ClaimState::Open,
            v1::ClaimTokenState::Used => ClaimState::Used,
            v1::ClaimTokenState::Expired => ClaimState::Expired,
            v1::ClaimTokenState::Revoked => ClaimState::Revoked,
        })
    });
    let page = list.request::<Uuid>(&mut fields, size, &token, (50, 500))?;
    let (machine, state) = fields.finish(machine.zip(state))?;
    let page = fleet::list_claim_tokens(deps, machine.map(MachineId), state, &page).await?;
    let next_page_token = list.token(&page);
    let now_ms = deps.context.now_ms();
    let claim_tokens = page.items.into_iter().map(|claim| claim_out(claim, now_ms)).collect();
    Ok(v1::ListClaimTokensResponse { claim_tokens, next_page_token })
}

pub(super) async fn revoke_claim_token(
    deps: &Deps,
    request: Request<v1::RevokeClaimTokenRequest>,
) -> Result<v1::RevokeClaimTokenResponse, ApiError> {
    let mut fields = Fields::default();
    let id = fields.uuid("claim_token_id", &request.get_ref().claim_token_id);
    let claim = fleet::revoke_claim_token(deps, fields.finish(id)?).await?;
    Ok(v1::RevokeClaimTokenResponse { claim_token: Some(claim_out(claim, deps.context.now_ms())) })
}

pub(super) async fn list_credentials(
    deps: &Deps,
    request: Request<v1::ListCredentialsRequest>,
) -> Result<v1::ListCredentialsResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListCredentials", &message);
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let state = fields.member("state", message.state, |n| CredentialState::from_number(i64::from(n)));
    let page = list.request::<Uuid>(&mut fields, size, &token, (50, 500))?;
    let (machine, state) = fields.finish(machine.zip(state))?;
    let page = fleet::list_credentials(deps, machine.map(MachineId), state, &page).await?;
    let next_page_token = list.token(&page);
    let now_ms = deps.context.now_ms();
    let credentials = page.items.into_iter().map(|(c, unsent)| credential_out(c, unsent, now_ms)).collect();
    Ok(v1::ListCredentialsResponse { credentials, next_page_token })
}

pub(super) async fn revoke_credential(
    deps: &Deps,
    request: Request<v1::RevokeCredentialRequest>,
) -> Result<v1::RevokeCredentialResponse, ApiError> {
    let message = request.get_ref();
    let mut fields = Fields::default();
    let id = fields.uuid("credential_id", &message.credential_id).map(CredentialId);
    let how = revocation(&mut fields, message);
    let (id, how) = fields.finish(id.zip(how))?;
    let (credential, unsent) = fleet::revoke_credential(deps, id, how).await?;
    let credential = credential_out(credential, unsent, deps.context.now_ms());
    Ok(v1::RevokeCredentialResponse { credential: Some(credential) })
}

fn revocation(fields: &mut Fields, message: &v1::RevokeCredentialRequest) -> Option<Revocation> {
    if message.hard {
        if message.drain_ms != 0 {
            fields.broke("drain_ms", "must be zero when hard");
            return None;
        }
        return Some(Revocation::Hard { confirm_unsent: message.confirm_unsent });
    }
    if message.confirm_unsent.is_some() {
        fields.broke("confirm_unsent", "only when hard");
    }
    let drain: Within<0, MAX_DRAIN_MS> = fields.within("drain_ms", message.drain_ms)?;
    let drain_ms = if drain.get() == 0 { DEFAULT_DRAIN_MS } else { drain.get() };
    Some(Revocation::Drain { drain_ms })
}

fn new_claim(fields: &mut Fields, message: &v1::CreateClaimTokenRequest, by: String) -> Option<NewClaim> {
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let serial = fields.optional_text("serial", &message.serial);
    let name = fields.text("name", &message.name);
    let group = fields.optional_label("group", &message.group);
    let ttl_ms = if message.ttl_ms == 0 { DEFAULT_CLAIM_TTL_MS } else { message.ttl_ms };
    let ttl_ms =
        fields.take("ttl_ms", Within::parse(ttl_ms).map_err(|_| format!("must be 0 to {MAX_CLAIM_TTL_MS}")));
    if !message.machine_id.is_empty() {
        for (field, value) in [("name", &message.name), ("group", &message.group)] {
            if !value.is_empty() {
                fields.broke(field, "only without machine_id");
            }
        }
    }
    Some(NewClaim {
        machine: machine?.map(MachineId),
        serial: serial?,
        name: name?,
        group: group?,
        ttl_ms: ttl_ms?,
        by,
    })
}

fn claim_out(claim: ClaimToken, now_ms: i64) -> v1::ClaimToken {
    let state = match claim.state(now_ms) {
        ClaimState::Open => v1::ClaimTokenState::Open,
        ClaimState::Used => v1::ClaimTokenState::Used,
        ClaimState::Expired => v1::ClaimTokenState::Expired,
        ClaimState::Revoked => v1::ClaimTokenState::Revoked,
    };
    v1::ClaimToken {
        claim_token_id: claim.id.to_string(),
        state: state.into(),
        machine_id: claim.machine.map(|m| m.to_string()).unwrap_or_default(),
        serial: claim.serial,
        name: claim.name,
        group: claim.group,
        credential_id: claim.credential.map(|c| c.to_string()).unwrap_or_default(),
        created_by: claim.created_by,
        create_time_ms: claim.created_at_ms,
        expire_time_ms: claim.expires_at_ms,
        use_time_ms: claim.used_at_ms,
    }
}

fn credential_out(credential: Credential, unsent_records: u64, now_ms: i64) -> v1::Credential {
    v1::Credential {
        credential_id: credential.id.to_string(),
        machine_id: credential.machine.to_string(),
        state: credential.state(now_ms) as i32,
        claim_token_id: credential.claim_token.to_string(),
        certificate_sha256: credential.certificate_sha256.map(hex::encode).unwrap_or_default(),
        certificate_expire_time_ms: credential.certificate_expires_ms,
        serial: credential.serial,
        create_time_ms: credential.created_at_ms,
        last_use_time_ms: credential.last_used_ms,
        revoke_time_ms: credential.revoked_at_ms,
        drain_end_time_ms: credential.drain_until_ms,
        unsent_records,
    }
}
