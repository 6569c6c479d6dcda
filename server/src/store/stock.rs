//! Central stock on the hot path: the products of a batch, locked in the order of their ids, and written back at once.

use super::bulk::{Bulk, Kind};
use super::keyed::Keyed;
use super::{Row, Session, StoreError, Tx};
use crate::domain::catalog::Product;
use crate::domain::stock::Shelf;
use Kind::{Bytes, Int, Text};
use std::collections::BTreeSet;
use vend_core::id::ProductId;
use vend_core::money::Currency;

/// In the order of ids, so that two batches never wait for each other in a circle.
static PRODUCTS: Keyed = Keyed::new(
    "SELECT product_id, sku, name, currency, price_minor, stock, low_stock_threshold, version, created_at_ms, \
     updated_at_ms, archived_at_ms FROM products WHERE product_id",
    &[Bytes, Text, Text, Text, Int, Int, Int, Int, Int, Int, Int],
)
.then_on_postgres("ORDER BY product_id FOR NO KEY UPDATE");

static SEEN: Keyed = Keyed::new(
    "SELECT product_id, sku, name, currency, price_minor, stock, low_stock_threshold, version, created_at_ms, \
     updated_at_ms, archived_at_ms FROM products WHERE product_id",
    &[Bytes, Text, Text, Text, Int, Int, Int, Int, Int, Int, Int],
);

static STOCK: Bulk = Bulk::new(
    "WITH input (product, units) AS (",
    &[Bytes, Int],
    ") UPDATE products SET stock = input.units FROM input WHERE products.product_id = input.product",
);

/// Locks these products until the end of the transaction, and gives those that exist, without their descriptions: nothing
/// is decided by them. Orders and machines that are locked in the same transaction are locked before.
pub async fn lock(tx: &mut Tx, products: &BTreeSet<ProductId>) -> Result<Shelf, StoreError> {
    let ids: Vec<&[u8; 16]> = products.iter().map(|id| &id.0).collect();
    let rows = PRODUCTS.fetch(tx, &ids).await?;
    let products: Vec<Product> = rows.iter().map(product).collect::<Result<_, _>>()?;
    Ok(Shelf::new(products))
}

/// These products as they are, without a lock: nothing may be taken from this shelf.
pub async fn look(session: &mut Session, products: &BTreeSet<ProductId>) -> Result<Shelf, StoreError> {
    let ids: Vec<&[u8; 16]> = products.iter().map(|id| &id.0).collect();
    let rows = SEEN.fetch(session, &ids).await?;
    let products: Vec<Product> = rows.iter().map(product).collect::<Result<_, _>>()?;
    Ok(Shelf::new(products))
}

/// Writes what is left of the products whose stock has changed.
pub async fn write(tx: &mut Tx, shelf: &Shelf) -> Result<(), StoreError> {
    let mut rows = STOCK.rows(0);
    let mut changed = 0;
    for product in shelf.changed() {
        rows.push([(&product.id.0).into(), product.stock.into()]);
        changed += 1;
    }
    if rows.write(tx).await? != changed {
        return Err(StoreError::corrupt("a product that was locked is gone"));
    }
    Ok(())
}

fn product(row: &Row) -> Result<Product, StoreError> {
    let mut c = row.columns();
    Ok(Product {
        id: ProductId(c.array()?),
        sku: c.text()?.to_owned(),
        name: c.text()?.to_owned(),
        description: String::new(),
        currency: Currency::parse(c.text()?).ok_or_else(|| c.damaged("not a currency"))?,
        price_minor: c.int()?,
        stock: c.int()?,
        low_stock_threshold: c.int()?,
        version: c.int()?,
        created_at_ms: c.int()?,
        updated_at_ms: c.int()?,
        archived_at_ms: c.int()?,
    })
}
