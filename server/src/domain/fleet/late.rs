//! What a record that counts late does to derived slot levels: a dead letter that can be read after all.
//!
//! A level is "last count + refills - vends". A late vend or refill moves it unless the slot was counted since (a count saw
//! its effect) or holds another product since. A late count sets it, and what happened to the slot since comes on top, unless
//! it was counted again.

use std::collections::BTreeMap;
use vend_core::id::ProductId;
use vend_core::record::Body;
use vend_core::stock::{self, Level, Levels};

/// What to do with one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LateEffect {
    /// Add units, if the slot still holds this product.
    Add {
        /// The product.
        product: ProductId,
        /// Units, negative for a vend.
        units: i64,
    },
    /// The level is this.
    Set {
        /// The product.
        product: ProductId,
        /// Units.
        units: i64,
    },
}

/// The effects of a late record, while the counted records after it are walked in order.
#[derive(Debug)]
pub struct LateFold {
    levels: Levels,
    is_count: bool,
}

impl LateFold {
    /// Begins with the record that counts now.
    pub fn new(late: &Body) -> Self {
        let mut levels = Levels::new();
        stock::fold(&mut levels, late);
        Self { levels, is_count: matches!(late, Body::Audit(_)) }
    }

    /// Nothing is left that a later record could change.
    pub fn is_settled(&self) -> bool {
        self.levels.is_empty()
    }

    /// Walks over a later record.
    pub fn walk(&mut self, later: &Body) {
        let mut touched = self.levels.clone();
        match later {
            Body::Audit(audit) => {
                for counted in &audit.slots {
                    self.levels.remove(&counted.slot);
                }
            }
            _ if self.is_count => {
                stock::fold(&mut touched, later);
                for (slot, level) in &mut self.levels {
                    *level = touched.get(slot).copied().unwrap_or(*level);
                }
            }
            _ => {
                stock::fold(&mut touched, later);
                let same_product = |slot: &u16, level: &Level| {
                    touched.get(slot).is_none_or(|after| after.product == level.product)
                };
                self.levels.retain(|slot, level| same_product(slot, level));
            }
        }
    }

    /// Effects by slot.
    pub fn finish(self) -> BTreeMap<u16, LateEffect> {
        let is_count = self.is_count;
        let effect = |Level { product, units }: Level| {
            if is_count { LateEffect::Set { product, units } } else { LateEffect::Add { product, units } }
        };
        self.levels.into_iter().map(|(slot, level)| (slot, effect(level))).collect()
    }
}
