//! Tokens whose signature has been checked before: Ed25519 costs more processor time than the rest of a call's entry.

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::Person;
use crate::limits::BoundedMap;

/// What a token with a good signature says. Its times are checked at every use, against the clock of that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    /// Whom it names.
    pub(super) person: Person,
    /// From when on it is over, seconds since the Unix epoch.
    pub(super) exp_s: u64,
    /// From when on it holds, seconds since the Unix epoch.
    pub(super) nbf_s: u64,
}

/// Good tokens by the SHA-256 of all their bytes, signature included: a token that differs in one bit is another one, and
/// no bearer's secret is kept. Only good ones are kept: a stranger's guesses must not push out callers.
pub(super) struct VerifiedTokens {
    entries: Mutex<BoundedMap<[u8; 32], Arc<Verified>>>,
}

impl VerifiedTokens {
    /// Keeps at most `bound` tokens (at least two).
    pub(super) fn new(bound: usize) -> Self {
        Self { entries: Mutex::new(BoundedMap::new(bound)) }
    }

    /// What this token says: as kept, or as `check` finds.
    pub(super) fn find_or<E>(
        &self,
        token: &str,
        check: impl FnOnce() -> Result<Verified, E>,
    ) -> Result<Arc<Verified>, E> {
        let name: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.entries().get_mut(&name) {
            return Ok(known.clone());
        }
        let verified = Arc::new(check()?);
        self.entries().insert(name, verified.clone());
        Ok(verified)
    }

    /// Whether the token is kept.
    pub(super) fn has_seen(&self, token: &str) -> bool {
        let name: [u8; 32] = Sha256::digest(token).into();
        self.entries().get_mut(&name).is_some()
    }

    /// Forgets a token.
    pub(super) fn forget(&self, token: &str) {
        let name: [u8; 32] = Sha256::digest(token).into();
        self.entries().remove(&name);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, BoundedMap<[u8; 32], Arc<Verified>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
