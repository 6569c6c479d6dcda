//! The gateway for development: no money moves, and what it decides about a key it decides for ever.
//!
//! The decision is a function of seed and key, so it is the same after a restart and on every replica. What was done with an
//! approved payment since is remembered for the last [`MAX_REMEMBERED`] keys of this process; of one it does not remember it
//! says what it would have decided, and that it is held.

#[cfg(test)]
mod tests;

use super::{Ask, Capture, Failed, Gateway, Payment, Said};
use crate::auth::BoxFuture;
use crate::domain::payment::Verdict;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// Payments remembered, at most; the longest known is forgotten first.
const MAX_REMEMBERED: usize = 65_536;

/// What an operator can set of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SimulatedSettings {
    /// Payments approved, percent.
    pub success_percent: u32,
    /// Shortest answer.
    pub delay_min: Duration,
    /// Longest answer.
    pub delay_most: Duration,
    /// The same seed and key give the same answer.
    pub seed: u64,
}

/// The simulated gateway.
#[derive(Debug)]
pub struct SimulatedGateway {
    settings: SimulatedSettings,
    known: Mutex<Known>,
}

#[derive(Default, Debug)]
struct Known {
    verdicts: HashMap<Uuid, Verdict>,
    order: VecDeque<Uuid>,
}

impl SimulatedGateway {
    /// A gateway that knows no payment yet.
    pub fn new(settings: SimulatedSettings) -> Self {
        Self { settings, known: Mutex::default() }
    }

    /// Sixteen bytes of luck for this key.
    fn luck(&self, key: Uuid) -> [u64; 2] {
        let digest =
            Sha256::new().chain_update(self.settings.seed.to_be_bytes()).chain_update(key).finalize();
        let half = |from: usize| {
            let bytes = digest[from..from + 8].try_into().expect("eight of thirty-two bytes");
            u64::from_be_bytes(bytes)
        };
        [half(0), half(8)]
    }

    async fn decide(&self, ask: &Ask, then: impl FnOnce(Verdict) -> Verdict) -> Result<Said, Failed> {
        let [chance, spread] = self.luck(ask.key);
        let range = self.settings.delay_most.saturating_sub(self.settings.delay_min);
        let more = u64::try_from(range.as_millis()).map_or(0, |most| spread % most.saturating_add(1));
        tokio::time::sleep(self.settings.delay_min + Duration::from_millis(more)).await;
        let approved = chance % 100 < u64::from(self.settings.success_percent);
        let fresh = if approved { Verdict::Authorised } else { Verdict::Declined };
        let verdict = self.known.lock().unwrap_or_else(PoisonError::into_inner).step(ask.key, fresh, then);
        let detail = if verdict == Verdict::Declined { "declined by the simulated gateway" } else { "" };
        Ok(Said::Payment(Payment {
            payment_id: format!("sim_{}", ask.key.simple()),
            verdict,
            detail: detail.to_owned(),
        }))
    }
}

impl Known {
    fn step(&mut self, key: Uuid, fresh: Verdict, then: impl FnOnce(Verdict) -> Verdict) -> Verdict {
        let known = self.verdicts.get(&key).copied();
        let now = then(known.unwrap_or(fresh));
        if known.is_none() {
            self.order.push_back(key);
            if self.order.len() > MAX_REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.verdicts.remove(&oldest);
            }
        }
        self.verdicts.insert(key, now);
        now
    }
}

/// What is held is moved on; everything else stays what it is.
fn held(to: Verdict) -> impl FnOnce(Verdict) -> Verdict {
    move |now| if now == Verdict::Authorised { to } else { now }
}

impl Gateway for SimulatedGateway {
    fn authorise<'g>(&'g self, ask: &'g Ask, capture: Capture) -> BoxFuture<'g, Result<Said, Failed>> {
        let to = match capture {
            Capture::Now => Verdict::Captured,
            Capture::Later => Verdict::Authorised,
        };
        Box::pin(self.decide(ask, held(to)))
    }

    fn capture<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>> {
        Box::pin(self.decide(ask, held(Verdict::Captured)))
    }

    fn void<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>> {
        Box::pin(self.decide(ask, held(Verdict::Voided)))
    }

    fn refund<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>> {
        Box::pin(self.decide(ask, |now| match now {
            Verdict::Captured => Verdict::Refunded,
            Verdict::Authorised => Verdict::Voided,
            other => other,
        }))
    }

    fn query<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>> {
        Box::pin(self.decide(ask, |now| now))
    }
}
