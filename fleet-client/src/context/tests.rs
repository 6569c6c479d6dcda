//! What can be driven is driven, and what is random follows from its seed.

#![allow(clippy::unwrap_used)]

use super::Context;
use vend_core::time::ClockQuality;

#[test]
fn a_seed_gives_the_same_boot_and_the_same_ids_again() {
    let (one, same, other) = (Context::manual(7, 0), Context::manual(7, 0), Context::manual(8, 0));
    assert_eq!(one.boot(), same.boot());
    assert_ne!(one.boot(), other.boot());
    assert_eq!(one.transaction_id(), same.transaction_id());
    assert_ne!(one.transaction_id(), one.transaction_id());
}

#[test]
fn transaction_ids_are_uuid_v7_and_rise_with_the_clock() {
    let context = Context::manual(1, 1_700_000_000_000);
    let first = context.transaction_id();
    context.advance(1);
    let second = context.transaction_id();
    for id in [first, second] {
        assert_eq!(uuid::Uuid::from_bytes(id.0).get_version(), Some(uuid::Version::SortRand));
    }
    assert!(first < second);
}

#[test]
fn the_servers_time_sets_the_wall_clock_and_leaves_uptime_alone() {
    let context = Context::manual(1, 5);
    context.advance(10);
    assert_eq!((context.now().wall_ms, context.now().clock), (15, ClockQuality::FreeRunning));
    context.learn_wall_clock(1_000_000);
    context.advance(7);
    let now = context.now();
    assert_eq!((now.wall_ms, now.uptime_ms, now.clock), (1_000_007, 17, ClockQuality::Synced));
}

#[test]
fn a_jump_of_the_wall_clock_is_not_believed_and_moves_no_uptime() {
    let context = Context::manual(1, 0);
    context.learn_wall_clock(1_000_000);
    context.jump_wall_clock(-500_000);
    let now = context.now();
    assert_eq!((now.wall_ms, now.uptime_ms, now.clock), (500_000, 0, ClockQuality::FreeRunning));
}
