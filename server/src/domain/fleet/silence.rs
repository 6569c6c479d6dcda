//! When a machine that is not heard is silent.

use std::fmt;
use std::str::FromStr;

/// Name of the alert that a real machine has not synced for longer than the configured time.
pub const MACHINE_SILENT: &str = "MACHINE_SILENT";

/// Shortest time after which a machine can be called silent, ms. A Sync after a shorter pause has no such alert to end.
pub const SILENT_AFTER_LEAST_MS: i64 = 60_000;

/// Since when the fleet could have been heard. While no server listened nobody can tell who was silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listening {
    /// Start of the present stretch of listening, ms since the Unix epoch.
    pub since_ms: i64,
    /// The last look at who is silent, ms since the Unix epoch.
    pub looked_at_ms: i64,
}

impl Listening {
    /// Looks again at `now_ms`. A pause of more than a quarter of `silent_after_ms` between two looks (no server, no database,
    /// a clock that jumped) begins a new stretch: every machine then has the whole time to come back. A shorter one can't make
    /// a machine silent that speaks when it should, and so frequent restarts don't put off an alert for ever.
    #[must_use]
    pub fn look(before: Option<Self>, now_ms: i64, silent_after_ms: i64) -> Self {
        let goes_on = |known: &Self| {
            (0..=silent_after_ms / 4).contains(&now_ms.saturating_sub(known.looked_at_ms))
                && known.since_ms <= now_ms
        };
        let since_ms = before.filter(goes_on).map_or(now_ms, |known| known.since_ms);
        Self { since_ms, looked_at_ms: now_ms }
    }

    /// Whoever was last heard before this is silent, ms since the Unix epoch; `None` while nobody can be.
    #[must_use]
    pub fn silent_before_ms(&self, silent_after_ms: i64) -> Option<i64> {
        let before_ms = self.looked_at_ms.saturating_sub(silent_after_ms);
        (self.since_ms <= before_ms).then_some(before_ms)
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.since_ms, self.looked_at_ms)
    }
}

/// Not what `Display` writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotListening;

impl FromStr for Listening {
    type Err = NotListening;

    fn from_str(text: &str) -> Result<Self, NotListening> {
        let (since, looked_at) = text.split_once(' ').ok_or(NotListening)?;
        let number = |text: &str| text.parse().map_err(|_| NotListening);
        Ok(Self { since_ms: number(since)?, looked_at_ms: number(looked_at)? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
mod tests {
    use super::Listening;

    const AFTER_MS: i64 = 60_000;

    fn looks(times: impl IntoIterator<Item = i64>) -> Listening {
        times.into_iter().fold(None, |before, at| Some(Listening::look(before, at, AFTER_MS))).unwrap()
    }

    #[test]
    fn nobody_is_silent_before_the_whole_time_was_listened_through() {
        assert_eq!(looks((0..=59_000).step_by(5_000)).silent_before_ms(AFTER_MS), None);
        assert_eq!(looks((0..=60_000).step_by(5_000)).silent_before_ms(AFTER_MS), Some(0));
    }

    #[test]
    fn an_outage_or_a_jump_of_the_clock_begins_anew_and_a_short_restart_does_not() {
        let before = (0..=100_000).step_by(5_000);
        let after = |at| looks(before.clone().chain([at]));
        assert_eq!(after(115_000).since_ms, 0);
        assert_eq!(after(115_001).since_ms, 115_001);
        assert_eq!(after(99_000).since_ms, 99_000);
        assert_eq!(after(40_000_000_000).silent_before_ms(AFTER_MS), None);
    }

    #[test]
    fn what_is_written_reads_back_and_anything_else_is_refused() {
        let listening = Listening { since_ms: 5, looked_at_ms: 17 };
        assert_eq!(listening.to_string().parse(), Ok(listening));
        for text in ["", "5", "5 x", "5 1 7"] {
            assert!(text.parse::<Listening>().is_err(), "{text:?}");
        }
    }
}
