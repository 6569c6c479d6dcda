//! An offered config, checked before the machine sees it: its hash, then its shape.

use crate::transport::OfferedConfig;
use vend_core::config::Assignment;
use vendfleet_wire::BodyError;

/// Why an offered config does not reach the machine.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The bytes are not the ones that were meant.
    #[error("config.sha256 is {said}, the bytes hash to {found}")]
    Hash {
        /// As sent.
        said: String,
        /// As computed.
        found: String,
    },
    /// The bytes are no config.
    #[error("config: {0}")]
    Unreadable(#[from] BodyError),
}

/// The assignment, when its bytes are what they say they are.
pub(super) fn read(offered: &OfferedConfig) -> Result<Assignment, ConfigError> {
    let sha256 = vendfleet_wire::sha256(&offered.bytes);
    if offered.sha256 != sha256 {
        return Err(ConfigError::Hash { said: hex::encode(&offered.sha256), found: hex::encode(sha256) });
    }
    Ok(Assignment { number: offered.number, sha256, config: vendfleet_wire::config::decode(&offered.bytes)? })
}
