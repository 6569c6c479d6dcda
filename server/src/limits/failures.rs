//! Wrong credentials, by the network they come from.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Buckets, Quota};
use crate::{config::LimitsConfig, context::Context};

/// One line in the log per so long, however many failures there are.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Counts failures per network. A network that failed too often has only those callers let in that are known to be
/// right already; whoever else comes from it is told to wait before anything is looked up.
#[derive(Debug)]
pub struct Failures {
    context: Context,
    quota: Quota,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    buckets: Buckets<IpAddr>,
    unlogged: u64,
    logged_at: Option<Duration>,
}

/// What is to be written into the log now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedAttempts {
    /// Failures since the last line, this one included.
    pub count: u64,
    /// The network of the latest.
    pub latest: IpAddr,
}

impl Failures {
    /// `failures_per_s` in the long run and `failures_burst` at once per network, `rate_callers` networks remembered.
    pub fn new(limits: &LimitsConfig, context: Context) -> Self {
        let quota = Quota::per_second(limits.failures_per_s.into(), limits.failures_burst.into());
        let buckets = Buckets::new(limits.rate_callers);
        Self { context, quota, state: Mutex::new(State { buckets, unlogged: 0, logged_at: None }) }
    }

    /// How long a network must wait before an unknown credential of it is looked at; `None`: not at all.
    pub fn wait(&self, network: IpAddr) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.buckets.wait(&network, &self.quota, self.context.elapsed())
    }

    /// Counts a failure. Answers what to log, at most once in ten seconds.
    pub fn count(&self, network: IpAddr) -> Option<FailedAttempts> {
        let now = self.context.elapsed();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.buckets.charge(&network, &self.quota, 1, now);
        state.unlogged += 1;
        if state.logged_at.is_some_and(|at| now < at + LOG_EVERY) {
            return None;
        }
        state.logged_at = Some(now);
        Some(FailedAttempts { count: std::mem::take(&mut state.unlogged), latest: network })
    }

    /// The quota, for the answer.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }
}
