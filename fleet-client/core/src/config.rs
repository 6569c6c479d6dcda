//! What a machine is told: planogram, prices, money it takes, policies. Checked before it is applied.

pub mod check;

use crate::id::{ConfigId, ProductId};
use crate::money::{Currency, Minor};
use crate::record::UnknownPolicy;
use alloc::string::String;
use alloc::vec::Vec;

/// Most products in a config.
pub const MAX_PRODUCTS: usize = 256;
/// Most slots in a planogram.
pub const MAX_SLOTS: usize = 256;
/// Most units in a slot, or coins in a tube.
pub const MAX_CAPACITY: u32 = 10_000;
/// Most a config may name as price, denomination or limit, minor units.
pub const MAX_PRICE_MINOR: Minor = 1_000_000_000;

/// A config and the number under which the server desires it. The number rises per machine, whatever caused it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// Rises per machine, from 1.
    pub number: u64,
    /// SHA-256 over the config's bytes as received; checked by the transport before it is offered.
    pub sha256: [u8; 32],
    /// The config.
    pub config: Config,
}

/// A machine's whole desired configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Its id.
    pub id: ConfigId,
    /// The one currency of every price in it.
    pub currency: Currency,
    /// Every product that a slot may name, at most 256.
    pub products: Vec<Product>,
    /// The planogram: each slot once, at most 256.
    pub slots: Vec<Slot>,
    /// Coins and bills taken, and which the tubes hold.
    pub cash: CashConfig,
    /// Bounds of cashless sales without the network.
    pub offline_cashless: OfflineBudget,
    /// What to do with the money of a vend of unknown outcome.
    pub unknown_policy: UnknownPolicy,
    /// Milliseconds without input after which credit is given back and a selection dropped.
    pub selection_timeout_ms: u64,
}

/// A product as a machine needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Shown name, 1 to 64 bytes.
    pub name: String,
}

/// One slot of the planogram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    /// Slot (MDB item) number.
    pub slot: u16,
    /// The product in it, one of `Config::products`.
    pub product: ProductId,
    /// Price in minor units, `>= 0`; zero is a free vend.
    pub price_minor: Minor,
    /// Units it can hold, `>= 1`.
    pub capacity: u32,
    /// Par level: refill up to this, `<= capacity`.
    pub par: u32,
}

/// Cash acceptance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CashConfig {
    /// Denominations taken, minor units, rising, each `> 0`, at most 32. Empty: no cash.
    pub accepted: Vec<Minor>,
    /// Denominations that fall into tubes and can be paid out, with each tube's capacity in coins.
    pub tubes: Vec<Tube>,
    /// Most credit taken before coins are refused, minor units.
    pub max_credit_minor: Minor,
}

/// A coin tube.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tube {
    /// Face value, minor units, one of the accepted.
    pub denomination: Minor,
    /// Coins it can hold.
    pub capacity: u32,
}

/// Bounds of cashless sales approved without the network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct OfflineBudget {
    /// Most per sale, minor units; zero switches offline cashless off.
    pub per_sale_minor: Minor,
    /// Most over all unsettled offline sales, minor units.
    pub total_minor: Minor,
    /// Most unsettled offline sales.
    pub count: u32,
    /// Longest time since the last contact with the server, milliseconds.
    pub age_ms: u64,
}
