use super::{OURS, answer, cursor, failure, longest, plan};
use crate::agent::backoff::{Backoff, Bounds};
use crate::agent::plan::{Limits, Next};
use crate::transport::FailureKind;
use std::time::Duration;

const BOUNDS: Bounds = Bounds { base_ms: 100, cap_ms: 1_000 };

#[test]
fn the_ceiling_doubles_up_to_the_cap_and_stays_there() {
    let mut backoff = Backoff::new(BOUNDS);
    let ceilings: Vec<u64> = (0..100).map(|_| backoff.failed(longest)).collect();
    assert_eq!(ceilings[..6], [100, 200, 400, 800, 1_000, 1_000]);
    assert!(ceilings[6..].iter().all(|&c| c == 1_000));
}

#[test]
fn jitter_is_full_so_that_a_fleet_does_not_come_back_together() {
    let mut backoff = Backoff::new(BOUNDS);
    assert_eq!(backoff.failed(|_| 0), 0);
    assert_eq!(backoff.failed(|max| max / 2), 100);
}

#[test]
fn an_answer_ends_the_row_of_failures() {
    let mut plan = plan();
    let base = Limits::default().backoff.base_ms;
    for _ in 0..10 {
        plan.started();
        plan.failed(0, &failure(FailureKind::Later, None), longest);
    }
    plan.started();
    plan.answered(0, answer(5), &cursor(5, 5), OURS);
    plan.started();
    plan.failed(0, &failure(FailureKind::Later, None), longest);
    assert_eq!(plan.next(0), Next::WaitUntil(base));
}

#[test]
fn retry_info_is_a_floor_that_neither_a_sale_nor_a_hint_breaks() {
    let mut plan = plan();
    plan.started();
    plan.failed(0, &failure(FailureKind::Later, Some(Duration::from_secs(30))), |_| 0);
    plan.wrote(1);
    plan.hinted(2);
    assert_eq!(plan.next(3), Next::WaitUntil(30_000));
    assert_eq!(plan.next(30_000), Next::Sync);
}

#[test]
fn what_is_unsent_is_sent_when_the_back_off_ends_not_when_it_was_next_due() {
    let mut plan = plan();
    plan.started();
    plan.answered(0, answer(5), &cursor(5, 5), OURS);
    plan.hinted(10);
    plan.started();
    plan.failed(20, &failure(FailureKind::Later, None), longest);
    assert_eq!(plan.next(20), Next::WaitUntil(20 + Limits::default().backoff.base_ms));
}

#[test]
fn a_refusal_that_repeating_will_not_heal_waits_at_least_half_the_cap() {
    for kind in [FailureKind::Invalid, FailureKind::Unauthenticated, FailureKind::Refused] {
        let mut plan = plan();
        plan.started();
        plan.failed(0, &failure(kind, None), |_| 0);
        assert_eq!(plan.next(0), Next::WaitUntil(Limits::default().backoff.cap_ms / 2), "{kind:?}");
    }
}

#[test]
fn a_revoked_machine_is_silent_until_somebody_asks() {
    let mut plan = plan();
    plan.started();
    plan.failed(0, &failure(FailureKind::Revoked, None), longest);
    plan.wrote(1);
    plan.hinted(2);
    assert_eq!(plan.next(u64::MAX), Next::Stopped);
    plan.asked(100);
    assert_eq!(plan.next(100), Next::Sync);
}

#[test]
fn asking_breaks_the_back_off() {
    let mut plan = plan();
    plan.started();
    plan.failed(0, &failure(FailureKind::Later, None), longest);
    plan.asked(1);
    assert_eq!(plan.next(1), Next::Sync);
}
