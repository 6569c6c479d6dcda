#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

use super::{SimulatedGateway, SimulatedSettings};
use crate::domain::payment::Verdict;
use crate::operations::payments::{Ask, Capture, Gateway as _, Said};
use std::time::Duration;
use uuid::Uuid;
use vend_core::money::Currency;

fn gateway(success_percent: u32, seed: u64) -> SimulatedGateway {
    let (delay_min, delay_most) = (Duration::from_millis(50), Duration::from_millis(200));
    SimulatedGateway::new(SimulatedSettings { success_percent, delay_min, delay_most, seed })
}

fn ask(number: u128) -> Ask {
    Ask {
        key: Uuid::from_u128(number),
        currency: Currency::parse("EUR").unwrap(),
        amount_minor: 450,
        payment_id: String::new(),
        traceparent: String::new(),
    }
}

fn verdict(said: Result<Said, super::Failed>) -> Verdict {
    match said.unwrap() {
        Said::Payment(payment) => payment.verdict,
        other => panic!("not a payment: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn seed_and_key_decide_for_ever_also_after_a_restart() {
    let decisions = |gateway: SimulatedGateway| async move {
        let mut found = Vec::new();
        for n in 0..200 {
            found.push(verdict(gateway.authorise(&ask(n), Capture::Now).await));
        }
        found
    };
    let first = decisions(gateway(80, 7)).await;
    assert_eq!(first, decisions(gateway(80, 7)).await);
    assert_ne!(first, decisions(gateway(80, 8)).await);
    let approved = first.iter().filter(|v| **v == Verdict::Captured).count();
    assert!((140..=180).contains(&approved), "80 % of 200 are about 160, not {approved}");
}

#[tokio::test(start_paused = true)]
async fn the_percentage_holds_at_its_ends() {
    for n in 0..50 {
        assert_eq!(verdict(gateway(0, 1).authorise(&ask(n), Capture::Now).await), Verdict::Declined);
        assert_eq!(verdict(gateway(100, 1).authorise(&ask(n), Capture::Now).await), Verdict::Captured);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_as_long_as_set() {
    let gateway = gateway(80, 1);
    for n in 0..50 {
        let began = tokio::time::Instant::now();
        gateway.authorise(&ask(n), Capture::Now).await.unwrap();
        assert!((50..=201).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_payment_goes_one_way() {
    let gateway = gateway(100, 1);
    let held = ask(1);
    assert_eq!(verdict(gateway.authorise(&held, Capture::Later).await), Verdict::Authorised);
    assert_eq!(verdict(gateway.query(&held).await), Verdict::Authorised);
    assert_eq!(verdict(gateway.capture(&held).await), Verdict::Captured);
    assert_eq!(verdict(gateway.void(&held).await), Verdict::Captured, "too late");
    assert_eq!(verdict(gateway.refund(&held).await), Verdict::Refunded);
    assert_eq!(verdict(gateway.authorise(&held, Capture::Now).await), Verdict::Refunded);

    let let_go = ask(2);
    gateway.authorise(&let_go, Capture::Later).await.unwrap();
    assert_eq!(verdict(gateway.void(&let_go).await), Verdict::Voided);
    assert_eq!(verdict(gateway.capture(&let_go).await), Verdict::Voided);
}

#[tokio::test(start_paused = true)]
async fn a_key_voided_before_it_was_seen_never_takes_money() {
    let gateway = gateway(100, 1);
    assert_eq!(verdict(gateway.void(&ask(3)).await), Verdict::Voided);
    assert_eq!(verdict(gateway.authorise(&ask(3), Capture::Now).await), Verdict::Voided);
}
