//! The token of a session: proof that a choice is this session's, and its machine, which a choice then need not look up.
//!
//! Nothing of it is stored, and it is the same whenever it is asked for.

use crate::auth::SecretKey;
use crate::domain::ids::{MachineId, SessionId};
use crate::domain::pool::MachineKind;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// The kind of the machine, its id, and an HMAC-SHA-256 over the session and both.
const BYTES: usize = PLACE + 32;
const PLACE: usize = 1 + 16;

/// Where a session is; neither ever changes.
pub(super) type Place = (MachineId, MachineKind);

pub(super) fn token(key: &SecretKey, session: SessionId, (machine, kind): Place) -> String {
    let mut bytes = [0; BYTES];
    bytes[0] = kind as u8;
    bytes[1..PLACE].copy_from_slice(machine.as_bytes());
    let proof = key.hash(&proven(session, &bytes[..PLACE]));
    bytes[PLACE..].copy_from_slice(&proof);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Where the session is, if the token is its own; takes as long for a near miss as for a far one.
pub(super) fn place(key: &SecretKey, session: SessionId, token: &str) -> Option<Place> {
    let bytes: [u8; BYTES] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
    let (place, proof) = bytes.split_first_chunk::<PLACE>()?;
    if !key.matches(&proven(session, place), proof.first_chunk()?) {
        return None;
    }
    let (kind, machine) = place.split_first()?;
    Some((MachineId(Uuid::from_slice(machine).ok()?), MachineKind::from_number(i64::from(*kind))?))
}

fn proven(session: SessionId, place: &[u8]) -> Vec<u8> {
    [b"session".as_slice(), session.as_bytes(), place].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_says_where_its_session_is_and_no_other_is_believed() {
        let key = SecretKey::new([7; 32]);
        let (session, machine) = (SessionId(Uuid::from_u128(1)), MachineId(Uuid::from_u128(2)));
        for kind in [MachineKind::Virtual, MachineKind::Real] {
            let own = token(&key, session, (machine, kind));
            assert_eq!(place(&key, session, &own), Some((machine, kind)));
            assert_eq!(place(&key, SessionId(Uuid::from_u128(3)), &own), None, "of another session");
            assert_eq!(place(&SecretKey::new([8; 32]), session, &own), None, "under another key");
            let bytes = URL_SAFE_NO_PAD.decode(&own).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(place(&key, session, &URL_SAFE_NO_PAD.encode(other)), None, "bit {bit}");
            }
            for other in ["", "x", &own[1..], &format!("{own}A")] {
                assert_eq!(place(&key, session, other), None, "{other}");
            }
        }
    }
}
