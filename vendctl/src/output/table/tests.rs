#![allow(clippy::unwrap_used)]
use super::{Table, left, right};

#[test]
fn text_goes_left_numbers_go_right_and_nothing_trails() {
    let mut table = Table::new(&[left("NAME"), right("STOCK"), left("NOTE")]);
    table.push(vec!["Cola".into(), "5".into(), String::new()]);
    table.push(vec!["Water, still".into(), "12000".into(), "x".into()]);
    assert_eq!(
        table.render(),
        "NAME          STOCK  NOTE\n\
         Cola              5  -\n\
         Water, still  12000  x\n"
    );
}

#[test]
fn wide_characters_take_two_columns() {
    let mut table = Table::new(&[left("NAME"), left("SKU")]);
    table.push(vec!["コーヒー".into(), "a".into()]);
    table.push(vec!["Tea".into(), "b".into()]);
    assert_eq!(table.render(), "NAME      SKU\nコーヒー  a\nTea       b\n");
}

#[test]
fn no_rows_say_so() {
    assert_eq!(Table::new(&[left("NAME")]).render(), "none\n");
}

#[test]
fn a_row_stays_one_line_whatever_is_in_it() {
    let mut table = Table::new(&[left("NAME")]);
    table.push(vec!["two\nlines".into()]);
    assert_eq!(table.render().lines().count(), 2);
}
