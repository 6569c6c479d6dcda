//! Cursors.
#![allow(clippy::unwrap_used)]

use super::{Cursor, MAX_CURSOR_BYTES, Place};
use crate::domain::ids::Incarnation;
use proptest::prelude::*;
use uuid::Uuid;

fn cursor(shards: &[(u8, i64, u64)]) -> Cursor {
    let mut cursor = Cursor::start(Incarnation(Uuid::from_u128(7)));
    for (shard, position, within) in shards {
        let place = Place { position: *position, within: *within };
        cursor.places.insert(i64::from(*shard), place);
    }
    cursor
}

#[test]
fn the_longest_cursor_fits_the_contract() {
    let shards: Vec<(u8, i64, u64)> = (0..10).map(|shard| (shard, i64::MAX, u64::MAX)).collect();
    let text = cursor(&shards).to_text();
    assert!(text.len() <= MAX_CURSOR_BYTES, "{}", text.len());
    assert_eq!(Cursor::parse(&text).unwrap(), cursor(&shards));
}

#[test]
fn what_is_cut_longer_or_of_another_version_is_no_cursor() {
    let text = cursor(&[(0, 3, 1), (1, 9, u64::MAX)]).to_text();
    for length in 0..text.len() {
        assert_eq!(Cursor::parse(&text[..length]), None, "{length}");
    }
    for other in [format!("{text}AA"), text.replacen('A', "B", 1), "?".repeat(20), "A".repeat(300)] {
        assert_eq!(Cursor::parse(&other), None, "{other}");
    }
}

#[test]
fn a_cursor_never_goes_back() {
    let mut at = cursor(&[(1, 5, 2)]);
    at.raise(1, Place { position: 5, within: 1 });
    at.raise(1, Place::behind(4));
    assert_eq!(at.place(1), Place { position: 5, within: 2 });
    at.raise(1, Place::behind(5));
    assert_eq!(at.place(1).next_position(), 6);
    assert_eq!(at.place(0), Place::START);
}

proptest! {
    #[test]
    fn a_cursor_comes_back_from_its_text(
        shards in prop::collection::btree_map(any::<u8>(), (0..=i64::MAX, any::<u64>()), 0..10),
    ) {
        let shards: Vec<(u8, i64, u64)> =
            shards.into_iter().map(|(shard, (position, within))| (shard, position, within)).collect();
        let expected = cursor(&shards);
        prop_assert_eq!(Cursor::parse(&expected.to_text()), Some(expected));
    }

    #[test]
    fn rubbish_never_panics(text in ".{0,300}") {
        let _ = Cursor::parse(&text);
    }
}
