#![allow(clippy::unwrap_used)]
use super::render;
use vendfleet_proto::v1::{CounterDisagreement, GetMachineTotalsResponse, Totals};

#[test]
fn both_counts_stand_side_by_side() {
    let answer = GetMachineTotalsResponse {
        reported: Some(Totals { vends: 7, cash_in_minor: 1750, ..Totals::default() }),
        counted: Some(Totals { vends: 5, cash_in_minor: 1250, ..Totals::default() }),
        missing: Some(Totals { vends: 2, cash_in_minor: 500, ..Totals::default() }),
        currency_code: "EUR".into(),
        ..Default::default()
    };
    let text = render(&answer).unwrap();
    let words = |line: &str| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = text.lines().map(words).collect();
    assert!(lines.contains(&words("vends 7 5 2")), "{text}");
    assert!(lines.contains(&words("cash_in (EUR minor units) 1750 1250 500")), "{text}");
    assert!(text.contains("reported = counted + missing"));
}

#[test]
fn a_disagreement_names_its_record() {
    let answer = GetMachineTotalsResponse {
        disagreement: Some(CounterDisagreement {
            epoch: "ab".repeat(16),
            seq: 41,
            field: "vends".into(),
            reported: 9,
            counted: 8,
        }),
        ..Default::default()
    };
    let text = render(&answer).unwrap();
    assert!(text.contains(":41: vends is 9 by the machine and 8 by its records"), "{text}");
    assert!(!text.contains("reported = counted"), "{text}");
}
