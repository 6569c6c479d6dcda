//! The claim token of a device that leaves a cloned machine: derived, so that nothing secret is stored and every Sync of the
//! device is told the same one.

use crate::auth::SecretKey;
use crate::domain::ids::MachineId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vend_core::id::Epoch;

/// The token with which the device that speaks in `epoch` becomes `machine`. Enroll knows it by its hash, like any other.
#[must_use]
pub fn reenroll_token(key: &SecretKey, machine: MachineId, epoch: Epoch) -> String {
    let name = [b"vendfleet.reenroll".as_slice(), machine.as_bytes(), &epoch.0].concat();
    URL_SAFE_NO_PAD.encode(key.hash(&name))
}
