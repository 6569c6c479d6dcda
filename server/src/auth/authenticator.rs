//! From what a call carries to who is calling.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{
    Caller, CredentialRecord, CredentialSource, CredentialState, MAX_CREDENTIALS_ASKED, MachineCaller,
    SECRET_BYTES, SecretKey, Standing, Tokens, USE_NOTED_EVERY_MS, token::unauthenticated,
};
use crate::{
    config::AuthConfig,
    context::Context,
    error::{ApiError, Reason},
    limits::BoundedMap,
};

/// Longest `authorization` header looked at, in bytes.
const MAX_AUTHORIZATION_BYTES: usize = 4_096;

/// The identity in a client certificate that this deployment's CA signed. The certificate proves the key; whether the
/// credential still stands is looked up like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The machine.
    pub machine_id: Uuid,
    /// The credential.
    pub credential_id: Uuid,
}

/// Tells who is calling.
pub struct Authenticator {
    context: Context,
    tokens: Tokens,
    secret_key: SecretKey,
    source: Arc<dyn CredentialSource>,
    cache_for: Duration,
    cache: Mutex<BoundedMap<Uuid, Cached>>,
    /// Credentials whose use is to be noted; no more of them than are cached.
    used: Mutex<HashSet<Uuid>>,
    used_entries: usize,
}

struct Cached {
    looked_up: Duration,
    record: Option<CredentialRecord>,
}

impl Authenticator {
    /// Tokens are checked here; machine credentials are asked of the source and believed for `credential_cache_ms`.
    pub fn new(
        config: &AuthConfig,
        context: Context,
        tokens: Tokens,
        secret_key: SecretKey,
        source: Arc<dyn CredentialSource>,
    ) -> Self {
        Self {
            context,
            tokens,
            secret_key,
            source,
            cache_for: Duration::from_millis(config.credential_cache_ms),
            cache: Mutex::new(BoundedMap::new(config.credential_cache_entries)),
            used: Mutex::default(),
            used_entries: config.credential_cache_entries,
        }
    }

    /// Who is calling, from the `authorization` header and the client certificate. Nothing given: [`Caller::Anonymous`].
    /// Something given and wrong: an error, also for calls that need no credential.
    pub async fn authenticate(
        &self,
        authorization: Option<&[u8]>,
        certificate: Option<CertificateIdentity>,
    ) -> Result<Caller, ApiError> {
        let Some(header) = authorization else {
            return match certificate {
                Some(identity) => self.machine_by_certificate(identity).await,
                None => Ok(Caller::Anonymous),
            };
        };
        let text = std::str::from_utf8(header).ok().filter(|text| text.len() <= MAX_AUTHORIZATION_BYTES);
        let (scheme, value) = text.and_then(|text| text.split_once(' ')).ok_or_else(|| {
            unauthenticated("`authorization` is `Bearer <token>` or `Machine <credential_id>.<secret>`")
        })?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.tokens.verify(value.trim()).map(Caller::Person);
        }
        if scheme.eq_ignore_ascii_case("machine") {
            let caller = self.machine_by_secret(value.trim()).await?;
            if certificate.is_some_and(|identity| identity.machine_id != caller.machine_id) {
                return Err(unauthenticated("the client certificate is another machine's"));
            }
            return Ok(Caller::Machine(caller));
        }
        Err(unauthenticated("`authorization` takes the schemes Bearer and Machine"))
    }

    /// Whether this was seen here before and was right then, without looking anything up. It may have fallen since.
    pub fn has_seen(&self, authorization: &[u8]) -> bool {
        let text =
            std::str::from_utf8(authorization).ok().filter(|text| text.len() <= MAX_AUTHORIZATION_BYTES);
        let Some((scheme, value)) = text.and_then(|text| text.split_once(' ')) else { return false };
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.tokens.has_seen(value.trim());
        }
        let Some((credential_id, secret)) = machine_secret(value.trim()) else { return false };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let record = cache.get_mut(&credential_id).and_then(|cached| cached.record.as_ref());
        record.is_some_and(|record| self.secret_key.matches(&secret, &record.secret_hash))
    }

    /// Those of these credentials that may do nothing any more, asked of the source and not of the cache.
    pub async fn fallen(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, ApiError> {
        let mut fallen = Vec::new();
        for ids in ids.chunks(MAX_CREDENTIALS_ASKED) {
            let records = self.source.find_credentials(ids.to_vec()).await?;
            let stands = |id: &Uuid| records.iter().any(|r| r.credential_id == *id && self.stands(r).is_ok());
            fallen.extend(ids.iter().copied().filter(|id| !stands(id)));
        }
        for id in &fallen {
            self.forget(*id);
        }
        Ok(fallen)
    }

    /// Forgets what was looked up, so that a revocation in this process acts at once.
    pub fn forget(&self, credential_id: Uuid) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(&credential_id);
    }

    async fn machine_by_secret(&self, value: &str) -> Result<MachineCaller, ApiError> {
        // One text for every way to be wrong: nobody learns which credentials exist.
        let wrong = || unauthenticated("no such machine credential, or another secret");
        let (credential_id, secret) = machine_secret(value).ok_or_else(wrong)?;
        let record = self.find(credential_id).await?.ok_or_else(wrong)?;
        if !self.secret_key.matches(&secret, &record.secret_hash) {
            return Err(wrong());
        }
        let caller = self.stands(&record)?;
        self.remember_use(&record);
        Ok(caller)
    }

    async fn machine_by_certificate(&self, identity: CertificateIdentity) -> Result<Caller, ApiError> {
        let record = self.find(identity.credential_id).await?;
        let record = record.filter(|record| record.machine_id == identity.machine_id).ok_or_else(|| {
            unauthenticated("the client certificate names no machine credential of this deployment")
        })?;
        let caller = self.stands(&record)?;
        self.remember_use(&record);
        Ok(Caller::Machine(caller))
    }

    /// Remembers a use until the next [`Authenticator::note_uses`], unless one within the minute was noted.
    fn remember_use(&self, record: &CredentialRecord) {
        if self.context.now_ms().saturating_sub(record.last_used_ms) < USE_NOTED_EVERY_MS {
            return;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < self.used_entries {
            used.insert(record.credential_id);
        }
    }

    /// Tells the source which credentials were used since it was last told. A use that can't be noted is forgotten: the
    /// next one is noted.
    pub async fn note_uses(&self) -> Result<(), ApiError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let mut ids: Vec<Uuid> = used.into_iter().collect();
        ids.sort_unstable();
        for ids in ids.chunks(MAX_CREDENTIALS_ASKED) {
            self.source.note_used(ids.to_vec(), self.context.now_ms()).await?;
        }
        Ok(())
    }

    fn stands(&self, record: &CredentialRecord) -> Result<MachineCaller, ApiError> {
        let standing = match record.state {
            CredentialState::Active => Standing::Active,
            CredentialState::UploadOnly { drain_until_ms } if self.context.now_ms() < drain_until_ms => {
                Standing::UploadOnly { drain_until_ms }
            }
            CredentialState::UploadOnly { .. } | CredentialState::Revoked => {
                return Err(ApiError::new(Reason::MachineRevoked, "this machine credential is revoked")
                    .with("credential_id", record.credential_id));
            }
        };
        Ok(MachineCaller { machine_id: record.machine_id, credential_id: record.credential_id, standing })
    }

    async fn find(&self, credential_id: Uuid) -> Result<Option<CredentialRecord>, ApiError> {
        let now = self.context.elapsed();
        {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(cached) = cache.get_mut(&credential_id)
                && now.saturating_sub(cached.looked_up) < self.cache_for
            {
                return Ok(cached.record.clone());
            }
        }
        let record = self.source.find_credential(credential_id).await?;
        // Only what exists is kept: a stranger's guesses must not push out the fleet's.
        if record.is_some() && !self.cache_for.is_zero() {
            let cached = Cached { looked_up: now, record: record.clone() };
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(credential_id, cached);
        }
        Ok(record)
    }
}

/// `<credential_id>.<secret>`.
fn machine_secret(value: &str) -> Option<(Uuid, Vec<u8>)> {
    let (id, secret) = value.split_once('.')?;
    let secret = URL_SAFE_NO_PAD.decode(secret).ok().filter(|secret| secret.len() == SECRET_BYTES)?;
    Some((Uuid::try_parse(id).ok()?, secret))
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
