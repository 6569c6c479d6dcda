//! Time, ids and randomness: the only home of the clocks and of the environment.
//!
//! **Architecture Invariant**: nothing else in this crate reads a clock, makes an id or reads an environment variable,
//! so a test that drives a [`ManualClock`] drives all of them.

#![allow(clippy::disallowed_methods, reason = "the one home of clocks and environment")]

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use uuid::Uuid;

/// Where an operation gets its time, ids and randomness. Cheap to clone; clones share clock and generator.
#[derive(Clone)]
pub struct Context {
    clock: Clock,
    random: Random,
}

#[derive(Clone)]
enum Clock {
    System { started: Instant },
    Manual(ManualClock),
}

#[derive(Clone)]
enum Random {
    System,
    Seeded(Arc<Mutex<StdRng>>),
}

impl Context {
    /// The real clock and the operating system's randomness.
    pub fn system() -> Self {
        Self { clock: Clock::System { started: Instant::now() }, random: Random::System }
    }

    /// A clock that moves only when told, and a generator that repeats itself for the same seed.
    pub fn manual(start_ms: i64, seed: u64) -> (Self, ManualClock) {
        let clock = ManualClock { now_ms: Arc::new(AtomicI64::new(start_ms)), start_ms };
        let random = Random::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))));
        (Self { clock: Clock::Manual(clock.clone()), random }, clock)
    }

    /// Wall clock, milliseconds since the Unix epoch. May jump, in both directions.
    pub fn now_ms(&self) -> i64 {
        match &self.clock {
            Clock::System { .. } => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Clock::Manual(manual) => manual.now_ms.load(Ordering::SeqCst),
        }
    }

    /// Time since this context was made. Never goes back (with a manual clock: unless a test makes it).
    pub fn elapsed(&self) -> Duration {
        match &self.clock {
            Clock::System { started } => started.elapsed(),
            Clock::Manual(manual) => {
                let ms = manual.now_ms.load(Ordering::SeqCst).saturating_sub(manual.start_ms);
                Duration::from_millis(u64::try_from(ms).unwrap_or(0))
            }
        }
    }

    /// A new id: UUIDv7, so that ids sort by the time they were made.
    pub fn new_id(&self) -> Uuid {
        let ms = u64::try_from(self.now_ms()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(ms, &self.random_bytes()).into_uuid()
    }

    /// Random bytes, fit for secrets when the context is [`Context::system`].
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.random {
            Random::System => rand::rng().fill_bytes(&mut bytes),
            Random::Seeded(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes),
        }
        bytes
    }

    /// A delay drawn evenly from zero to `most` (full jitter).
    pub fn jitter(&self, most: Duration) -> Duration {
        let share: f64 = match &self.random {
            Random::System => rand::rng().random(),
            Random::Seeded(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).random(),
        };
        most.mul_f64(share)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("now_ms", &self.now_ms()).finish_non_exhaustive()
    }
}

/// The hand that moves a manual context's clock.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now_ms: Arc<AtomicI64>,
    start_ms: i64,
}

impl ManualClock {
    /// Moves time on.
    pub fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Sets the wall clock, also backwards.
    pub fn set(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }
}

/// The process environment, for the config alone. Names or values that are not Unicode are left out.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
