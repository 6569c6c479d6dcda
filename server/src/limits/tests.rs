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
