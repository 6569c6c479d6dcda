//! Products, their prices, and central stock.

use crate::domain::text::{Text, Within};
use uuid::Uuid;
use vend_core::id::ProductId;
use vend_core::money::{Currency, Minor};

/// Most units of central stock that an adjustment may lift a product to. What orders give back comes on top.
pub const MAX_STOCK: i64 = 1_000_000_000;
/// Highest price, minor units.
pub const MAX_PRICE_MINOR: Minor = 1_000_000_000_000;

/// An article number.
pub type Sku = Text<1, 64>;
/// A shown name.
pub type Name = Text<1, 64>;
/// Free text about a product.
pub type Description = Text<0, 1024>;
/// Units of stock, or a threshold.
pub type Units = Within<0, MAX_STOCK>;

/// A price: not negative, bounded, in a currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Price {
    /// Whose minor units.
    pub currency: Currency,
    /// 0 to [`MAX_PRICE_MINOR`].
    pub minor: Within<0, MAX_PRICE_MINOR>,
}

/// A product to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewProduct {
    /// Unique among products that are not archived.
    pub sku: Sku,
    /// Shown.
    pub name: Name,
    /// Free text.
    pub description: Description,
    /// Of one unit.
    pub price: Price,
    /// First central stock.
    pub initial_stock: Units,
    /// At this many units or fewer an alert is raised.
    pub low_stock_threshold: Units,
}

/// What an update changes; `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "as in `Product`")]
pub struct ProductChange {
    pub sku: Option<Sku>,
    pub name: Option<Name>,
    pub description: Option<Description>,
    pub price: Option<Price>,
    pub low_stock_threshold: Option<Units>,
}

/// A product as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Product {
    /// Its name.
    pub id: ProductId,
    /// Article number.
    pub sku: String,
    /// Shown.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Whose minor units.
    pub currency: Currency,
    /// Of one unit, minor units.
    pub price_minor: Minor,
    /// Central stock not held by any order or purchase.
    pub stock: i64,
    /// At this many units or fewer an alert is raised.
    pub low_stock_threshold: i64,
    /// Rises with every change except those of stock; the etag.
    pub version: i64,
    /// When it was made, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When `version` last rose.
    pub updated_at_ms: i64,
    /// When it was archived; 0 while it is not.
    pub archived_at_ms: i64,
}

impl Product {
    /// A new product with this id.
    pub fn create(id: ProductId, new: NewProduct, now_ms: i64) -> Self {
        Self {
            id,
            sku: new.sku.into_string(),
            name: new.name.into_string(),
            description: new.description.into_string(),
            currency: new.price.currency,
            price_minor: new.price.minor.get(),
            stock: new.initial_stock.get(),
            low_stock_threshold: new.low_stock_threshold.get(),
            version: 1,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            archived_at_ms: 0,
        }
    }

    /// The product after a change.
    #[must_use]
    pub fn changed(mut self, change: ProductChange, now_ms: i64) -> Self {
        if let Some(sku) = change.sku {
            self.sku = sku.into_string();
        }
        if let Some(name) = change.name {
            self.name = name.into_string();
        }
        if let Some(description) = change.description {
            self.description = description.into_string();
        }
        if let Some(price) = change.price {
            self.currency = price.currency;
            self.price_minor = price.minor.get();
        }
        if let Some(threshold) = change.low_stock_threshold {
            self.low_stock_threshold = threshold.get();
        }
        self.version = self.version.saturating_add(1);
        self.updated_at_ms = now_ms;
        self
    }

    /// Out of sale for good.
    pub fn is_archived(&self) -> bool {
        self.archived_at_ms != 0
    }

    /// At or below its threshold.
    pub fn is_low(&self) -> bool {
        self.stock <= self.low_stock_threshold
    }
}

/// Which products a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProductFilter {
    /// Archived ones too.
    pub include_archived: bool,
    /// Only the one with this article number.
    pub sku: Option<String>,
    /// Only those at or below their threshold.
    pub low_stock_only: bool,
}

/// A change of central stock to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAdjustment {
    /// The product.
    pub product: ProductId,
    /// Units added (above zero) or taken (below zero); never zero.
    pub delta: i64,
    /// Why.
    pub reason: AdjustmentReason,
    /// Free text.
    pub note: Text<0, 256>,
    /// Who: the token's subject.
    pub by: String,
}

/// A change of central stock as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adjustment {
    /// Its name.
    pub id: Uuid,
    /// The product.
    pub product: ProductId,
    /// Units added or taken.
    pub delta: i64,
    /// Central stock right after it.
    pub stock_after: i64,
    /// Why.
    pub reason: AdjustmentReason,
    /// Free text.
    pub note: String,
    /// Who.
    pub by: String,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
}

/// Why central stock was adjusted. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdjustmentReason {
    /// Goods came in.
    Received = 1,
    /// Goods left to refill a real machine.
    MachineRefill = 2,
    /// Goods came back from a real machine.
    MachineReturn = 3,
    /// Goods are lost, stolen, spoilt or past their date.
    WriteOff = 4,
    /// A count showed another number.
    Count = 5,
}

impl AdjustmentReason {
    /// The reason of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Received, Self::MachineRefill, Self::MachineReturn, Self::WriteOff, Self::Count]
            .into_iter()
            .find(|reason| *reason as i64 == number)
    }
}

/// Why stock was not adjusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StockRefusal {
    /// Fewer units than are to be taken.
    Insufficient,
    /// More units than stock may hold.
    AboveLimit,
}

/// Stock after an adjustment.
pub fn adjusted(stock: i64, delta: i64) -> Result<i64, StockRefusal> {
    match stock.checked_add(delta) {
        Some(after) if after < 0 => Err(StockRefusal::Insufficient),
        Some(after) if delta > 0 && after > MAX_STOCK => Err(StockRefusal::AboveLimit),
        Some(after) => Ok(after),
        None if delta < 0 => Err(StockRefusal::Insufficient),
        None => Err(StockRefusal::AboveLimit),
    }
}
