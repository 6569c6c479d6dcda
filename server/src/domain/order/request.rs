//! An order as it is asked for: its lines merged per product, and the fingerprint its key is bound to.

use crate::domain::text::Text;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use vend_core::id::ProductId;
use vend_core::money::{Currency, Minor};

/// Most lines of a request, and of an order.
pub const MAX_LINES: usize = 100;
/// Most units of a product in an order.
pub const MAX_QUANTITY: u32 = 10_000;

/// One product asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineRequest {
    /// The product.
    pub product: ProductId,
    /// Units, 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
}

/// An order to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewOrder {
    /// Whose.
    pub customer: String,
    /// Unique per customer.
    pub key: String,
    /// Each product once, in the order they were first named.
    pub lines: Vec<LineRequest>,
    /// SHA-256 of customer and lines, whatever order the lines came in.
    pub fingerprint: [u8; 32],
    /// What the customer was shown. No part of what is asked for, so none of the fingerprint: a repeat of a call gives the order
    /// that was made at this total.
    pub expected_total: Option<(Currency, Minor)>,
}

impl NewOrder {
    /// Merges lines of the same product. `Err`: the index of the line with which a product exceeds [`MAX_QUANTITY`].
    pub fn new(customer: Text<1, 128>, key: String, asked: &[LineRequest]) -> Result<Self, usize> {
        let mut lines: Vec<LineRequest> = Vec::with_capacity(asked.len());
        let mut places: BTreeMap<ProductId, usize> = BTreeMap::new();
        for (index, line) in asked.iter().enumerate() {
            let place = *places.entry(line.product).or_insert(lines.len());
            match lines.get_mut(place) {
                Some(before) => {
                    before.quantity = before.quantity.saturating_add(line.quantity);
                    if before.quantity > MAX_QUANTITY {
                        return Err(index);
                    }
                }
                None => lines.push(*line),
            }
        }
        let customer = customer.into_string();
        let mut hash = Sha256::new();
        hash.update((customer.len() as u64).to_be_bytes());
        hash.update(customer.as_bytes());
        for (product, place) in &places {
            hash.update(product.0);
            hash.update(lines[*place].quantity.to_be_bytes());
        }
        Ok(Self { fingerprint: hash.finalize().into(), customer, key, lines, expected_total: None })
    }
}
