#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

use super::{Breaker, BreakerSettings, BreakerState, Permit};
use std::time::Duration;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn breaker() -> Breaker {
    Breaker::new(BreakerSettings { failures: 3, open_for: at(10), probe_for: at(30) })
}

fn opened() -> Breaker {
    let mut breaker = breaker();
    (0..3).for_each(|_| breaker.failed(at(1)));
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[test]
fn it_opens_after_so_many_failures_in_a_row_and_not_before() {
    let mut breaker = breaker();
    breaker.failed(at(1));
    breaker.failed(at(1));
    breaker.answered();
    breaker.failed(at(2));
    breaker.failed(at(2));
    assert_eq!(breaker.permit(at(2)), Permit::All);
    breaker.failed(at(2));
    assert_eq!(breaker.permit(at(2)), Permit::Nothing { until: at(12) });
}

#[test]
fn after_its_time_one_order_probes_and_the_others_wait() {
    let mut breaker = opened();
    assert_eq!(breaker.permit(at(10)), Permit::Nothing { until: at(11) });
    assert_eq!(breaker.permit(at(11)), Permit::Probe);
    assert_eq!(breaker.permit(at(11)), Permit::Nothing { until: at(41) });
}

#[test]
fn a_probe_that_is_answered_closes_it() {
    let mut breaker = opened();
    breaker.permit(at(11));
    breaker.answered();
    assert_eq!((breaker.state(), breaker.permit(at(11))), (BreakerState::Closed, Permit::All));
}

#[test]
fn a_probe_that_fails_opens_it_for_another_while() {
    let mut breaker = opened();
    breaker.permit(at(11));
    breaker.failed(at(12));
    assert_eq!(breaker.permit(at(21)), Permit::Nothing { until: at(22) });
    assert_eq!(breaker.permit(at(22)), Permit::Probe);
}

#[test]
fn a_probe_with_nothing_to_do_leaves_the_next_one_free() {
    let mut breaker = opened();
    assert_eq!(breaker.permit(at(11)), Permit::Probe);
    breaker.unused(at(11));
    assert_eq!((breaker.state(), breaker.permit(at(11))), (BreakerState::Open, Permit::Probe));
}

#[test]
fn a_probe_that_never_tells_does_not_lock_the_gateway_out() {
    let mut breaker = opened();
    assert_eq!(breaker.permit(at(11)), Permit::Probe);
    assert_eq!(breaker.permit(at(41)), Permit::Probe);
}

#[test]
fn stragglers_do_not_keep_it_open() {
    let mut breaker = opened();
    breaker.failed(at(9));
    assert_eq!(breaker.permit(at(11)), Permit::Probe);
}
