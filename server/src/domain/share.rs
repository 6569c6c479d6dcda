//! Who gets work done when there is more of it than workers: nobody more than a share at once.

use std::collections::{BTreeMap, BTreeSet};

/// Looks for candidates, at most, for one claim: each but the last finds somebody who has a full share.
pub const MAX_LOOKS: usize = 16;

/// How much of each customer is under way already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Most of one customer at once.
    pub most: usize,
    /// Under way, by customer.
    pub busy: BTreeMap<String, usize>,
}

impl Shares {
    /// Everybody may have everything.
    pub fn unlimited() -> Self {
        Self { most: usize::MAX, busy: BTreeMap::new() }
    }

    /// Picks up to `limit` among candidates.
    pub fn pick<T>(&self, limit: usize) -> Pick<T> {
        let full =
            self.busy.iter().filter(|(_, busy)| **busy >= self.most).map(|(customer, _)| customer.clone());
        Pick {
            most: self.most,
            used: self.busy.clone(),
            full: full.collect(),
            limit,
            picked: Vec::new(),
            looks: 0,
        }
    }
}

/// One claim. Candidates are looked for, leaving out whoever is [`Pick::full`], until [`Pick::offer`] has enough.
#[derive(Debug)]
pub struct Pick<T> {
    most: usize,
    used: BTreeMap<String, usize>,
    full: BTreeSet<String>,
    limit: usize,
    picked: Vec<T>,
    looks: usize,
}

impl<T> Pick<T> {
    /// Customers whose share is full.
    pub fn full(&self) -> impl Iterator<Item = &str> {
        self.full.iter().map(String::as_str)
    }

    /// How many more fit.
    pub fn wants(&self) -> usize {
        self.limit - self.picked.len()
    }

    /// Takes what a look for [`Pick::wants`] candidates found, with their customers, first come first. Answers whether
    /// another look can find more: somebody among them had more than a share, and stood before others.
    pub fn offer(&mut self, found: Vec<(String, T)>) -> bool {
        self.looks += 1;
        let may_be_more = found.len() >= self.wants();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (customer, _) in &found {
            *counts.entry(customer).or_default() += 1;
        }
        let room = |customer: &str| self.most.saturating_sub(self.used.get(customer).copied().unwrap_or(0));
        let over: BTreeSet<String> = counts
            .iter()
            .filter(|(customer, count)| **count > room(customer))
            .map(|(customer, _)| (*customer).to_owned())
            .collect();
        let again = !over.is_empty() && may_be_more && self.looks < MAX_LOOKS;
        for (customer, candidate) in found {
            // Whoever is within the share is found again by the next look.
            if again && !over.contains(&customer) {
                continue;
            }
            let used = self.used.entry(customer).or_default();
            if *used < self.most {
                *used += 1;
                self.picked.push(candidate);
            }
        }
        self.full.extend(over);
        again && self.wants() > 0
    }

    /// What was picked.
    pub fn picked(self) -> Vec<T> {
        self.picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks as a store does: by waiting order, without those who are full.
    fn claim(waiting: &[(&str, u32)], shares: &Shares, limit: usize) -> Vec<u32> {
        let mut pick = shares.pick(limit);
        loop {
            let full: Vec<String> = pick.full().map(str::to_owned).collect();
            let found = waiting.iter().filter(|(customer, _)| !full.iter().any(|name| name == customer));
            let found = found.take(pick.wants()).map(|(customer, n)| ((*customer).to_owned(), *n)).collect();
            if !pick.offer(found) {
                return pick.picked();
            }
        }
    }

    #[test]
    fn nobody_waits_behind_one_who_has_a_share_already() {
        let mut waiting: Vec<(&str, u32)> = (0..1_000).map(|n| ("greedy", n)).collect();
        waiting.extend((1_000..2_000).map(|n| ("eager", n)));
        waiting.push(("ada", 2_000));
        waiting.push(("bob", 2_001));
        let shares = Shares { most: 4, busy: BTreeMap::from([("eager".to_owned(), 3)]) };
        let mut picked = claim(&waiting, &shares, 10);
        picked.sort_unstable();
        assert_eq!(picked, [0, 1, 2, 3, 1_000, 2_000, 2_001]);
    }

    #[test]
    fn without_others_the_oldest_are_taken_and_never_more_than_fit() {
        let waiting: Vec<(&str, u32)> = (0..100).map(|n| (["a", "b", "c"][n as usize % 3], n)).collect();
        assert_eq!(claim(&waiting, &Shares::unlimited(), 10), (0..10).collect::<Vec<_>>());
        let shares = Shares { most: 2, busy: BTreeMap::new() };
        let mut picked = claim(&waiting, &shares, 5);
        picked.sort_unstable();
        assert_eq!(picked.len(), 5);
        assert!(claim(&waiting, &shares, 100).len() == 6, "three customers, two each");
    }
}
