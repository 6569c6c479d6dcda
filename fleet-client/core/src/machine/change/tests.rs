use super::{give_back, make_change};
use crate::money::{Minor, Pieces, Purse, holds, worth};
use alloc::vec;
use alloc::vec::Vec;

fn purse(pieces: &[(Minor, u32)]) -> Purse {
    pieces.iter().map(|&(denomination, count)| Pieces { denomination, count }).collect()
}

/// Every amount these tubes can pay, found by brute force.
fn payable(tubes: &[Pieces]) -> Vec<Minor> {
    let mut sums = vec![0];
    for p in tubes {
        let before = sums.clone();
        for count in 1..=Minor::from(p.count) {
            sums.extend(before.iter().map(|s| s + count * p.denomination));
        }
    }
    sums
}

#[test]
fn whatever_the_tubes_can_pay_is_paid_exactly_and_nothing_they_do_not_hold() {
    for code in 0..3u32.pow(4) {
        let counts = [code % 3, code / 3 % 3, code / 9 % 3, code / 27];
        let tubes = purse(&[(10, counts[0]), (20, counts[1]), (50, counts[2]), (70, counts[3])]);
        let payable = payable(&tubes);
        for amount in (0..=320).step_by(10) {
            let paid = make_change(&tubes, amount);
            assert!(holds(&tubes, &paid) && worth(&paid) <= amount);
            assert_eq!(worth(&paid) == amount, payable.contains(&amount), "{amount} from {tubes:?}");
        }
    }
}

#[test]
fn the_largest_coin_first_is_not_always_the_way() {
    assert_eq!(make_change(&purse(&[(20, 3), (50, 1)]), 60), purse(&[(20, 3)]));
}

#[test]
fn what_can_not_be_paid_whole_is_paid_as_far_as_it_goes() {
    assert_eq!(worth(&make_change(&purse(&[(20, 2)]), 50)), 40);
}

#[test]
fn contrived_tubes_end_within_the_bound() {
    let tubes: Purse = (1..=32).map(|n| Pieces { denomination: n * 2, count: 10_000 }).collect();
    assert!(worth(&make_change(&tubes, 999_999)) < 999_999);
    let wild = purse(&[(-5, 3), (0, 2), (Minor::MAX, u32::MAX)]);
    assert_eq!(worth(&make_change(&wild, 100)), 0);
}

#[test]
fn the_pieces_that_went_in_come_back() {
    let credit = purse(&[(10, 5)]);
    assert_eq!(give_back(&purse(&[(10, 7), (50, 9)]), &credit), credit);
    assert_eq!(give_back(&purse(&[(10, 4), (50, 9)]), &credit), purse(&[(50, 1)]));
}
