#![allow(clippy::unwrap_used)]
use super::printable;

#[test]
fn a_name_can_not_move_the_cursor_or_turn_the_line_round() {
    assert_eq!(printable("Lobby\u{1b}[2J"), "Lobby\\u{1b}[2J");
    assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    assert_eq!(printable("two\nlines"), "two\\u{a}lines");
}

#[test]
fn ordinary_text_of_any_script_stays_as_it_is() {
    assert_eq!(printable("Kaffee groß ☕ コーヒー"), "Kaffee groß ☕ コーヒー");
}
