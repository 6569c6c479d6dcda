#![allow(clippy::unwrap_used)]
use super::format;

#[test]
fn the_point_stands_where_the_currency_has_it() {
    assert_eq!(format(1250, "EUR"), "12.50 EUR");
    assert_eq!(format(1250, "JPY"), "1250 JPY");
    assert_eq!(format(1250, "KWD"), "1.250 KWD");
    assert_eq!(format(1250, "CLF"), "0.1250 CLF");
}

#[test]
fn less_than_a_unit_keeps_its_zeros_and_its_sign() {
    assert_eq!(format(5, "EUR"), "0.05 EUR");
    assert_eq!(format(-5, "EUR"), "-0.05 EUR");
    assert_eq!(format(0, "USD"), "0.00 USD");
}

#[test]
fn the_largest_amounts_are_exact() {
    assert_eq!(format(i64::MAX, "EUR"), "92233720368547758.07 EUR");
    assert_eq!(format(i64::MIN, "EUR"), "-92233720368547758.08 EUR");
}

#[test]
fn without_a_currency_no_point_is_guessed() {
    assert_eq!(format(1250, ""), "1250 minor units");
}
