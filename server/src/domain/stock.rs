//! Central stock while a batch is decided: what each product has, what was taken and given back, and which thresholds were
//! crossed. Loaded and locked by the store, written back in one statement.

use super::catalog::{Adjustment, Product};
use super::ids::PurchaseId;
use std::collections::BTreeMap;
use vend_core::id::ProductId;

/// Products of a batch, in the order their rows are locked.
#[derive(Clone, Default, Debug)]
pub struct Shelf {
    products: BTreeMap<ProductId, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    product: Product,
    /// Stock when it was loaded.
    was: i64,
}

/// Units taken (below zero) or given back (above zero), and what was left right after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StockMove {
    /// The product.
    pub product: ProductId,
    /// Units added or taken.
    pub delta: i64,
    /// Central stock right after it.
    pub after: i64,
}

/// Why central stock changed outside any order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StockCause {
    /// The product was made with it.
    ProductCreated,
    /// It was adjusted.
    Adjusted(Adjustment),
    /// A purchase on a virtual machine took it.
    Purchased(PurchaseId),
    /// A purchase on a virtual machine gave it back.
    GivenBack(PurchaseId),
}

/// What a move did to the low-stock alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crossing {
    /// The product fell to its threshold or below.
    Fell,
    /// It was lifted above its threshold.
    Rose,
}

impl Shelf {
    /// These products, as locked.
    pub fn new(products: impl IntoIterator<Item = Product>) -> Self {
        let entry = |product: Product| Entry { was: product.stock, product };
        Self { products: products.into_iter().map(|product| (product.id, entry(product))).collect() }
    }

    /// A product as it is at this point of the batch.
    pub fn get(&self, product: ProductId) -> Option<&Product> {
        self.products.get(&product).map(|entry| &entry.product)
    }

    /// Moves a product's stock; `None`, and nothing changed, when it is not there or would fall below zero. What is given back
    /// always fits: only adjustments have an upper bound.
    pub fn shift(&mut self, product: ProductId, delta: i64) -> Option<(StockMove, Option<Crossing>)> {
        let entry = self.products.get_mut(&product)?;
        let after = entry.product.stock.checked_add(delta).filter(|after| *after >= 0)?;
        let was_low = is_alarming(&entry.product);
        entry.product.stock = after;
        let crossing = match (was_low, is_alarming(&entry.product)) {
            (false, true) => Some(Crossing::Fell),
            (true, false) => Some(Crossing::Rose),
            _ => None,
        };
        Some((StockMove { product, delta, after }, crossing))
    }

    /// Products whose stock is not what was loaded, in lock order.
    pub fn changed(&self) -> impl Iterator<Item = &Product> {
        self.products.values().filter(|entry| entry.product.stock != entry.was).map(|entry| &entry.product)
    }
}

fn is_alarming(product: &Product) -> bool {
    product.is_low() && !product.is_archived()
}
