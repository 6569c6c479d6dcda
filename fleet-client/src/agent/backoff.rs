//! Full-jitter exponential back-off: between nothing and a ceiling that doubles, so that a fleet which lost its server
//! together does not come back together.

/// Where waiting starts and where it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Ceiling of the first wait, milliseconds.
    pub base_ms: u64,
    /// Ceiling of every later wait, milliseconds.
    pub cap_ms: u64,
}

/// How often it failed in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    bounds: Bounds,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, failures: 0 }
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed: how long to wait, milliseconds, drawn from `0..=ceiling` by `up_to`.
    pub fn failed(&mut self, up_to: impl FnOnce(u64) -> u64) -> u64 {
        let ceiling = self.ceiling_ms();
        self.failures = self.failures.saturating_add(1);
        up_to(ceiling)
    }

    /// It failed in a way that repeating soon will not heal: the ceiling is the cap at once.
    pub fn failed_badly(&mut self, up_to: impl FnOnce(u64) -> u64) -> u64 {
        self.failures = self.failures.max(u64::BITS);
        // Half the cap at least: a full-jitter draw near zero would be the very hammering this is to prevent.
        let half = self.bounds.cap_ms / 2;
        half.saturating_add(up_to(self.bounds.cap_ms - half))
    }

    fn ceiling_ms(&self) -> u64 {
        let doubled = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        self.bounds.base_ms.saturating_mul(doubled).min(self.bounds.cap_ms)
    }
}
