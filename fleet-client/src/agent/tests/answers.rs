use super::{OLDER, OURS, answer, cursor, plan};
use crate::agent::plan::{FACT_INCARNATION, Next, Step};
use crate::journal::{EpochCursor, EpochOrder, Verdict};
use crate::transport::{OfferedConfig, SyncAnswer};
use vend_core::record::EpochReason;

#[test]
fn the_next_batch_starts_behind_what_the_server_has() {
    assert_eq!(plan().batch_start(&cursor(10, 4)), 5);
}

#[test]
fn resend_from_is_obeyed_whatever_the_device_believes() {
    let mut plan = plan();
    plan.started();
    plan.answered(0, SyncAnswer { resend_from: Some(3), ..answer(2) }, &cursor(10, 8), OURS);
    assert_eq!(plan.next(0), Next::Sync, "and at once");
    assert_eq!(plan.batch_start(&cursor(10, 2)), 3);
    plan.started();
    plan.answered(0, answer(10), &cursor(10, 2), OURS);
    assert_eq!(plan.batch_start(&cursor(10, 10)), 11, "and only once");
}

#[test]
fn a_resend_below_the_oldest_held_means_from_the_oldest() {
    let mut plan = plan();
    plan.started();
    plan.answered(0, SyncAnswer { resend_from: Some(1), ..answer(0) }, &cursor(10, 8), OURS);
    assert_eq!(plan.batch_start(&EpochCursor { oldest_seq: 6, ..cursor(10, 0) }), 6);
}

#[test]
fn a_resend_of_one_epoch_says_nothing_about_another() {
    let mut plan = plan();
    let older = EpochCursor { epoch: OLDER, current: false, ..cursor(9, 5) };
    plan.started();
    plan.answered(0, SyncAnswer { epoch: OLDER, resend_from: Some(2), ..answer(1) }, &older, OURS);
    assert_eq!(plan.batch_start(&cursor(10, 4)), 5);
    assert_eq!(plan.batch_start(&older), 2);
}

#[test]
fn a_mark_beyond_the_last_record_is_shown_to_the_server_by_an_empty_batch() {
    // The tail of the journal was lost; the server sees it from last_seq and the hash before the batch.
    assert_eq!(plan().batch_start(&cursor(10, 40)), 11);
}

#[test]
fn an_empty_epoch_starts_at_one() {
    assert_eq!(plan().batch_start(&cursor(0, 0)), 1);
}

#[test]
fn verdicts_and_marks_are_stored_before_anything_else_of_an_answer_takes_effect() {
    let mut plan = plan();
    let verdict = Verdict {
        number: 1,
        epoch: OURS,
        first_seq: 2,
        last_seq: 2,
        disposition: 2,
        reason: "BODY_UNREADABLE".to_owned(),
    };
    let order = EpochOrder { epoch: OURS, last_common_seq: 3, reason: EpochReason::Forked };
    let config = OfferedConfig { number: 7, sha256: vec![0; 32], bytes: Vec::new() };
    let reply = SyncAnswer {
        verdicts: vec![verdict.clone()],
        open_epoch: Some(order),
        config: Some(config.clone()),
        reenroll: Some("token".to_owned()),
        ..answer(5)
    };
    plan.started();
    let steps = plan.answered(0, reply, &cursor(5, 5), OURS);
    let [Step::LearnClock(1_700_000_000_000), Step::Store(stored), rest @ ..] = steps.as_slice() else {
        panic!("clock, then store, got {steps:?}")
    };
    assert_eq!((stored.epoch, stored.accepted_through, stored.durable_through), (OURS, 5, 5));
    assert_eq!(stored.verdicts, [verdict]);
    assert_eq!(stored.facts, [(FACT_INCARNATION.to_owned(), b"life-1".to_vec())]);
    assert_eq!(rest, [Step::OpenEpoch(order), Step::Offer(config), Step::Reenrol("token".to_owned())]);
    assert_eq!(plan.next(0), Next::Sync, "the new epoch and the new identity are told at once");
}

#[test]
fn an_order_about_an_epoch_that_is_past_is_ignored() {
    let mut plan = plan();
    let order = EpochOrder { epoch: OLDER, last_common_seq: 3, reason: EpochReason::Forked };
    plan.started();
    let steps = plan.answered(0, SyncAnswer { open_epoch: Some(order), ..answer(5) }, &cursor(5, 5), OURS);
    assert!(!steps.iter().any(|s| matches!(s, Step::OpenEpoch(_))));
    assert_eq!(plan.next(0), Next::WaitUntil(60_000));
}

#[test]
fn marks_are_believed_when_they_fall() {
    let mut plan = plan();
    plan.started();
    let steps = plan.answered(0, answer(2), &cursor(10, 10), OURS);
    assert!(steps.iter().any(|s| matches!(s, Step::Store(a) if a.accepted_through == 2)));
    assert_eq!(plan.next(0), Next::Sync, "what the server lost is sent again");
}
