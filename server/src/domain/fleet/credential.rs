//! What devices prove themselves with, and how it ends.

use crate::domain::ids::{CredentialId, MachineId};
use uuid::Uuid;
use vend_core::id::Epoch;

/// Longest drain: 90 days, ms.
pub const MAX_DRAIN_MS: i64 = 7_776_000_000;

/// How far a credential is. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CredentialState {
    /// Good for everything a machine does.
    Active = 1,
    /// Good only to upload into quarantine, until the drain ends.
    UploadOnly = 2,
    /// Good for nothing.
    Revoked = 3,
}

impl CredentialState {
    /// The state of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Active, Self::UploadOnly, Self::Revoked].into_iter().find(|state| *state as i64 == number)
    }
}

/// A credential as it is kept: never the secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// Its public name.
    pub id: CredentialId,
    /// The machine it speaks for.
    pub machine: MachineId,
    /// Keyed hash of the device's secret.
    pub secret_hash: [u8; 32],
    /// As stored; [`Credential::state`] knows about time.
    pub stored_state: CredentialState,
    /// The claim token it came from.
    pub claim_token: Uuid,
    /// SHA-256 of its client certificate.
    pub certificate_sha256: Option<[u8; 32]>,
    /// The certificate itself, DER; the answer to a repeated Enroll.
    pub certificate_der: Vec<u8>,
    /// When that certificate ends, ms since the Unix epoch; 0: none.
    pub certificate_expires_ms: i64,
    /// Serial of the device that enrolled.
    pub serial: String,
    /// When it was made, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When it was last used, to the minute; 0: never.
    pub last_used_ms: i64,
    /// When it became upload-only or revoked; 0 while active.
    pub revoked_at_ms: i64,
    /// When uploading ends; 0 unless upload-only or drained.
    pub drain_until_ms: i64,
    /// What the device was known to hold when it was revoked.
    pub unsent_at_revoke: Option<Unsent>,
}

impl Credential {
    /// How far it is at this time: a drain ends by itself.
    pub fn state(&self, now_ms: i64) -> CredentialState {
        match self.stored_state {
            CredentialState::UploadOnly if now_ms >= self.drain_until_ms => CredentialState::Revoked,
            state => state,
        }
    }
}

/// Records a device is known to hold and the server does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsent {
    /// Their epoch.
    pub epoch: Epoch,
    /// The last seq the device said it had allotted.
    pub last_seq: u64,
    /// Received through, main chain and quarantine alike.
    pub received_through: u64,
}

impl Unsent {
    /// How many.
    pub fn records(&self) -> u64 {
        self.last_seq.saturating_sub(self.received_through)
    }
}

/// How an operator ends a device's access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// It may still upload into quarantine for so long.
    Drain {
        /// Milliseconds from now, above zero, at most [`MAX_DRAIN_MS`].
        drain_ms: i64,
    },
    /// At once.
    Hard {
        /// The number of unsent records the operator knows would be lost.
        confirm_unsent: Option<u64>,
    },
}

/// Why a credential was not revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevokeRefusal {
    /// Records known unsent would be lost, and the operator did not confirm this number.
    Unsent(Unsent),
}

/// The credential after a revocation; unchanged when there is nothing left to do.
pub fn revoke(
    credential: &Credential,
    how: Revocation,
    unsent: Option<Unsent>,
    now_ms: i64,
) -> Result<Credential, RevokeRefusal> {
    let mut after = credential.clone();
    match (credential.state(now_ms), how) {
        (CredentialState::Revoked, _) | (CredentialState::UploadOnly, Revocation::Drain { .. }) => {}
        (CredentialState::Active, Revocation::Drain { drain_ms }) => {
            after.stored_state = CredentialState::UploadOnly;
            after.revoked_at_ms = now_ms;
            after.drain_until_ms = now_ms.saturating_add(drain_ms);
            after.unsent_at_revoke = unsent;
        }
        (CredentialState::Active | CredentialState::UploadOnly, Revocation::Hard { confirm_unsent }) => {
            if let Some(unsent) = unsent.filter(|u| u.records() > 0)
                && confirm_unsent != Some(unsent.records())
            {
                return Err(RevokeRefusal::Unsent(unsent));
            }
            after.stored_state = CredentialState::Revoked;
            if after.revoked_at_ms == 0 {
                after.revoked_at_ms = now_ms;
            }
            after.unsent_at_revoke = unsent;
        }
    }
    Ok(after)
}
