//! Machine credentials: what the store keeps of one, and the seam through which it is asked.

use std::{future::Future, pin::Pin};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::error::ApiError;

/// A boxed future, so that the seam can be a `dyn` one.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes of a machine's secret; anything else is refused at Enroll.
pub const SECRET_BYTES: usize = 32;

/// What the store keeps of a machine's credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Its name.
    pub credential_id: Uuid,
    /// Whose it is.
    pub machine_id: Uuid,
    /// [`SecretKey::hash`] of the secret: never the secret.
    pub secret_hash: [u8; 32],
    /// What it may still do.
    pub state: CredentialState,
    /// When it was last used, to the minute, milliseconds since the Unix epoch; 0: never.
    pub last_used_ms: i64,
}

/// What a credential may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialState {
    /// Everything a machine may.
    Active,
    /// Upload only until the drain ends, then nothing.
    UploadOnly {
        /// When the drain ends, milliseconds since the Unix epoch.
        drain_until_ms: i64,
    },
    /// Nothing.
    Revoked,
}

/// A use within this of the last one noted is not noted, milliseconds.
pub const USE_NOTED_EVERY_MS: i64 = 60_000;

/// Where credentials are looked up; the store is one.
pub trait CredentialSource: Send + Sync + 'static {
    /// The credential of that name. `Ok(None)`: there is none.
    fn find_credential(
        &self,
        credential_id: Uuid,
    ) -> BoxFuture<'_, Result<Option<CredentialRecord>, ApiError>>;

    /// Those of these (at most [`MAX_CREDENTIALS_ASKED`]) that exist. A source that can asks for all in one statement.
    fn find_credentials(&self, ids: Vec<Uuid>) -> BoxFuture<'_, Result<Vec<CredentialRecord>, ApiError>> {
        Box::pin(async move {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.extend(self.find_credential(id).await?);
            }
            Ok(found)
        })
    }

    /// Notes that these (at most [`MAX_CREDENTIALS_ASKED`]) were used just now. Nothing depends on it but what operators see.
    fn note_used(&self, ids: Vec<Uuid>, now_ms: i64) -> BoxFuture<'_, Result<(), ApiError>> {
        let _ = (ids, now_ms);
        Box::pin(async { Ok(()) })
    }
}

/// Most credentials asked for at once, or whose use is noted at once.
pub const MAX_CREDENTIALS_ASKED: usize = 500;

/// The key under which secrets are hashed; never leaves the server.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Takes the key's bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 of a machine's secret or of a claim token. A password hash would cost 10,000 reconnecting machines
    /// minutes of CPU and protect nothing: what is hashed here has 256 random bits.
    pub fn hash(&self, secret: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(secret);
        mac.finalize().into_bytes().into()
    }

    /// Whether a secret is the one that was hashed; takes as long for a near miss as for a far one.
    pub fn matches(&self, secret: &[u8], hash: &[u8; 32]) -> bool {
        self.hash(secret).ct_eq(hash).into()
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}
