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
    per_call: Duration,
    burst: u32,
    per_s: u32,
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
    /// Bounds from the config: `rate_per_s` in the long run, `rate_burst` at once, `rate_callers` remembered.
    pub fn new(limits: &LimitsConfig, context: Context) -> Self {
        Self {
            context,
            empty_at: Mutex::new(BoundedMap::new(limits.rate_callers)),
            per_call: Duration::from_secs(1) / limits.rate_per_s,
            burst: limits.rate_burst,
            per_s: limits.rate_per_s,
        }
    }

    /// Counts a call of this caller, or says when to come back. A refused call costs the caller nothing.
    pub fn admit(&self, caller: &str) -> Result<(), RateRefusal> {
        let now = self.context.elapsed();
        let capacity = self.per_call * self.burst;
        let mut callers = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        let known = callers.get_mut(&caller.to_owned());
        let filled = known.as_ref().map_or(now, |empty_at| (**empty_at).max(now)) + self.per_call;
        if filled > now + capacity {
            let retry_after = filled - (now + capacity);
            return Err(RateRefusal { retry_after, limit: self.per_s, window: Duration::from_secs(1) });
        }
        match known {
            Some(empty_at) => *empty_at = filled,
            None => callers.insert(caller.to_owned(), filled),
        }
        Ok(())
    }
}
