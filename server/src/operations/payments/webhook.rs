//! What a gateway tells by itself: whether it is really the gateway, and what it says.

#[cfg(test)]
mod tests;

use super::contract::{PaymentBody, Word, is_payment_id, word};
use super::cut;
use crate::domain::ids::OrderId;
use crate::domain::order::{Learnt, Source};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

/// Longest body taken, bytes.
pub const MAX_WEBHOOK_BYTES: usize = 16_384;
/// A signature is good for so long before and after its time, seconds.
const REPLAY_WINDOW_S: i64 = 300;
/// Secrets at a time: the one in use, and the next or the last one while they are changed over.
const MAX_SECRETS: usize = 2;
/// Fewest bytes of a secret.
const MIN_SECRET_BYTES: usize = 32;
/// Signatures looked at in one header.
const MAX_SIGNATURES: usize = 4;

/// Why a webhook is not believed. The gateway is only told that it isn't.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadSignature {
    /// Not `t=<seconds>,v1=<hex>`.
    #[error("the header is missing or malformed")]
    Malformed,
    /// Too old, or from the future.
    #[error("its time is outside the replay window")]
    OutsideWindow,
    /// Signed with another secret, or changed on its way.
    #[error("it does not match")]
    Mismatch,
}

/// The secrets that sign webhooks.
#[derive(Clone)]
pub struct WebhookSecrets(Vec<Vec<u8>>);

impl WebhookSecrets {
    /// One secret a line, at most two, each 32 bytes or more.
    ///
    /// # Errors
    /// What is wrong with the text; never the text itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() || lines.len() > MAX_SECRETS {
            return Err(format!("must hold 1 to {MAX_SECRETS} secrets, one a line"));
        }
        if lines.iter().any(|line| line.len() < MIN_SECRET_BYTES) {
            return Err(format!("each secret must have {MIN_SECRET_BYTES} bytes or more"));
        }
        Ok(Self(lines.into_iter().map(|line| line.as_bytes().to_vec()).collect()))
    }

    /// Whether `header` (`t=<seconds>,v1=<hex>[,v1=<hex>]`) signs this body, and did so just now.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(&self, header: &str, body: &[u8], now_ms: i64) -> Result<(), BadSignature> {
        let mut at = None;
        let mut signatures = Vec::new();
        for part in header.split(',').take(1 + MAX_SIGNATURES) {
            match part.trim().split_once('=') {
                Some(("t", seconds)) if at.is_none() => at = Some(seconds),
                Some(("v1", digits)) => {
                    let mut digest = [0; 32];
                    hex::decode_to_slice(digits, &mut digest).map_err(|_| BadSignature::Malformed)?;
                    signatures.push(digest);
                }
                // Other versions may be signed beside ours.
                Some((other, _)) if other != "t" => {}
                _ => return Err(BadSignature::Malformed),
            }
        }
        let at = at.ok_or(BadSignature::Malformed)?;
        let at_s: i64 = at.parse().map_err(|_| BadSignature::Malformed)?;
        let matches = self.0.iter().any(|secret| {
            signatures.iter().any(|signature| {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
                mac.update(at.as_bytes());
                mac.update(b".");
                mac.update(body);
                // In constant time.
                mac.verify_slice(signature).is_ok()
            })
        });
        if !matches {
            return Err(BadSignature::Mismatch);
        }
        let off_s = now_ms.div_euclid(1_000).saturating_sub(at_s).saturating_abs();
        if off_s > REPLAY_WINDOW_S { Err(BadSignature::OutsideWindow) } else { Ok(()) }
    }
}

impl std::fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecrets(..)")
    }
}

/// What is wrong with a body that is signed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadNotice {
    /// No JSON, or of another shape.
    #[error("the body is not the contract's: {0}")]
    Shape(String),
    /// A field breaks its rule.
    #[error("{0}")]
    Field(&'static str),
}

/// What a webhook says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The gateway's name for this message; for the log.
    pub event_id: String,
    /// The order whose payment it is about.
    pub order: OrderId,
    /// What became of it; `None`: nothing definite yet.
    pub learnt: Option<Learnt>,
}

#[derive(Deserialize)]
struct NoticeBody {
    event_id: String,
    #[serde(flatten)]
    payment: PaymentBody,
}

impl Notice {
    /// Reads a signed body.
    ///
    /// # Errors
    /// It breaks the contract.
    pub fn parse(body: &[u8]) -> Result<Self, BadNotice> {
        let body: NoticeBody =
            serde_json::from_slice(body).map_err(|error| BadNotice::Shape(error.to_string()))?;
        if !(1..=128).contains(&body.event_id.len()) {
            return Err(BadNotice::Field("event_id: must have 1 to 128 bytes"));
        }
        let (event_id, payment) = (body.event_id, body.payment);
        let order = OrderId(payment.payment_key);
        let verdict = match word(&payment.status) {
            Some(Word::Definite(verdict)) => verdict,
            Some(Word::Pending) => return Ok(Self { event_id, order, learnt: None }),
            None => return Err(BadNotice::Field("status: not a status of the contract")),
        };
        if !is_payment_id(&payment.payment_id, verdict) {
            return Err(BadNotice::Field("payment_id: must have 1 to 128 printable ASCII characters"));
        }
        let amount = payment.amount.as_ref().and_then(super::contract::Amount::read);
        let amount = amount.ok_or(BadNotice::Field("amount: must have currency_code and minor_units"))?;
        let learnt = Learnt {
            verdict,
            gateway_payment_id: payment.payment_id,
            detail: cut(payment.detail),
            amount: Some(amount),
            source: Source::Webhook,
        };
        Ok(Self { event_id, order, learnt: Some(learnt) })
    }
}
