//! The circuit breaker: a gateway in trouble is left alone, and probed by one order after a while. A state machine without a
//! clock: whoever asks says what time it is.

#[cfg(test)]
mod tests;

use std::time::Duration;

/// Bounds of a breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerSettings {
    /// Outages in a row after which it opens.
    pub failures: u32,
    /// How long it is open before one order probes the gateway.
    pub open_for: Duration,
    /// How long a probe may take before another one is let through.
    pub probe_for: Duration,
}

/// Where it stands, as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakerState {
    /// The gateway answers.
    Closed,
    /// It is left alone.
    Open,
    /// One order asks it again.
    Probing,
}

impl BreakerState {
    /// For metrics.
    pub fn number(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::Probing => 2,
        }
    }
}

/// How much may be begun now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// As much as there is room for.
    All,
    /// One, to see whether the gateway is back.
    Probe,
    /// Nothing until this time.
    Nothing {
        /// On the clock that was given.
        until: Duration,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed { in_a_row: u32 },
    Open { until: Duration },
    Probing { until: Duration },
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
}

impl Breaker {
    /// Closed.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { in_a_row: 0 } }
    }

    /// What may be begun at `now`. A probe that is permitted is under way from then on.
    pub fn permit(&mut self, now: Duration) -> Permit {
        match self.state {
            State::Closed { .. } => Permit::All,
            State::Open { until } | State::Probing { until } if now < until => Permit::Nothing { until },
            // A probe that never told how it went does not keep the gateway locked out for ever.
            State::Open { .. } | State::Probing { .. } => {
                self.state = State::Probing { until: now.saturating_add(self.settings.probe_for) };
                Permit::Probe
            }
        }
    }

    /// A permitted probe was not needed: there was nothing to do. The next one may be had at once.
    pub fn unused(&mut self, now: Duration) {
        if matches!(self.state, State::Probing { .. }) {
            self.state = State::Open { until: now };
        }
    }

    /// The gateway answered: it works, whoever asked.
    pub fn answered(&mut self) {
        self.state = State::Closed { in_a_row: 0 };
    }

    /// The gateway was in trouble.
    pub fn failed(&mut self, now: Duration) {
        let open = State::Open { until: now.saturating_add(self.settings.open_for) };
        self.state = match self.state {
            State::Closed { in_a_row } if in_a_row.saturating_add(1) < self.settings.failures => {
                State::Closed { in_a_row: in_a_row.saturating_add(1) }
            }
            State::Closed { .. } | State::Probing { .. } => open,
            // Those that were under way when it opened say nothing new.
            State::Open { until } => State::Open { until },
        };
    }

    /// Where it stands.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Probing { .. } => BreakerState::Probing,
        }
    }
}
