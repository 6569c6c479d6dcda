//! What is counted about remote purchases.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

/// Where machines stand.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabels {
    /// A pool state's name in the contract, in lower case.
    pub state: &'static str,
}

/// The pool. Cheap to clone; clones share their numbers.
#[derive(Clone, Debug, Default)]
pub struct PoolMetrics {
    /// Machines in use, by where they stand; of the whole fleet, whichever replica is asked.
    pub machines: Family<StateLabels, Gauge>,
    /// Callers that wait for a machine on this replica.
    pub waiting_callers: Gauge,
}

impl PoolMetrics {
    pub(super) fn register(self, r: &mut Registry) {
        r.register(
            "pool_machines",
            "Machines in use, by pool state; every replica shows those of the whole fleet",
            self.machines,
        );
        let waiting = "Callers of StartWork that wait for a machine here";
        r.register("pool_waiting_callers", waiting, self.waiting_callers);
    }
}
