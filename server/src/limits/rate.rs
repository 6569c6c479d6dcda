//! Calls per second and caller.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::BoundedMap;
use crate::{config::LimitsConfig, context::Context};

/// A leaky bucket per caller (GCRA: one number each, the time at which the bucket is empty again).
#[derive(Debug)]
pub struct RateLimiter {
    context: Context,
    /// Callers, and when each one's bucket is empty again, since the context's start.
    empty_at: Mutex<BoundedMap<String, Duration>>,
    each: Quota,
    service: Quota,
}

/// Whose quota a caller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateClass {
    /// One machine, one person, one address: `rate_per_s`, `rate_burst`.
    Each,
    /// Another server, which speaks for thousands: `service_rate_per_s`, `service_rate_burst`.
    Service,
}

#[derive(Debug, Clone, Copy)]
struct Quota {
    per_s: u32,
    per_call: Duration,
    capacity: Duration,
}

impl Quota {
    fn new(per_s: u32, burst: u32) -> Self {
        let per_call = Duration::from_secs(1) / per_s;
        Self { per_s, per_call, capacity: per_call * burst }
    }
}

/// A caller that asked too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateRefusal {
    /// When one more call fits.
    pub retry_after: Duration,
    /// Calls allowed in `window`.
    pub limit: u32,
    /// The window.
    pub window: Duration,
}

impl RateLimiter {
    /// Bounds from the config: so many per second in the long run and so many at once, `rate_callers` remembered.
    pub fn new(limits: &LimitsConfig, context: Context) -> Self {
        Self {
            context,
            empty_at: Mutex::new(BoundedMap::new(limits.rate_callers)),
            each: Quota::new(limits.rate_per_s, limits.rate_burst),
            service: Quota::new(limits.service_rate_per_s, limits.service_rate_burst),
        }
    }

    /// Counts a call of this caller, or says when to come back. A refused call costs the caller nothing.
    pub fn admit(&self, caller: &str, class: RateClass) -> Result<(), RateRefusal> {
        let quota = match class {
            RateClass::Each => self.each,
            RateClass::Service => self.service,
        };
        let now = self.context.elapsed();
        let mut callers = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        let known = callers.get_mut(caller);
        let filled = known.as_ref().map_or(now, |empty_at| (**empty_at).max(now)) + quota.per_call;
        if filled > now + quota.capacity {
            let retry_after = filled - (now + quota.capacity);
            return Err(RateRefusal { retry_after, limit: quota.per_s, window: Duration::from_secs(1) });
        }
        match known {
            Some(empty_at) => *empty_at = filled,
            None => callers.insert(caller.to_owned(), filled),
        }
        Ok(())
    }
}
