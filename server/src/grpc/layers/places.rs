//! Who a caller is for the bounds, and what it is told at one.

use std::time::Duration;

use super::{SYNC, Shell};
use crate::{
    auth::{Caller, Role, calls::Call},
    error::{ApiError, Reason},
    limits::{Class, Place, PlaceKind, Places, RateClass, Refusal, network},
    metrics::ClassLabels,
    tls::PeerInfo,
};

/// The class of a caller, and the name it is counted under: a stranger's is its network.
pub(super) fn counted_as(caller: &Caller, name: &str, peer: Option<PeerInfo>) -> (Class, String) {
    match (caller, peer) {
        (Caller::Anonymous, Some(peer)) => (Class::Stranger, format!("ip:{}", network(peer.address.ip()))),
        (Caller::Anonymous, None) => (Class::Stranger, name.to_owned()),
        (Caller::Machine(_), _) => (Class::Machine, name.to_owned()),
        (Caller::Person(person), _) if person.role == Role::Service => (Class::Service, name.to_owned()),
        (Caller::Person(_), _) => (Class::Person, name.to_owned()),
    }
}

impl Shell {
    /// Counts a call against its caller's rate.
    pub(super) fn admit_rate(&self, class: Class, name: &str) -> Result<(), ApiError> {
        let rate = match class {
            Class::Stranger => RateClass::Stranger,
            Class::Machine => RateClass::Machine,
            Class::Person => RateClass::Each,
            Class::Service => RateClass::Service,
        };
        self.rate.admit(name, rate).map_err(|refusal| {
            self.metrics.refused.get_or_create(&ClassLabels { class: class.name(), cause: "rate" }).inc();
            rate_limited("more calls than one caller may make", refusal.limit, refusal.window)
                .retry_after(refusal.retry_after)
        })
    }

    /// A place for the call, or a refusal before any work.
    pub(super) fn place(&self, call: &Call, class: Class, name: &str) -> Result<Place, ApiError> {
        let kind = match (call.streams, call.path) {
            (true, _) => PlaceKind::Stream,
            (false, SYNC) => PlaceKind::Sync,
            (false, _) => PlaceKind::Call,
        };
        Places::take(&self.places, kind, class, name).map_err(|refusal| self.refused(&refusal))
    }

    pub(super) fn refused(&self, refusal: &Refusal) -> ApiError {
        // Spread, so that those turned away together don't come back together.
        let delay = Duration::from_millis(500) + self.context.jitter(Duration::from_millis(1_500));
        match *refusal {
            Refusal::Full => overloaded().retry_after(delay),
            Refusal::Caller { limit, most, retry_after } => {
                caller_limit(limit, most).retry_after(retry_after.unwrap_or(delay).max(delay))
            }
        }
    }
}

pub(super) fn overloaded() -> ApiError {
    ApiError::new(Reason::Overloaded, "the server has all the calls it can work on")
}

pub(super) fn rate_limited(message: &str, limit: u64, window: Duration) -> ApiError {
    ApiError::new(Reason::RateLimited, message).with("limit", limit).with("window_ms", window.as_millis())
}

pub(super) fn caller_limit(limit: &'static str, most: usize) -> ApiError {
    ApiError::new(Reason::CallerLimit, format!("one caller has at most {most} here ({limit})"))
        .with("limit", limit)
        .with("most", most)
}
