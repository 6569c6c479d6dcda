#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

use super::{BadNotice, BadSignature, Notice, WebhookSecrets};
use crate::domain::payment::Verdict;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const OLD: &str = "the-old-secret-of-thirty-two-bytes!";
const NEW: &str = "the-new-secret-of-thirty-two-bytes!";
const NOW_MS: i64 = 1_750_000_000_000;
const NOW_S: i64 = NOW_MS / 1_000;
const BODY: &[u8] = b"{}";

fn signed(secret: &str, at_s: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at_s}.").as_bytes());
    mac.update(body);
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    hex::encode(digest)
}

fn header(secret: &str, at_s: i64, body: &[u8]) -> String {
    format!("t={at_s},v1={}", signed(secret, at_s, body))
}

fn secrets() -> WebhookSecrets {
    WebhookSecrets::parse(&format!("{NEW}\n{OLD}\n")).unwrap()
}

#[test]
fn either_secret_signs_while_they_are_changed_over() {
    for secret in [OLD, NEW] {
        assert_eq!(secrets().verify(&header(secret, NOW_S, BODY), BODY, NOW_MS), Ok(()));
    }
    let both = format!("t={NOW_S},v1={},v1={}", "00".repeat(32), signed(NEW, NOW_S, BODY));
    assert_eq!(secrets().verify(&both, BODY, NOW_MS), Ok(()));
    let beside = format!("{},v0=x", header(NEW, NOW_S, BODY));
    assert_eq!(secrets().verify(&beside, BODY, NOW_MS), Ok(()));
}

#[test]
fn another_secret_or_another_body_is_not_believed() {
    let stranger = header("another-secret-of-thirty-two-bytes!!", NOW_S, BODY);
    assert_eq!(secrets().verify(&stranger, BODY, NOW_MS), Err(BadSignature::Mismatch));
    assert_eq!(secrets().verify(&header(NEW, NOW_S, BODY), b"{ }", NOW_MS), Err(BadSignature::Mismatch));
    // The time is signed too.
    let moved = format!("t={},v1={}", NOW_S + 1, signed(NEW, NOW_S, BODY));
    assert_eq!(secrets().verify(&moved, BODY, NOW_MS), Err(BadSignature::Mismatch));
}

#[test]
fn what_is_recorded_can_be_replayed_for_five_minutes_and_not_longer() {
    for (off, told) in
        [(300, Ok(())), (301, Err(BadSignature::OutsideWindow)), (-301, Err(BadSignature::OutsideWindow))]
    {
        let at_s = NOW_S - off;
        assert_eq!(secrets().verify(&header(NEW, at_s, BODY), BODY, NOW_MS), told, "{off}");
    }
}

#[test]
fn a_malformed_header_is_not_believed() {
    let digest = "00".repeat(32);
    for bad in [
        String::new(),
        "t=1".replace('1', "x"),
        format!("v1={digest}"),
        format!("t={NOW_S},v1=zz"),
        format!("t={NOW_S},t={NOW_S},v1={digest}"),
        "nonsense".to_owned(),
    ] {
        assert_eq!(secrets().verify(&bad, BODY, NOW_MS), Err(BadSignature::Malformed), "{bad}");
    }
    // A time alone signs nothing.
    assert_eq!(secrets().verify(&format!("t={NOW_S}"), BODY, NOW_MS), Err(BadSignature::Mismatch));
}

#[test]
fn short_secrets_none_and_too_many_are_refused() {
    for bad in ["", "short", &format!("{OLD}\n{NEW}\n{OLD}x")] {
        assert!(WebhookSecrets::parse(bad).is_err(), "{bad}");
    }
}

fn notice(status: &str, id: &str, amount: &str) -> String {
    format!(
        r#"{{"event_id":"evt_1","payment_key":"01890000-0000-7000-8000-000000000001","payment_id":"{id}",
            "status":"{status}","amount":{amount},"something_new":1}}"#
    )
}

const EUR_450: &str = r#"{"currency_code":"EUR","minor_units":450}"#;

#[test]
fn a_webhook_says_what_became_of_the_payment() {
    let read = Notice::parse(notice("captured", "pay_1", EUR_450).as_bytes()).unwrap();
    let learnt = read.learnt.unwrap();
    assert_eq!((learnt.verdict, learnt.gateway_payment_id.as_str()), (Verdict::Captured, "pay_1"));
    assert_eq!(
        learnt.amount.map(|(currency, minor)| (currency.to_string(), minor)),
        Some(("EUR".into(), 450))
    );
    let pending = Notice::parse(notice("pending", "pay_1", "null").as_bytes()).unwrap();
    assert_eq!(pending.learnt, None);
}

#[test]
fn a_webhook_that_breaks_the_contract_is_refused() {
    for bad in [
        notice("paid", "pay_1", EUR_450),
        notice("captured", "", EUR_450),
        notice("captured", &"x".repeat(129), EUR_450),
        notice("captured", "pay_1", "null"),
        notice("captured", "pay_1", r#"{"currency_code":"euro","minor_units":450}"#),
    ] {
        assert!(matches!(Notice::parse(bad.as_bytes()), Err(BadNotice::Field(_))), "{bad}");
    }
    for bad in ["", "[]", "{}", r#"{"event_id":"e","payment_key":"no uuid","status":"captured"}"#] {
        assert!(matches!(Notice::parse(bad.as_bytes()), Err(BadNotice::Shape(_))), "{bad}");
    }
}
