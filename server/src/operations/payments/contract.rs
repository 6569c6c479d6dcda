//! What a gateway's answers and webhooks look like (docs/gateway.md), and what of them is definite.

use super::{Ask, Failed, Operation, Payment, Said, cut};
use crate::domain::payment::{MAX_GATEWAY_ID_BYTES, Trouble, Verdict};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vend_core::money::{Currency, Minor};

/// An amount on the wire.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Amount {
    pub(super) currency_code: String,
    pub(super) minor_units: Minor,
}

impl Amount {
    pub(super) fn read(&self) -> Option<(Currency, Minor)> {
        Some((Currency::parse(&self.currency_code)?, self.minor_units))
    }
}

/// A payment on the wire. Fields that are not known are passed over: a gateway may say more.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct PaymentBody {
    pub(super) payment_key: Uuid,
    #[serde(default)]
    pub(super) payment_id: String,
    pub(super) status: String,
    pub(super) amount: Option<Amount>,
    #[serde(default)]
    pub(super) detail: String,
}

/// What a gateway refuses a request with.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct ErrorBody {
    error: ErrorWords,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct ErrorWords {
    code: String,
    #[serde(default)]
    message: String,
}

/// A word for where a payment stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// It will say the same when asked again.
    Definite(Verdict),
    /// It has not decided.
    Pending,
}

pub(super) fn word(status: &str) -> Option<Word> {
    Some(match status {
        "authorised" => Word::Definite(Verdict::Authorised),
        "captured" => Word::Definite(Verdict::Captured),
        "declined" => Word::Definite(Verdict::Declined),
        "voided" => Word::Definite(Verdict::Voided),
        "refunded" => Word::Definite(Verdict::Refunded),
        "pending" => Word::Pending,
        _ => return None,
    })
}

/// Whether a gateway's name for a payment can be kept: printable ASCII of at most 128 bytes, and there when there is money.
pub(super) fn is_payment_id(id: &str, verdict: Verdict) -> bool {
    let needed = !matches!(verdict, Verdict::Declined | Verdict::Voided);
    id.len() <= MAX_GATEWAY_ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic()) && !(needed && id.is_empty())
}

/// What an answer means: definite only when it leaves no doubt.
pub(super) fn judge(operation: Operation, ask: &Ask, status: u16, body: &[u8]) -> Result<Said, Failed> {
    let says = format!("HTTP {status}");
    match status {
        200..=299 => payment(operation, ask, body),
        404 if operation == Operation::Query => Ok(Said::NoPayment),
        401 | 403 | 407 => {
            Err(Failed::outage(Trouble::Error, format!("{says}: the gateway does not take our API key")))
        }
        408 => Err(Failed::outage(Trouble::Timeout, says)),
        429 => Err(Failed::outage(Trouble::Error, says)),
        // Nothing of the contract listens there.
        404 | 405 | 421 if operation == Operation::Authorise => Err(Failed::outage(Trouble::Error, says)),
        409 | 425 => Err(Failed::payment(Trouble::Error, format!("{says}: the payment is being worked on"))),
        400..=499 => refusal(operation, &says, body),
        _ => Err(Failed::outage(Trouble::Error, says)),
    }
}

/// Only the contract's own words refuse a request: a proxy between us also has its 4xx, and speaks for nobody.
fn refusal(operation: Operation, says: &str, body: &[u8]) -> Result<Said, Failed> {
    let Ok(ErrorBody { error }) = serde_json::from_slice(body) else {
        return Err(Failed::outage(Trouble::Error, format!("{says} without the contract's error")));
    };
    let words = format!("{says} {}: {}", error.code, error.message);
    match operation {
        Operation::Authorise => Ok(Said::Refused(cut(words))),
        _ => Err(Failed::payment(Trouble::Error, words)),
    }
}

fn payment(operation: Operation, ask: &Ask, body: &[u8]) -> Result<Said, Failed> {
    let garbage =
        |what: String| Failed::outage(Trouble::Error, format!("an answer not in the contract: {what}"));
    let body: PaymentBody = serde_json::from_slice(body).map_err(|error| garbage(error.to_string()))?;
    if body.payment_key != ask.key {
        return Err(garbage(format!("it is about payment_key {}", body.payment_key)));
    }
    let verdict = match word(&body.status) {
        Some(Word::Definite(verdict)) => verdict,
        Some(Word::Pending) => {
            return Err(Failed::payment(Trouble::Timeout, "the gateway has not decided yet"));
        }
        None => return Err(garbage(format!("status {:?}", cut(body.status)))),
    };
    match body.amount.as_ref().map(Amount::read) {
        Some(Some(said)) if said == (ask.currency, ask.amount_minor) => {}
        Some(Some((currency, minor))) => {
            let (asked, own) = (ask.amount_minor, ask.currency);
            let words = format!("it speaks of {minor} {currency} (minor units), asked about {asked} {own}");
            return Err(Failed::payment(Trouble::Error, words));
        }
        Some(None) | None => return Err(garbage("amount".to_owned())),
    }
    if !is_payment_id(&body.payment_id, verdict) {
        return Err(garbage("payment_id".to_owned()));
    }
    let (known, said) = (&ask.payment_id, &body.payment_id);
    if !known.is_empty() && !said.is_empty() && known != said {
        let words = format!("the payment was called {known} and is called {said} now");
        return Err(Failed::payment(Trouble::Contradiction, words));
    }
    let undone = match operation {
        Operation::Capture | Operation::Void => verdict == Verdict::Authorised,
        Operation::Refund => matches!(verdict, Verdict::Authorised | Verdict::Captured),
        Operation::Authorise | Operation::Query => false,
    };
    if undone {
        let words = format!("{} is not done: the payment is still {}", operation.name(), body.status);
        return Err(Failed::payment(Trouble::Error, words));
    }
    Ok(Said::Payment(Payment { payment_id: body.payment_id, verdict, detail: cut(body.detail) }))
}
