//! What is counted about payments and the workers that have orders paid.

use super::{KindLabels, seconds};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};

/// A call to the payment gateway and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GatewayLabels {
    /// A call of the contract.
    pub operation: &'static str,
    /// `definite`, or why there was no definite answer.
    pub outcome: &'static str,
}

/// Payments and their workers. Cheap to clone; clones share their numbers.
#[derive(Clone, Debug)]
pub struct PaymentMetrics {
    /// Calls to the gateway.
    pub gateway_calls: Family<GatewayLabels, Counter>,
    /// Time to its answer, or to giving up.
    pub gateway_seconds: Histogram,
    /// 0 closed, 1 open, 2 probing.
    pub breaker_state: Gauge,
    /// Orders claimed.
    pub claimed: Counter,
    /// Orders worked on, by what came of it.
    pub outcomes: Family<KindLabels, Counter>,
    /// Orders being worked on.
    pub in_flight: Gauge,
    /// Orders that a worker may take now, up to a bound.
    pub backlog: Gauge,
    /// Age of the longest-waiting of them.
    pub backlog_age: Gauge,
    /// Webhooks, by what came of them.
    pub webhooks: Family<KindLabels, Counter>,
}

impl PaymentMetrics {
    pub(super) fn new() -> Self {
        Self {
            gateway_calls: Family::default(),
            gateway_seconds: seconds(),
            breaker_state: Gauge::default(),
            claimed: Counter::default(),
            outcomes: Family::default(),
            in_flight: Gauge::default(),
            backlog: Gauge::default(),
            backlog_age: Gauge::default(),
            webhooks: Family::default(),
        }
    }

    pub(super) fn register(self, r: &mut Registry) {
        r.register("gateway_calls", "Calls to the payment gateway, by outcome", self.gateway_calls);
        r.register_with_unit("gateway", "Time of a call to the gateway", Unit::Seconds, self.gateway_seconds);
        r.register("gateway_breaker_state", "0 closed, 1 open, 2 probing", self.breaker_state);
        r.register("worker_orders_claimed", "Orders claimed by this replica", self.claimed);
        r.register("worker_outcomes", "Orders worked on, by what came of it", self.outcomes);
        r.register("worker_orders_in_flight", "Orders being worked on", self.in_flight);
        r.register("worker_backlog_orders", "Orders a worker may take now, up to 10000", self.backlog);
        let age = "Age of the longest-waiting order of the backlog";
        r.register_with_unit("worker_backlog_age", age, Unit::Seconds, self.backlog_age);
        r.register("payment_webhooks", "Webhooks of the gateway, by what came of them", self.webhooks);
    }
}
