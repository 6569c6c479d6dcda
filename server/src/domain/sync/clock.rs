//! When a record really happened, as far as it can be known: bounds from uptimes, never from a device's wall clock.

use super::call::{LastContact, SyncCall};
use vend_core::time::Stamp;

/// The longest a call can have been under way: a call older than its deadline is never folded.
const MAX_TRANSIT_MS: i64 = 30_000;

/// No earlier and no later than, both in ms since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    pub(super) earliest_ms: i64,
    pub(super) latest_ms: i64,
}

/// Bounds for a record's stamp. `previous` is the machine's contact before this call.
pub(super) fn bounds(call: &SyncCall, previous: Option<LastContact>, stamp: Option<&Stamp>) -> Bounds {
    let received = call.received_at_ms;
    let Some(stamp) = stamp else {
        return Bounds { earliest_ms: previous.map_or(0, |p| p.at_ms), latest_ms: received };
    };
    let since = |later: u64, earlier: u64| i64::try_from(later.saturating_sub(earlier)).unwrap_or(i64::MAX);
    if stamp.boot == call.now.boot {
        let latest_ms = received.saturating_sub(since(call.now.at.uptime_ms, stamp.at.uptime_ms));
        return Bounds { earliest_ms: latest_ms.saturating_sub(MAX_TRANSIT_MS), latest_ms };
    }
    // An earlier boot: it ended before this boot began.
    let latest_ms = received.saturating_sub(since(call.now.at.uptime_ms, 0));
    let earliest_ms = match previous {
        // Either way: the contact may have been carried on past the record, or have brought only what came before it.
        Some(p) if p.boot == stamp.boot => {
            let after = i128::from(stamp.at.uptime_ms) - i128::from(p.uptime_ms);
            let after_ms = i64::try_from(after).unwrap_or(i64::MIN);
            p.at_ms.saturating_sub(MAX_TRANSIT_MS).saturating_add(after_ms).max(0)
        }
        Some(p) => p.at_ms.saturating_sub(MAX_TRANSIT_MS),
        None => 0,
    };
    Bounds { earliest_ms: earliest_ms.min(latest_ms), latest_ms }
}
