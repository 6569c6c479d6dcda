//! Trades a claim token and a secret the device made itself for an identity.

use super::{expect_in_use, expect_real, group_config, lock_machine, name_serial_holder};
use crate::auth::SECRET_BYTES;
use crate::domain::fleet::{
    ClaimToken, ClaimVerdict, Credential, CredentialState, DesiredCause, Machine, MachineKind, Revocation,
    judge_claim, revoke,
};
use crate::domain::ids::{CredentialId, MachineId};
use crate::domain::text::Text;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{Failure, SignedCertificate, write};
use crate::store::Tx;
use crate::store::fleet::{claims, configs, credentials, machines};
use sha2::{Digest as _, Sha256};

/// What a device brings.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEnrolment {
    /// The claim token, as an operator was shown it.
    pub claim_token: Text<1, 128>,
    /// Random bytes the device made.
    pub secret: [u8; SECRET_BYTES],
    /// Hardware serial; empty: it has none.
    pub serial: Text<0, 64>,
    /// Hardware model.
    pub model: Text<0, 64>,
    /// PKCS#10 certificate request, DER.
    pub csr_der: Option<Vec<u8>>,
}

/// A device's identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolled {
    /// The machine it is.
    pub machine: MachineId,
    /// What its secret is called.
    pub credential: CredentialId,
    /// Its certificate, DER; empty when it asked for none.
    pub certificate_der: Vec<u8>,
    /// The CA that signs server and machines, PEM.
    pub ca_pem: String,
    /// Server time, ms since the Unix epoch.
    pub server_time_ms: i64,
}

/// Enrols a device. The same token with the same secret gives the same answer, however late.
///
/// # Errors
/// CLAIM_TOKEN_INVALID, CLAIM_TOKEN_USED, CLAIM_TOKEN_EXPIRED, SERIAL_MISMATCH, SERIAL_EXISTS, MACHINE_ARCHIVED, INVALID_FIELD.
pub async fn enroll(deps: &Deps, new: NewEnrolment) -> Result<Enrolled, ApiError> {
    deps.store.expect_room()?;
    let now_ms = deps.context.now_ms();
    let hash = deps.key.hash(new.claim_token.as_str().as_bytes());
    let claim = claims::find_by_hash(&mut deps.store.read().await?, &hash).await?.ok_or_else(invalid)?;
    let machine = claim.machine.unwrap_or(MachineId(deps.context.new_id()));
    let mut credential = Credential {
        id: CredentialId(deps.context.new_id()),
        machine,
        secret_hash: deps.key.hash(&new.secret),
        stored_state: CredentialState::Active,
        claim_token: claim.id,
        certificate_sha256: None,
        certificate_der: Vec::new(),
        certificate_expires_ms: 0,
        serial: new.serial.as_str().to_owned(),
        created_at_ms: now_ms,
        last_used_ms: 0,
        revoked_at_ms: 0,
        drain_until_ms: 0,
        unsent_at_revoke: None,
    };
    if let Some(csr) = &new.csr_der {
        // Signed before the commit and thrown away if that fails: what was never sent identifies nobody.
        let signed = deps.signer.sign(csr, machine, credential.id);
        let SignedCertificate { der, expires_ms } =
            signed.map_err(|rule| ApiError::invalid_field("csr_der", rule))?;
        credential.certificate_sha256 = Some(Sha256::digest(&der).into());
        credential.certificate_der = der;
        credential.certificate_expires_ms = expires_ms;
    }
    let serial = new.serial.as_str().to_owned();
    let drain_ms = deps.settings.swap_drain_ms;
    let input = Enrolment { credential, model: new.model.into_string(), drain_ms, now_ms };
    let enrolled = write(deps, "enroll", input, |tx, input| Box::pin(trade(tx, input))).await;
    match enrolled {
        Ok(credential) => Ok(Enrolled {
            machine: credential.machine,
            credential: credential.id,
            certificate_der: credential.certificate_der,
            ca_pem: deps.signer.ca_pem(),
            server_time_ms: now_ms,
        }),
        Err(error) => Err(name_serial_holder(deps, &serial, error).await),
    }
}

struct Enrolment {
    credential: Credential,
    model: String,
    drain_ms: i64,
    now_ms: i64,
}

fn invalid() -> ApiError {
    ApiError::new(Reason::ClaimTokenInvalid, "claim_token: is none, or was revoked")
}

async fn trade(tx: &mut Tx, input: &Enrolment) -> Result<Credential, Failure> {
    let Enrolment { credential, now_ms, .. } = input;
    let unlocked = claims::find(tx, credential.claim_token).await?.ok_or_else(invalid)?;
    // A machine's hot row is locked before anything else of it.
    let bound = match unlocked.machine {
        Some(machine) => Some(lock_machine(tx, machine).await?),
        None => None,
    };
    let claim = claims::lock(tx, credential.claim_token).await?.ok_or_else(invalid)?;
    let before = match claim.credential {
        Some(id) => credentials::find(tx, id).await?,
        None => None,
    };
    let same_secret = before.as_ref().is_some_and(|c| c.secret_hash == credential.secret_hash);
    match judge_claim(&claim, &credential.serial, same_secret, *now_ms) {
        ClaimVerdict::Enrol => {}
        ClaimVerdict::Repeat(_) => return Ok(before.ok_or_else(invalid)?),
        ClaimVerdict::Revoked => return Err(invalid().into()),
        ClaimVerdict::Used => {
            let text = "claim_token: another secret has used it";
            return Err(ApiError::new(Reason::ClaimTokenUsed, text).into());
        }
        ClaimVerdict::Expired => {
            let error = ApiError::new(Reason::ClaimTokenExpired, "claim_token: its time is over");
            return Err(error.with("expired_time_ms", claim.expires_at_ms).into());
        }
        ClaimVerdict::WrongSerial => {
            let text = "serial: the claim token is bound to another one";
            return Err(ApiError::new(Reason::SerialMismatch, text).into());
        }
    }
    match bound {
        Some(detail) => {
            let machine = expect_in_use(expect_real(detail)?)?.machine;
            swap_board(tx, machine, input).await?;
        }
        None => make_machine(tx, &claim, input).await?,
    }
    credentials::insert(tx, credential).await?;
    claims::mark_used(tx, claim.id, credential.machine, credential.id, *now_ms).await?;
    Ok(credential.clone())
}

/// The machine goes on with another device: whatever spoke for it before may only upload from now on.
async fn swap_board(tx: &mut Tx, mut machine: Machine, input: &Enrolment) -> Result<(), Failure> {
    let Enrolment { credential, model, drain_ms, now_ms } = input;
    let unsent = credentials::unsent(tx, machine.id).await?;
    for old in credentials::standing(tx, machine.id, *now_ms).await? {
        if let Ok(after) = revoke(&old, Revocation::Drain { drain_ms: *drain_ms }, unsent, *now_ms) {
            credentials::update_end(tx, &after).await?;
        }
    }
    if machine.serial.is_empty() && machines::find_by_serial(tx, &credential.serial).await?.is_none() {
        machine.serial.clone_from(&credential.serial);
    }
    machine.model.clone_from(model);
    machines::update(tx, &machine).await?;
    Ok(())
}

async fn make_machine(tx: &mut Tx, claim: &ClaimToken, input: &Enrolment) -> Result<(), Failure> {
    let Enrolment { credential, model, now_ms, .. } = input;
    let id = credential.machine;
    let name = [&claim.name, &credential.serial].into_iter().find(|name| !name.is_empty());
    let machine = Machine {
        id,
        kind: MachineKind::Real,
        // The end of a UUIDv7 is its random part.
        name: name.cloned().unwrap_or_else(|| format!("machine {}", &id.to_string()[28..])),
        location: String::new(),
        group: claim.group.clone(),
        tags: Vec::new(),
        serial: credential.serial.clone(),
        model: model.clone(),
        virtual_delay_ms: 0,
        version: 1,
        created_at_ms: *now_ms,
        updated_at_ms: *now_ms,
        archived_at_ms: 0,
    };
    machines::insert(tx, &machine).await?;
    if let Some(config) = group_config(tx, &machine.group).await? {
        configs::assign(tx, &[id], config, DesiredCause::GroupMove, *now_ms).await?;
    }
    Ok(())
}
