#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::{config::LimitsConfig, context::Context};

fn limiter(
    rate_per_s: u32,
    rate_burst: u32,
    rate_callers: usize,
) -> (RateLimiter, crate::context::ManualClock) {
    let (context, clock) = Context::manual(1_000, 1);
    let limits = LimitsConfig { rate_per_s, rate_burst, rate_callers, ..LimitsConfig::default() };
    (RateLimiter::new(&limits, context), clock)
}

#[test]
fn a_burst_is_admitted_and_then_one_call_per_interval() {
    let (limiter, clock) = limiter(10, 3, 16);
    for _ in 0..3 {
        limiter.admit("a", RateClass::Each).unwrap();
    }
    let refusal = limiter.admit("a", RateClass::Each).unwrap_err();
    assert_eq!(refusal.retry_after, Duration::from_millis(100));
    clock.advance(Duration::from_millis(99));
    assert!(limiter.admit("a", RateClass::Each).is_err());
    clock.advance(Duration::from_millis(1));
    limiter.admit("a", RateClass::Each).unwrap();
    assert!(limiter.admit("a", RateClass::Each).is_err());
}

#[test]
fn one_caller_does_not_spend_what_belongs_to_another() {
    let (limiter, _clock) = limiter(1, 1, 16);
    limiter.admit("a", RateClass::Each).unwrap();
    assert!(limiter.admit("a", RateClass::Each).is_err());
    limiter.admit("b", RateClass::Each).unwrap();
}

#[test]
fn a_server_that_speaks_for_thousands_has_a_quota_of_its_own() {
    let (context, clock) = Context::manual(1_000, 1);
    let limits = LimitsConfig {
        rate_per_s: 1,
        rate_burst: 1,
        service_rate_per_s: 100,
        service_rate_burst: 50,
        ..LimitsConfig::default()
    };
    let limiter = RateLimiter::new(&limits, context);
    for _ in 0..50 {
        limiter.admit("service:shop", RateClass::Service).unwrap();
    }
    let refusal = limiter.admit("service:shop", RateClass::Service).unwrap_err();
    assert_eq!((refusal.limit, refusal.retry_after), (100, Duration::from_millis(10)));
    clock.advance(Duration::from_millis(10));
    limiter.admit("service:shop", RateClass::Service).unwrap();
    limiter.admit("customer:ada", RateClass::Each).unwrap();
    assert!(limiter.admit("customer:ada", RateClass::Each).is_err());
}

#[test]
fn the_map_keeps_its_bound_and_the_entries_in_use() {
    let mut map = BoundedMap::new(10);
    map.insert(0, "kept");
    for key in 1..1_000 {
        map.insert(key, "passing");
        assert_eq!(map.get_mut(&0), Some(&mut "kept"), "after {key}");
        assert!(map.len() <= 10);
    }
    assert_eq!(map.get_mut(&1), None);
    map.remove(&0);
    assert_eq!(map.get_mut(&0), None);
}

#[test]
fn strangers_can_neither_flush_a_known_caller_nor_one_of_their_own() {
    let (limiter, clock) = limiter(1, 2, 16);
    for _ in 0..2 {
        limiter.admit("greedy", RateClass::Each).unwrap();
        limiter.admit("ip:192.0.2.1", RateClass::Stranger).unwrap();
    }
    let mut admitted = 0;
    for stranger in 0..10_000 {
        admitted += u32::from(limiter.admit(&format!("ip:{stranger}"), RateClass::Stranger).is_ok());
    }
    assert!(limiter.admit("greedy", RateClass::Each).is_err());
    assert!(limiter.admit("ip:192.0.2.1", RateClass::Stranger).is_err(), "its bucket was not forgotten");
    assert!(admitted <= 15 + 2, "new ones share one bucket while all others are in use: {admitted}");
    // Once they are empty again there is room.
    clock.advance(Duration::from_secs(3));
    limiter.admit("ip:198.51.100.1", RateClass::Stranger).unwrap();
    clock.advance(Duration::from_secs(3));
    limiter.admit("ip:198.51.100.2", RateClass::Stranger).unwrap();
    limiter.admit("ip:198.51.100.2", RateClass::Stranger).unwrap();
}

#[test]
fn what_is_larger_than_the_bucket_fits_when_it_is_empty() {
    let quota = Quota::per_second(10, 5);
    let mut buckets = Buckets::<String>::new(4);
    buckets.take("a", &quota, 20, Duration::ZERO).unwrap();
    let wait = buckets.take("a", &quota, 1, Duration::ZERO).unwrap_err();
    assert_eq!(wait, Duration::from_millis(1_600));
    buckets.take("a", &quota, 1, wait).unwrap();
}

#[test]
fn an_ipv6_caller_is_its_64_bits_and_an_ipv4_one_is_itself() {
    let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
    assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
    assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
    assert!(!same("192.0.2.1", "192.0.2.2"));
}

#[test]
fn failures_are_logged_now_and_then_with_their_number() {
    let (context, clock) = Context::manual(1_000, 1);
    let limits = LimitsConfig { failures_per_s: 1, failures_burst: 2, ..LimitsConfig::default() };
    let failures = Failures::new(&limits, context);
    let from = "192.0.2.1".parse().unwrap();
    assert_eq!(failures.wait(from), None);
    assert_eq!(failures.count(from), Some(FailedAttempts { count: 1, latest: from }));
    for _ in 0..1_000 {
        assert_eq!(failures.count(from), None);
    }
    assert!(
        failures.wait(from).unwrap() <= Duration::from_secs(4),
        "a flood is not held against it for hours"
    );
    assert_eq!(failures.wait("192.0.2.2".parse().unwrap()), None);
    clock.advance(Duration::from_secs(10));
    assert_eq!(failures.count(from), Some(FailedAttempts { count: 1_001, latest: from }));
}

#[test]
fn a_machine_spends_its_budgets_and_what_was_not_stored_is_given_back() {
    let (context, clock) = Context::manual(1_000, 1);
    let mut config = crate::config::Config::default();
    (config.sync.machine_records_burst, config.sync.machine_records_per_hour) = (1_000, 3_600);
    (config.sync.machine_epochs_burst, config.sync.machine_epochs_per_hour) = (2, 1);
    let budgets = MachineBudgets::new(&config, context);
    let (greedy, other) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
    let sync =
        |records: u64, epoch: u8| Spending { epoch: [epoch; 16], records, bytes: 1, dead_letter_bytes: 0 };
    budgets.take(greedy, &sync(600, 1)).unwrap();
    let over = budgets.take(greedy, &sync(600, 1)).unwrap_err();
    assert_eq!((over.limit, over.most), ("sync.machine_records_per_hour", 3_600));
    assert_eq!(over.retry_after, Duration::from_secs(200));
    budgets.take(other, &sync(600, 1)).unwrap();
    // The epochs' budget refuses, and the records go back.
    budgets.take(greedy, &sync(100, 2)).unwrap();
    assert_eq!(budgets.take(greedy, &sync(300, 3)).unwrap_err().limit, "sync.machine_epochs_per_hour");
    budgets.take(greedy, &sync(300, 2)).unwrap();
    budgets.give_back(greedy, &sync(300, 2));
    budgets.take(greedy, &sync(300, 1)).unwrap();
    assert!(budgets.take(greedy, &sync(1, 1)).is_err());
    clock.advance(Duration::from_secs(1));
    budgets.take(greedy, &sync(1, 1)).unwrap();
}
