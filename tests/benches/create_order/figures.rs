//! What one measurement gives.

use crate::common::percentile;
use std::fmt;
use std::time::Duration;

/// A rate, and how long each took.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub per_s: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p99_9_ms: f64,
    pub max_ms: f64,
    /// Where the processor time went, and what else there is to say.
    pub note: String,
}

impl Figures {
    /// From the latency of everything that ended within the measured time.
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn of(mut latencies_ms: Vec<f64>, measured: Duration, note: String) -> Self {
        assert!(!latencies_ms.is_empty(), "nothing ended within the measured time");
        latencies_ms.sort_by(f64::total_cmp);
        let at = |share| percentile(&latencies_ms, share);
        Self {
            per_s: latencies_ms.len() as f64 / measured.as_secs_f64(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p99_9_ms: at(0.999),
            max_ms: at(1.0),
            note,
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0}/s  p50 {:>6.2}  p90 {:>6.2}  p99 {:>6.2}  p99.9 {:>7.2}  max {:>7.2} ms  {}",
            self.per_s, self.p50_ms, self.p90_ms, self.p99_ms, self.p99_9_ms, self.max_ms, self.note
        )
    }
}
