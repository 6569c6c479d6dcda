//! Calls per second and caller.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Buckets, Quota};
use crate::{config::LimitsConfig, context::Context};

/// A leaky bucket per caller. Strangers have a map of their own: however many they are, no known caller is forgotten for
/// them.
#[derive(Debug)]
pub struct RateLimiter {
    context: Context,
    callers: Mutex<Buckets<String>>,
    strangers: Mutex<Buckets<String>>,
    each: Quota,
    machine: Quota,
    service: Quota,
}

/// Whose quota a caller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateClass {
    /// An address without a credential: `rate_per_s`, `rate_burst`.
    Stranger,
    /// One machine: `machine_rate_per_s`, `machine_rate_burst`.
    Machine,
    /// One person: `rate_per_s`, `rate_burst`.
    Each,
    /// Another server, which speaks for thousands: `service_rate_per_s`, `service_rate_burst`.
    Service,
}

/// A caller that asked too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateRefusal {
    /// When one more call fits.
    pub retry_after: Duration,
    /// Calls allowed in `window`.
    pub limit: u64,
    /// The window.
    pub window: Duration,
}

impl RateLimiter {
    /// Bounds from the config: so many per second in the long run and so many at once, `rate_callers` remembered of each
    /// kind, the known and the strangers.
    pub fn new(limits: &LimitsConfig, context: Context) -> Self {
        let quota = |per_s: u32, burst: u32| Quota::per_second(per_s.into(), burst.into());
        Self {
            context,
            callers: Mutex::new(Buckets::new(limits.rate_callers)),
            strangers: Mutex::new(Buckets::new(limits.rate_callers)),
            each: quota(limits.rate_per_s, limits.rate_burst),
            machine: quota(limits.machine_rate_per_s, limits.machine_rate_burst),
            service: quota(limits.service_rate_per_s, limits.service_rate_burst),
        }
    }

    /// Counts a call of this caller, or says when to come back. A refused call costs the caller nothing.
    pub fn admit(&self, caller: &str, class: RateClass) -> Result<(), RateRefusal> {
        let (buckets, quota) = match class {
            RateClass::Stranger => (&self.strangers, &self.each),
            RateClass::Each => (&self.callers, &self.each),
            RateClass::Machine => (&self.callers, &self.machine),
            RateClass::Service => (&self.callers, &self.service),
        };
        let now = self.context.elapsed();
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(caller, quota, 1, now).map_err(|retry_after| RateRefusal {
            retry_after,
            limit: quota.limit,
            window: quota.window,
        })
    }
}
