use super::{OLDER, OURS, answer, cursor, plan};
use crate::agent::plan::{Limits, Next};

#[test]
fn a_machine_that_has_just_started_syncs_at_once() {
    assert_eq!(plan().next(0), Next::Sync);
}

#[test]
fn one_sync_is_in_flight_at_a_time_whatever_happens() {
    let mut plan = plan();
    plan.started();
    plan.wrote(10);
    plan.hinted(20);
    plan.asked(30);
    assert_eq!(plan.next(1_000_000), Next::InFlight);
}

#[test]
fn the_server_paces_a_machine_that_has_nothing_to_say() {
    let mut plan = plan();
    plan.started();
    plan.answered(1_000, answer(5), &cursor(5, 5), OURS);
    assert_eq!(plan.next(1_000), Next::WaitUntil(61_000));
    assert_eq!(plan.next(61_000), Next::Sync);
}

#[test]
fn a_sale_is_sent_soon_and_takes_its_neighbours_along() {
    let mut plan = plan();
    let settle_ms = Limits::default().settle_ms;
    plan.started();
    plan.answered(0, answer(5), &cursor(5, 5), OURS);
    plan.wrote(10_000);
    plan.wrote(10_000 + settle_ms - 1);
    assert_eq!(
        plan.next(10_001),
        Next::WaitUntil(10_000 + settle_ms),
        "the second sale does not delay the first"
    );
    assert_eq!(plan.next(10_000 + settle_ms), Next::Sync);
}

#[test]
fn a_sale_made_while_a_sync_is_under_way_is_sent_after_it() {
    let mut plan = plan();
    let settle_ms = Limits::default().settle_ms;
    plan.started();
    plan.wrote(100);
    plan.answered(200, answer(5), &cursor(5, 5), OURS);
    assert_eq!(plan.next(200), Next::WaitUntil(100 + settle_ms));
}

#[test]
fn a_hint_is_followed_at_once() {
    let mut plan = plan();
    plan.started();
    plan.answered(0, answer(5), &cursor(5, 5), OURS);
    plan.hinted(10);
    assert_eq!(plan.next(10), Next::Sync);
}

#[test]
fn a_backlog_is_sent_batch_after_batch_without_waiting() {
    let mut plan = plan();
    plan.started();
    plan.answered(0, answer(256), &cursor(1_000, 0), OURS);
    assert_eq!(plan.next(0), Next::Sync);
}

#[test]
fn the_current_epoch_follows_the_older_one_at_once() {
    let mut plan = plan();
    let older = crate::journal::EpochCursor { epoch: OLDER, current: false, ..cursor(9, 0) };
    plan.started();
    plan.answered(0, crate::transport::SyncAnswer { epoch: OLDER, ..answer(9) }, &older, OURS);
    assert_eq!(plan.next(0), Next::Sync);
}

#[test]
fn a_server_that_makes_no_progress_is_not_asked_in_a_circle() {
    let mut plan = plan();
    let rounds = Limits::default().rounds_without_progress;
    for round in 1..rounds {
        plan.started();
        plan.answered(0, answer(0), &cursor(10, 0), OURS);
        assert_eq!(plan.next(0), Next::Sync, "round {round}");
    }
    plan.started();
    plan.answered(0, answer(0), &cursor(10, 0), OURS);
    assert_eq!(plan.next(0), Next::WaitUntil(60_000));
    plan.wrote(1);
    plan.hinted(1);
    assert_eq!(plan.next(2), Next::WaitUntil(60_000), "not even for a sale");
    plan.started();
    plan.answered(60_000, answer(10), &cursor(10, 0), OURS);
    plan.hinted(60_001);
    assert_eq!(plan.next(60_001), Next::Sync, "progress ends it");
}

#[test]
fn a_slip_of_the_server_neither_silences_a_machine_nor_makes_it_hammer() {
    let limits = Limits::default();
    for (said, means) in [(0, limits.shortest_wait_ms), (u32::MAX, limits.longest_wait_ms)] {
        let mut plan = plan();
        plan.started();
        let reply = crate::transport::SyncAnswer { next_sync_after_ms: said, ..answer(5) };
        plan.answered(0, reply, &cursor(5, 5), OURS);
        assert_eq!(plan.next(0), Next::WaitUntil(means));
    }
}
