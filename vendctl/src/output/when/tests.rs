#![allow(clippy::unwrap_used)]
use super::{age, parse, parse_span, span, time};

#[test]
fn times_are_utc_and_zero_is_no_time() {
    assert_eq!(time(1_795_234_200_999), "2026-11-21 04:10:00Z");
    assert_eq!(time(0), "");
}

#[test]
fn a_time_no_calendar_holds_is_still_shown() {
    assert_eq!(time(i64::MAX), "9223372036854775807 ms since 1970");
}

#[test]
fn what_is_shown_is_what_was_meant() {
    assert_eq!(parse("2026-11-21T04:10:00Z").unwrap(), 1_795_234_200_000);
    assert_eq!(parse("2026-11-21T05:10:00+01:00").unwrap(), 1_795_234_200_000);
    assert!(parse("yesterday").unwrap_err().contains("RFC 3339"));
}

#[test]
fn ages_go_by_the_given_clock_and_are_never_negative() {
    assert_eq!(age(0, 1_000), "never");
    assert_eq!(age(1_000, 61_000), "1 min ago");
    assert_eq!(age(5_000, 1_000), "0 ms ago");
}

#[test]
fn spans_show_two_units_at_most() {
    assert_eq!(span(12), "12 ms");
    assert_eq!(span(12_000_000), "3 h 20 min");
    assert_eq!(span(86_400_000), "1 d");
}

#[test]
fn spans_need_a_unit_and_a_bound() {
    assert_eq!(parse_span("36h").unwrap(), 129_600_000);
    assert_eq!(parse_span("15min").unwrap(), 900_000);
    assert_eq!(parse_span("250ms").unwrap(), 250);
    for bad in ["36", "h", "", "1.5h", "-1h", "1 week", "9223372036854775807d"] {
        assert!(parse_span(bad).is_err(), "{bad}");
    }
}
