//! Change-making: which coins to pay from which tubes.

#[cfg(test)]
mod tests;

use crate::money::{MAX_DENOMINATIONS, Minor, Pieces, Purse, put, worth};

/// Most steps of one search. Largest-first finds the answer in one pass for all but contrived tubes.
const MAX_STEPS: u32 = 20_000;

/// The pieces to pay `amount` from `tubes`, largest first: exactly that amount if a way is found within the search's
/// bound, else as much of it as was found.
pub(super) fn make_change(tubes: &[Pieces], amount: Minor) -> Purse {
    let mut search = Search {
        best: [0; MAX_DENOMINATIONS],
        best_left: amount,
        now: [0; MAX_DENOMINATIONS],
        steps: MAX_STEPS,
    };
    let tubes = &tubes[..tubes.len().min(MAX_DENOMINATIONS)];
    if amount > 0 {
        search.descend(tubes, tubes.len(), amount);
    }
    let mut purse = Purse::new();
    for (piece, count) in tubes.iter().zip(search.best) {
        put(&mut purse, piece.denomination, count);
    }
    purse
}

/// The pieces to give `credit` back: the very denominations that went in where the tubes have them, else any.
pub(super) fn give_back(tubes: &[Pieces], credit: &[Pieces]) -> Purse {
    if crate::money::holds(tubes, credit) { credit.to_vec() } else { make_change(tubes, worth(credit)) }
}

struct Search {
    best: [u32; MAX_DENOMINATIONS],
    best_left: Minor,
    now: [u32; MAX_DENOMINATIONS],
    steps: u32,
}

impl Search {
    /// Fills tubes below `upto` (the largest last); true when the search is over.
    fn descend(&mut self, tubes: &[Pieces], upto: usize, left: Minor) -> bool {
        if left < self.best_left {
            self.best_left = left;
            self.best = self.now;
        }
        if left == 0 {
            return true;
        }
        let Some(at) = upto.checked_sub(1) else { return false };
        let piece = tubes[at];
        if piece.denomination <= 0 {
            return false;
        }
        let most = (left / piece.denomination).min(Minor::from(piece.count));
        let mut count = u32::try_from(most).unwrap_or(piece.count);
        loop {
            if self.steps == 0 {
                return true;
            }
            self.steps -= 1;
            self.now[at] = count;
            if self.descend(tubes, at, left - piece.denomination * Minor::from(count)) {
                return true;
            }
            self.now[at] = 0;
            if count == 0 {
                return false;
            }
            count -= 1;
        }
    }
}
