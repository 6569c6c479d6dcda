//! Times for people: UTC, and ages by the server's clock.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};

/// Milliseconds since the Unix epoch as `2026-11-21 04:10:00Z`; zero is nothing.
pub(crate) fn time(time_ms: i64) -> String {
    if time_ms == 0 {
        return String::new();
    }
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    moment(time_ms)
        .and_then(|moment| moment.format(&format).ok())
        .unwrap_or_else(|| format!("{time_ms} ms since 1970"))
}

/// How long ago, by a clock that shows `now_ms`; zero is `never`.
pub(crate) fn age(time_ms: i64, now_ms: i64) -> String {
    if time_ms == 0 {
        return "never".to_owned();
    }
    format!("{} ago", span(now_ms.saturating_sub(time_ms).max(0)))
}

/// A length of time in its two largest units, e.g. `3 h 20 min`.
pub(crate) fn span(ms: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let seconds = ms / 1_000;
    let Some(largest) = UNITS.iter().position(|(_, size)| seconds >= *size) else {
        return format!("{ms} ms");
    };
    let (unit, size) = UNITS[largest];
    let first = format!("{} {unit}", seconds / size);
    match UNITS.get(largest + 1).map(|(unit, small)| (unit, seconds % size / small)) {
        Some((unit, rest)) if rest > 0 => format!("{first} {rest} {unit}"),
        _ => first,
    }
}

/// Reads `2026-11-21T04:10:00Z` (RFC 3339, with any offset) as milliseconds since the Unix epoch.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "must be an RFC 3339 time, e.g. 2026-11-21T04:10:00Z".to_owned())?;
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).map_err(|_| "is too far away".to_owned())
}

/// Reads `90s`, `15min`, `36h`, `7d` as milliseconds.
pub(crate) fn parse_span(text: &str) -> Result<i64, String> {
    const RULE: &str = "must be a number with a unit: ms, s, min, h or d, e.g. 36h";
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(RULE)?;
    let (number, unit) = text.split_at(digits);
    let unit_ms: i64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(RULE.to_owned()),
    };
    let number: i64 = number.parse().map_err(|_| RULE)?;
    number.checked_mul(unit_ms).ok_or_else(|| "is too long".to_owned())
}

fn moment(time_ms: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::UNIX_EPOCH.checked_add(Duration::milliseconds(time_ms))
}

#[cfg(test)]
mod tests;
