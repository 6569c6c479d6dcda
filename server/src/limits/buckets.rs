//! Leaky buckets by name, of a bounded number, that nobody can empty by filling the map.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, time::Duration};

/// Shortest time between two looks for buckets that are empty again.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How fast a bucket empties and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Units per window, for the answer.
    pub limit: u64,
    /// The window of `limit`.
    pub window: Duration,
    nanos_per_unit: u64,
    capacity: Duration,
}

impl Quota {
    /// `per_s` units a second in the long run, `burst` at once.
    pub fn per_second(per_s: u64, burst: u64) -> Self {
        Self::new(per_s, Duration::from_secs(1), burst)
    }

    /// `per_hour` units an hour in the long run, `burst` at once.
    pub fn per_hour(per_hour: u64, burst: u64) -> Self {
        Self::new(per_hour, Duration::from_secs(3_600), burst)
    }

    fn new(limit: u64, window: Duration, burst: u64) -> Self {
        let window_nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let nanos_per_unit = (window_nanos / limit.max(1)).max(1);
        Self {
            limit,
            window,
            nanos_per_unit,
            capacity: Duration::from_nanos(nanos_per_unit.saturating_mul(burst)),
        }
    }

    fn cost(&self, units: u64) -> Duration {
        Duration::from_nanos(self.nanos_per_unit.saturating_mul(units))
    }
}

/// One bucket per key (GCRA: one number each, the time at which the bucket is empty again).
///
/// A bucket is only forgotten once it is empty, so nobody gets a fresh one by making the map overflow. While it is full of
/// buckets in use, all new keys share one.
#[derive(Debug)]
pub struct Buckets<K> {
    empty_at: HashMap<K, Duration>,
    bound: usize,
    shared_empty_at: Duration,
    swept_at: Option<Duration>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// At most `bound` buckets of their own (at least one).
    pub fn new(bound: usize) -> Self {
        Self {
            empty_at: HashMap::new(),
            bound: bound.max(1),
            shared_empty_at: Duration::ZERO,
            swept_at: None,
        }
    }

    /// Takes `units` if they fit, or says after how long they would. What is refused costs nothing. More units than the
    /// bucket holds fit once it is empty.
    pub fn take<Q>(&mut self, key: &Q, quota: &Quota, units: u64, now: Duration) -> Result<(), Duration>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let cost = quota.cost(units);
        let filled = self.filled(key, now) + cost;
        let most = now + quota.capacity.max(cost);
        if filled > most {
            return Err(filled - most);
        }
        self.set(key, filled, now);
        Ok(())
    }

    /// Takes `units` whether they fit or not: they are spent already. A bucket is at most one capacity above its rim.
    pub fn charge<Q>(&mut self, key: &Q, quota: &Quota, units: u64, now: Duration)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let filled = (self.filled(key, now) + quota.cost(units)).min(now + quota.capacity * 2);
        self.set(key, filled, now);
    }

    /// Gives back units that were taken and not used.
    pub fn give_back<Q>(&mut self, key: &Q, quota: &Quota, units: u64, now: Duration)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(empty_at) = self.empty_at.get_mut(key) {
            *empty_at = empty_at.saturating_sub(quota.cost(units)).max(now);
        }
    }

    /// After how long one more unit fits; `None` when it fits now.
    pub fn wait<Q>(&self, key: &Q, quota: &Quota, now: Duration) -> Option<Duration>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (filled, most) = (self.filled(key, now) + quota.cost(1), now + quota.capacity.max(quota.cost(1)));
        (filled > most).then(|| filled - most)
    }

    /// How many buckets are kept.
    pub fn len(&self) -> usize {
        self.empty_at.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.empty_at.is_empty()
    }

    fn filled<Q>(&self, key: &Q, now: Duration) -> Duration
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let known = self.empty_at.get(key).copied();
        let shares = || if self.empty_at.len() >= self.bound { self.shared_empty_at } else { Duration::ZERO };
        known.unwrap_or_else(shares).max(now)
    }

    fn set<Q>(&mut self, key: &Q, filled: Duration, now: Duration)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(empty_at) = self.empty_at.get_mut(key) {
            *empty_at = filled;
            return;
        }
        if self.empty_at.len() >= self.bound {
            // Asked after the shared bucket was: whoever shares it pays into it.
            self.shared_empty_at = self.shared_empty_at.max(filled);
            self.sweep(now);
            return;
        }
        self.empty_at.insert(key.to_owned(), filled);
    }

    fn sweep(&mut self, now: Duration) {
        if self.swept_at.is_none_or(|at| now >= at + SWEEP_EVERY) {
            self.swept_at = Some(now);
            self.empty_at.retain(|_, empty_at| *empty_at > now);
        }
    }
}
