//! Claim tokens: single-use permissions to enrol.

use crate::domain::fleet::Serial;
use crate::domain::ids::{CredentialId, MachineId};
use crate::domain::text::{Label, Text, Within};
use uuid::Uuid;

/// Longest life of a token an operator makes: 30 days, ms.
pub const MAX_CLAIM_TTL_MS: i64 = 2_592_000_000;
/// Life of a token made by a split, ms: ten years, since the device it is for may be off for a long time, and the token
/// is never shown to a person.
pub const REENROLL_TTL_MS: i64 = 315_576_000_000;

/// A token to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewClaim {
    /// The machine the device becomes; `None`: a new one.
    pub machine: Option<MachineId>,
    /// The serial the device must have.
    pub serial: Option<Serial>,
    /// Name of a new machine; empty: the device's serial.
    pub name: Text<0, 64>,
    /// Group of a new machine.
    pub group: Option<Label>,
    /// How long it can be used.
    pub ttl_ms: Within<1, MAX_CLAIM_TTL_MS>,
    /// Who makes it.
    pub by: String,
}

/// How far a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimState {
    /// Can be used.
    Open,
    /// A device enrolled with it.
    Used,
    /// Its time ran out unused.
    Expired,
    /// Taken back unused.
    Revoked,
}

/// A token as it is kept: never the token itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimToken {
    /// Its name; not secret.
    pub id: Uuid,
    /// Keyed hash of the token.
    pub token_hash: [u8; 32],
    /// The machine the device becomes.
    pub machine: Option<MachineId>,
    /// The serial the device must have; empty: any.
    pub serial: String,
    /// Name of a new machine.
    pub name: String,
    /// Group of a new machine.
    pub group: String,
    /// Who made it; `split` for one made by a split.
    pub created_by: String,
    /// When it was made, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When it stops working.
    pub expires_at_ms: i64,
    /// When it was used; 0 until then.
    pub used_at_ms: i64,
    /// The credential it turned into.
    pub credential: Option<CredentialId>,
    /// When it was taken back; 0: not.
    pub revoked_at_ms: i64,
}

impl ClaimToken {
    /// How far it is at this time.
    pub fn state(&self, now_ms: i64) -> ClaimState {
        if self.used_at_ms != 0 {
            ClaimState::Used
        } else if self.revoked_at_ms != 0 {
            ClaimState::Revoked
        } else if now_ms >= self.expires_at_ms {
            ClaimState::Expired
        } else {
            ClaimState::Open
        }
    }
}

/// What to do with a device that shows a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimVerdict {
    /// Give it an identity.
    Enrol,
    /// It has one already, from the same secret: give the same answer. However late: a lost answer kills no machine.
    Repeat(CredentialId),
    /// Another secret used it.
    Used,
    /// Taken back.
    Revoked,
    /// Its time is over.
    Expired,
    /// Bound to another serial.
    WrongSerial,
}

/// Judges a token shown by a device with this serial. `same_secret`: the device's secret is the one of the token's
/// credential.
pub fn judge_claim(token: &ClaimToken, serial: &str, same_secret: bool, now_ms: i64) -> ClaimVerdict {
    match (token.state(now_ms), token.credential) {
        (ClaimState::Used, Some(credential)) if same_secret => ClaimVerdict::Repeat(credential),
        (ClaimState::Used, _) => ClaimVerdict::Used,
        (ClaimState::Revoked, _) => ClaimVerdict::Revoked,
        (ClaimState::Expired, _) => ClaimVerdict::Expired,
        (ClaimState::Open, _) if !token.serial.is_empty() && token.serial != serial => {
            ClaimVerdict::WrongSerial
        }
        (ClaimState::Open, _) => ClaimVerdict::Enrol,
    }
}
