//! Products and central stock.

mod products;
mod stock;

pub use products::{archive, find, find_by_sku, insert, list, lock, on_sale, update};
pub use stock::{adjustment, set_stock};
