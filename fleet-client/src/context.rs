//! Time, ids and randomness: the one place in this crate that asks the operating system for any of them.
//!
//! Everything else takes a [`Context`]. The real one is [`Context::system`]; tests and simulations drive
//! [`Context::manual`], whose clock moves only when told, or [`Context::seeded`], whose clock runs but whose ids and
//! jitter come from a seed.

#![allow(clippy::disallowed_methods, reason = "the one home of time, ids and randomness in this crate")]

#[cfg(test)]
mod tests;

use rand::rngs::SysRng;
use rand::{Rng, RngExt, SeedableRng, TryRng};
use rand_chacha::ChaCha20Rng;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use vend_core::id::{BootId, TransactionId};
use vend_core::time::{ClockQuality, Now, Stamp};

/// One boot's view of time and chance. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Context {
    shared: Arc<Mutex<Shared>>,
    boot: BootId,
}

struct Shared {
    clock: Clock,
    rng: ChaCha20Rng,
    /// Added to the device's own wall clock: learned from the server, or a jump made by a simulation.
    wall_offset_ms: i64,
    quality: ClockQuality,
}

enum Clock {
    /// Uptime from the runtime's monotonic clock (which a paused tokio runtime stops), wall from the system.
    Running { booted: tokio::time::Instant },
    /// Moves only by [`Context::advance`].
    Manual { uptime_ms: u64, wall_start_ms: i64 },
}

impl Context {
    /// The real thing: a new boot now, randomness from the operating system.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: a device without it must not make secrets.
    #[must_use]
    pub fn system() -> Self {
        let mut seed = [0_u8; 32];
        SysRng.try_fill_bytes(&mut seed).expect("the operating system gives randomness at start");
        Self::new(Clock::Running { booted: tokio::time::Instant::now() }, seed, ClockQuality::FreeRunning)
    }

    /// A running clock with ids and jitter that follow from `seed`: the same seed, the same boot id.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let clock = Clock::Running { booted: tokio::time::Instant::now() };
        Self::new(clock, wide(seed), ClockQuality::FreeRunning)
    }

    /// A clock that moves only when told, ids and jitter that follow from `seed`.
    #[must_use]
    pub fn manual(seed: u64, wall_start_ms: i64) -> Self {
        Self::new(Clock::Manual { uptime_ms: 0, wall_start_ms }, wide(seed), ClockQuality::FreeRunning)
    }

    fn new(clock: Clock, seed: [u8; 32], quality: ClockQuality) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mut boot = [0; 16];
        rng.fill_bytes(&mut boot);
        let shared = Shared { clock, rng, wall_offset_ms: 0, quality };
        Self { shared: Arc::new(Mutex::new(shared)), boot: BootId(boot) }
    }

    /// This boot.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Now {
        self.with(|s| {
            let (uptime_ms, wall_ms) = s.readings();
            Now { uptime_ms, wall_ms: wall_ms.saturating_add(s.wall_offset_ms), clock: s.quality }
        })
    }

    /// This moment, in this boot.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { boot: self.boot, at: self.now() }
    }

    /// Milliseconds since this boot; never goes back.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        self.with(|s| s.readings().0)
    }

    /// Sets the wall clock from the server's. Half a round trip of error is fine: order never rests on it.
    pub fn learn_wall_clock(&self, server_time_ms: i64) {
        self.with(|s| {
            let (_, wall_ms) = s.readings();
            s.wall_offset_ms = server_time_ms.saturating_sub(wall_ms);
            s.quality = ClockQuality::Synced;
        });
    }

    /// Makes the wall clock jump, as a dead battery or a wrong hand would. For simulations.
    pub fn jump_wall_clock(&self, by_ms: i64) {
        self.with(|s| {
            s.wall_offset_ms = s.wall_offset_ms.saturating_add(by_ms);
            s.quality = ClockQuality::FreeRunning;
        });
    }

    /// Moves a manual clock; a running one is left alone.
    pub fn advance(&self, ms: u64) {
        self.with(|s| {
            if let Clock::Manual { uptime_ms, .. } = &mut s.clock {
                *uptime_ms = uptime_ms.saturating_add(ms);
            }
        });
    }

    /// A new UUIDv7, as a sale's name.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        self.with(|s| {
            let (_, wall_ms) = s.readings();
            let millis = u64::try_from(wall_ms.saturating_add(s.wall_offset_ms)).unwrap_or(0);
            let mut random = [0; 10];
            s.rng.fill_bytes(&mut random);
            TransactionId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().into_bytes())
        })
    }

    /// Sixteen random bytes: an epoch, a trace id.
    #[must_use]
    pub fn random16(&self) -> [u8; 16] {
        self.random()
    }

    /// Thirty-two random bytes: a device secret.
    #[must_use]
    pub fn random32(&self) -> [u8; 32] {
        self.random()
    }

    /// A number from `0..=max`, every one as likely.
    #[must_use]
    pub fn up_to(&self, max: u64) -> u64 {
        self.with(|s| s.rng.random_range(0..=max))
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        self.with(|s| {
            let mut bytes = [0; N];
            s.rng.fill_bytes(&mut bytes);
            bytes
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Shared) -> T) -> T {
        f(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    fn readings(&self) -> (u64, i64) {
        match &self.clock {
            Clock::Running { booted } => {
                let uptime = u64::try_from(booted.elapsed().as_millis()).unwrap_or(u64::MAX);
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
                (uptime, i64::try_from(wall).unwrap_or(i64::MAX))
            }
            Clock::Manual { uptime_ms, wall_start_ms } => {
                let passed = i64::try_from(*uptime_ms).unwrap_or(i64::MAX);
                (*uptime_ms, wall_start_ms.saturating_add(passed))
            }
        }
    }
}

fn wide(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}
