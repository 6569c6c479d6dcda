//! Time as the machine knows it: uptime it can trust within a boot, a wall clock it may not.

use crate::id::BootId;

/// How far the wall clock can be believed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum ClockQuality {
    /// Never set since power-up: the reading orders nothing.
    #[default]
    Unset,
    /// Set in an earlier boot and carried by a battery clock: may drift or have jumped.
    FreeRunning,
    /// Set from the server's time in this boot.
    Synced,
}

/// The moment an input happens: monotonic uptime, and the wall clock with its quality.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Now {
    /// Milliseconds since this boot; never goes back within a boot.
    pub uptime_ms: u64,
    /// Wall clock, milliseconds since the Unix epoch, as the device believes it; may jump.
    pub wall_ms: i64,
    /// How far `wall_ms` can be believed.
    pub clock: ClockQuality,
}

/// When and in which boot a record was written. Records are ordered by `(epoch, seq)`, never by this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Stamp {
    /// The boot it was written in.
    pub boot: BootId,
    /// The moment, in that boot.
    pub at: Now,
}
