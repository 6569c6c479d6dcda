//! The HTTP gateway against a server that misbehaves: what is definite and what is not.

use crate::gateway::{API_KEY, Act, Manner, Op, Status, Step, TestGateway};
use server::context::Context;
use server::domain::payment::{Trouble, Verdict};
use server::metrics::Metrics;
use server::operations::payments::{
    Ask, BreakerSettings, Capture, Failed, HttpGateway, HttpGatewaySettings, Said, Till, TillSettings,
};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use vend_core::money::Currency;

const PATIENT: Duration = Duration::from_secs(20);

fn till_at(url: &str, api_key: &str, timeout: Duration) -> Till {
    let settings = HttpGatewaySettings { url: url.to_owned(), api_key: api_key.to_owned(), connections: 8 };
    let breaker = BreakerSettings { failures: 1_000, open_for: PATIENT, probe_for: PATIENT };
    let gateway = Arc::new(HttpGateway::new(&settings).unwrap());
    let metrics = Metrics::new(&mut Default::default()).payments;
    Till::new(gateway, TillSettings { timeout, breaker }, Context::system(), metrics)
}

fn till(gateway: &TestGateway) -> Till {
    till_at(&gateway.url(), API_KEY, PATIENT)
}

fn ask() -> Ask {
    Ask {
        key: Uuid::now_v7(),
        currency: Currency::parse("EUR").unwrap(),
        amount_minor: 450,
        payment_id: String::new(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
    }
}

fn verdict(said: Result<Said, Failed>) -> Verdict {
    match said {
        Ok(Said::Payment(payment)) => payment.verdict,
        other => panic!("not a payment: {other:?}"),
    }
}

#[tokio::test]
async fn a_well_formed_answer_about_our_payment_is_definite() {
    let gateway = TestGateway::start().await;
    let till = till(&gateway);
    let (taken, held, declined) = (ask(), ask(), ask());
    gateway.script_for(&declined.key.to_string(), Op::Authorise, [Step::decline()]);
    assert_eq!(verdict(till.authorise(&taken, Capture::Now).await), Verdict::Captured);
    assert_eq!(verdict(till.refund(&taken).await), Verdict::Refunded);
    assert_eq!(verdict(till.authorise(&held, Capture::Later).await), Verdict::Authorised);
    assert_eq!(verdict(till.capture(&held).await), Verdict::Captured);
    assert_eq!(verdict(till.void(&held).await), Verdict::Captured, "too late");
    assert_eq!(verdict(till.authorise(&declined, Capture::Now).await), Verdict::Declined);
    assert_eq!(verdict(till.query(&declined).await), Verdict::Declined);
    assert!(gateway.calls().iter().all(|call| call.traceparent == taken.traceparent));
}

#[tokio::test]
async fn a_void_of_a_payment_never_seen_binds_the_gateway() {
    let gateway = TestGateway::start().await;
    let (till, ask) = (till(&gateway), ask());
    assert_eq!(till.query(&ask).await, Ok(Said::NoPayment));
    assert_eq!(verdict(till.void(&ask).await), Verdict::Voided);
    assert_eq!(verdict(till.authorise(&ask, Capture::Now).await), Verdict::Voided);
    assert_eq!(gateway.ledger().net(&ask.key.to_string()), 0);
}

#[tokio::test]
async fn every_way_of_misbehaving_is_no_definite_answer() {
    for (manner, trouble, outage) in [
        (Manner::Status(500), Trouble::Error, true),
        (Manner::Status(503), Trouble::Error, true),
        (Manner::Status(429), Trouble::Error, true),
        (Manner::Status(403), Trouble::Error, true),
        (Manner::Status(404), Trouble::Error, true),
        (Manner::Status(408), Trouble::Timeout, true),
        (Manner::Status(409), Trouble::Error, false),
        (Manner::Status(425), Trouble::Error, false),
        (Manner::HangUp, Trouble::Timeout, true),
        (Manner::HangUpMidAnswer, Trouble::Timeout, true),
        (Manner::Garbage, Trouble::Error, true),
        (Manner::OtherShape, Trouble::Error, true),
        (Manner::WrongAmount, Trouble::Error, false),
        (Manner::WrongCurrency, Trouble::Error, false),
        (Manner::WrongKey, Trouble::Error, true),
        (Manner::Pending, Trouble::Timeout, false),
        (Manner::Huge(1_000_000), Trouble::Error, true),
        (Manner::Redirect("http://127.0.0.1:1/".to_owned()), Trouble::Error, true),
    ] {
        let gateway = TestGateway::start().await;
        let (till, ask) = (till(&gateway), ask());
        gateway.script(Op::Authorise, [Step::approve().but(manner.clone())]);
        let failed = till.authorise(&ask, Capture::Now).await.unwrap_err();
        assert_eq!((failed.trouble, failed.outage), (trouble, outage), "{manner:?}: {failed:?}");
        // The money was taken all the same: asked again with the same key it is found, and not taken twice.
        assert_eq!(verdict(till.authorise(&ask, Capture::Now).await), Verdict::Captured, "{manner:?}");
        gateway.ledger().assert_never_twice();
        assert_eq!(gateway.ledger().net(&ask.key.to_string()), 450);
    }
}

#[tokio::test]
async fn no_answer_in_time_is_not_definite() {
    for manner in [Manner::Silence, Manner::After(PATIENT)] {
        let gateway = TestGateway::start().await;
        let till = till_at(&gateway.url(), API_KEY, Duration::from_millis(100));
        gateway.script(Op::Authorise, [Step::approve().but(manner)]);
        let failed = till.authorise(&ask(), Capture::Now).await.unwrap_err();
        assert_eq!(failed.trouble, Trouble::Timeout);
    }
}

#[tokio::test]
async fn a_second_answer_on_the_wire_is_never_taken_for_another_payments() {
    let gateway = TestGateway::start().await;
    let till = till(&gateway);
    let (first, second) = (ask(), ask());
    gateway.script_for(&first.key.to_string(), Op::Authorise, [Step::approve().but(Manner::Twice)]);
    gateway.script_for(&second.key.to_string(), Op::Authorise, [Step::decline(), Step::decline()]);
    assert_eq!(verdict(till.authorise(&first, Capture::Now).await), Verdict::Captured);
    // Either the connection was given up in time, or the stray answer is seen to be about another key.
    match till.authorise(&second, Capture::Now).await {
        Ok(Said::Payment(payment)) => assert_eq!(payment.verdict, Verdict::Declined),
        Ok(other) => panic!("{other:?}"),
        Err(_) => assert_eq!(verdict(till.authorise(&second, Capture::Now).await), Verdict::Declined),
    }
}

#[tokio::test]
async fn only_the_contracts_own_words_refuse_a_request() {
    let gateway = TestGateway::start().await;
    let till = till(&gateway);
    gateway.script(Op::Authorise, [Step::nothing(Manner::Status(422))]);
    let said = till.authorise(&ask(), Capture::Now).await.unwrap();
    assert!(matches!(&said, Said::Refused(words) if words.contains("422")), "{said:?}");
    // To any other call a 4xx is no answer about the payment.
    gateway.script(Op::Void, [Step::nothing(Manner::Status(422))]);
    let failed = till.void(&ask()).await.unwrap_err();
    assert!(!failed.outage);
}

#[tokio::test]
async fn a_gateway_that_changes_the_name_of_a_payment_contradicts_itself() {
    let gateway = TestGateway::start().await;
    let till = till(&gateway);
    let mut known = ask();
    till.authorise(&known, Capture::Now).await.unwrap();
    known.payment_id = "pay_of_yesterday".to_owned();
    let failed = till.query(&known).await.unwrap_err();
    assert_eq!((failed.trouble, failed.outage), (Trouble::Contradiction, false));
}

#[tokio::test]
async fn a_refund_that_is_not_done_is_not_definite() {
    let gateway = TestGateway::start().await;
    let (till, ask) = (till(&gateway), ask());
    till.authorise(&ask, Capture::Now).await.unwrap();
    gateway.script(Op::Refund, [Step { act: Act::Nothing, manner: Manner::Proper }]);
    assert_eq!(till.refund(&ask).await.unwrap_err().trouble, Trouble::Error);
    gateway.script(Op::Void, [Step::proper().but(Manner::Says(Status::Authorised))]);
    assert_eq!(till.void(&ask).await.unwrap_err().trouble, Trouble::Error);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_unreachable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let till = till_at(&format!("http://{free}"), API_KEY, PATIENT);
    let failed = till.authorise(&ask(), Capture::Now).await.unwrap_err();
    assert_eq!((failed.trouble, failed.outage), (Trouble::Unreachable, true));
}

#[tokio::test]
async fn a_wrong_api_key_is_an_outage_and_ends_no_order() {
    let gateway = TestGateway::start().await;
    let till = till_at(&gateway.url(), "another key", PATIENT);
    let failed = till.authorise(&ask(), Capture::Now).await.unwrap_err();
    assert!(failed.outage && failed.detail.contains("API key"), "{failed:?}");
}

#[test]
fn an_api_key_does_not_travel_in_the_clear() {
    let made = |url: &str| {
        let (url, api_key) = (url.to_owned(), API_KEY.to_owned());
        HttpGateway::new(&HttpGatewaySettings { url, api_key, connections: 1 }).is_ok()
    };
    for good in
        ["https://pay.example.com", "https://pay.example.com/v/", "http://127.0.0.1:1", "http://localhost:1"]
    {
        assert!(made(good), "{good}");
    }
    for bad in [
        "http://pay.example.com",
        "ftp://pay.example.com",
        "pay.example.com",
        "",
        "https://a@b/",
        "https://b/?x=1",
    ] {
        assert!(!made(bad), "{bad}");
    }
}
