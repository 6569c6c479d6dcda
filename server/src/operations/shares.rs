//! How much of each customer's work a worker has under way.

use crate::domain::share::Shares;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Cheap to clone; clones count together. Bounded by what the worker has under way.
#[derive(Clone, Debug)]
pub(super) struct UnderWay {
    most: usize,
    busy: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// One customer's piece of work, until it is dropped.
#[derive(Debug)]
pub(super) struct Piece {
    of: UnderWay,
    customer: String,
}

impl UnderWay {
    /// At most so much of one customer at once.
    pub(super) fn new(most: usize) -> Self {
        Self { most, busy: Arc::default() }
    }

    /// How it stands.
    pub(super) fn shares(&self) -> Shares {
        Shares { most: self.most, busy: self.lock().clone() }
    }

    /// Counts a piece of work.
    pub(super) fn begin(&self, customer: &str) -> Piece {
        *self.lock().entry(customer.to_owned()).or_default() += 1;
        Piece { of: self.clone(), customer: customer.to_owned() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut busy = self.of.lock();
        if let Some(count) = busy.get_mut(&self.customer) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.customer);
            }
        }
    }
}
