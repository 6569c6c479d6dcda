//! Tokens of people and of other servers: JWT, signed with the deployment's own Ed25519 key.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode, errors::ErrorKind,
};
use sha2::{Digest as _, Sha256};

use super::{
    Person, Role, Scope,
    verified::{Verified, VerifiedTokens},
};
use crate::{
    config::AuthConfig,
    context::Context,
    data_dir::{DataDir, DataDirError},
    error::{ApiError, Reason},
};

/// Where the signing key lives in the data directory.
const KEY_FILE: &str = "keys/token-ed25519.pem";
/// Longest subject, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 128;
/// Longest life of a token made here, in seconds: 366 days.
pub const MAX_TTL_S: u64 = 366 * 86_400;

/// Makes and checks tokens.
pub struct Tokens {
    context: Context,
    encoding: EncodingKey,
    decoding: DecodingKey,
    key_id: String,
    issuer: String,
    audience: String,
    leeway_s: u64,
    rules: Validation,
    verified: VerifiedTokens,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(default)]
    iat: u64,
    role: Role,
    /// Space-separated, as in OAuth 2.0 (RFC 6749, section 3.3).
    #[serde(default)]
    scope: String,
}

impl Tokens {
    /// Reads the signing key from the data directory, making it the first time.
    pub fn open(config: &AuthConfig, context: Context, dir: &DataDir) -> Result<Self, DataDirError> {
        let make = || {
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("ring makes Ed25519 keys");
            pair.serialize_pem().into_bytes()
        };
        let pem = dir.secret(KEY_FILE, make)?;
        let damaged = |cause: String| DataDirError::Damaged {
            path: dir.path(KEY_FILE),
            rule: format!("must be an Ed25519 private key, PKCS#8 PEM ({cause})"),
        };
        let text = std::str::from_utf8(&pem).map_err(|cause| damaged(cause.to_string()))?;
        let pair = rcgen::KeyPair::from_pem(text).map_err(|cause| damaged(cause.to_string()))?;
        let encoding = EncodingKey::from_ed_pem(&pem).map_err(|cause| damaged(cause.to_string()))?;
        let public = pair.public_key_raw();
        let decoding = DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(public))
            .map_err(|cause| damaged(cause.to_string()))?;
        Ok(Self {
            context,
            encoding,
            decoding,
            key_id: hex::encode(&Sha256::digest(public)[..8]),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway_s: config.leeway_s,
            rules: rules(config),
            verified: VerifiedTokens::new(config.token_cache_entries),
        })
    }

    /// A token for this person. The ttl is cut to [`MAX_TTL_S`].
    pub fn issue(&self, person: &Person, ttl_s: u64) -> Result<String, ApiError> {
        if !(1..=MAX_SUBJECT_BYTES).contains(&person.subject.len()) {
            return Err(ApiError::invalid_field("subject", format!("has 1 to {MAX_SUBJECT_BYTES} bytes")));
        }
        let now_s = self.now_s();
        let scopes: Vec<_> = person.scopes.iter().map(|scope| scope.name()).collect();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: person.subject.clone(),
            exp: now_s.saturating_add(ttl_s.min(MAX_TTL_S)),
            nbf: now_s,
            iat: now_s,
            role: person.role,
            scope: scopes.join(" "),
        };
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &self.encoding).map_err(ApiError::internal)
    }

    /// Who a token names. Refused: another algorithm, key, issuer or audience, a missing exp, iss, aud or sub, a time
    /// that is over or not yet come. What the signature covers is read once per token and kept; times are checked anew.
    pub fn verify(&self, token: &str) -> Result<Person, ApiError> {
        let verified = self.verified.find_or(token, || self.check(token))?;
        let now_s = self.now_s();
        if verified.exp_s.saturating_add(self.leeway_s) <= now_s {
            self.verified.forget(token);
            return Err(ApiError::new(Reason::TokenExpired, "the token has expired")
                .with("expired_time_ms", verified.exp_s.saturating_mul(1_000)));
        }
        if verified.nbf_s > now_s.saturating_add(self.leeway_s) {
            return Err(ApiError::new(Reason::TokenExpired, "the token is not valid yet")
                .with("not_before_time_ms", verified.nbf_s.saturating_mul(1_000)));
        }
        Ok(verified.person.clone())
    }

    /// Whether this token's signature was found good before.
    pub(super) fn has_seen(&self, token: &str) -> bool {
        self.verified.has_seen(token)
    }

    /// Everything about a token that no clock changes.
    fn check(&self, token: &str) -> Result<Verified, ApiError> {
        let header = decode_header(token).map_err(|_| unauthenticated("the token is not a JWT"))?;
        if header.kid.as_deref() != Some(self.key_id.as_str()) {
            return Err(unauthenticated("the token was not signed by this deployment's key"));
        }
        let claims = decode::<Claims>(token, &self.decoding, &self.rules)
            .map_err(|cause| refusal(cause.kind()))?
            .claims;
        if !(1..=MAX_SUBJECT_BYTES).contains(&claims.sub.len()) {
            return Err(unauthenticated("the token's `sub` has 1 to 128 bytes"));
        }
        // Scopes this server does not know are another server's.
        let scopes = claims.scope.split(' ').filter_map(Scope::parse).collect();
        let person = Person { subject: claims.sub, role: claims.role, scopes };
        Ok(Verified { person, exp_s: claims.exp, nbf_s: claims.nbf })
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.verified.len()
    }

    fn now_s(&self) -> u64 {
        u64::try_from(self.context.now_ms() / 1_000).unwrap_or(0)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

fn rules(config: &AuthConfig) -> Validation {
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    rules.set_issuer(&[&config.issuer]);
    rules.set_audience(&[&config.audience]);
    // Times are checked against the context's clock, which tests drive.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules
}

fn refusal(kind: &ErrorKind) -> ApiError {
    match kind {
        ErrorKind::MissingRequiredClaim(claim) => unauthenticated(format!("the token lacks `{claim}`")),
        ErrorKind::InvalidIssuer => unauthenticated("the token's `iss` is not this deployment's"),
        ErrorKind::InvalidAudience => unauthenticated("the token's `aud` is not this deployment's"),
        ErrorKind::InvalidAlgorithm => unauthenticated("the token's algorithm is not EdDSA"),
        ErrorKind::InvalidSignature => unauthenticated("the token's signature is not this deployment's"),
        _ => unauthenticated("the token can't be read: exp, iss, aud, sub and role are needed"),
    }
}

pub(super) fn unauthenticated(message: impl Into<String>) -> ApiError {
    ApiError::new(Reason::Unauthenticated, message)
}
