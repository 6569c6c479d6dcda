//! The rows of products.

use crate::domain::catalog::{Product, ProductFilter};
use crate::domain::page::PageRequest;
use crate::store::{Arg, Engine, Row, Session, StoreError, Tx};
use sqlx::AssertSqlSafe;
use std::collections::HashSet;
use uuid::Uuid;
use vend_core::id::ProductId;
use vend_core::money::Currency;

macro_rules! columns {
    () => {
        "product_id, sku, name, description, currency, price_minor, stock, low_stock_threshold, version, \
         created_at_ms, updated_at_ms, archived_at_ms"
    };
}

/// Products whose ids are looked up in one statement, at most.
const IDS_PER_STATEMENT: usize = 256;

fn product(row: &Row) -> Result<Product, StoreError> {
    let mut c = row.columns();
    Ok(Product {
        id: ProductId(c.array()?),
        sku: c.text()?.to_owned(),
        name: c.text()?.to_owned(),
        description: c.text()?.to_owned(),
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

/// One product, archived or not.
pub async fn find(session: &mut Session, id: ProductId) -> Result<Option<Product>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM products WHERE product_id = $1");
    session.optional(sql, &[(&id.0).into()]).await?.as_ref().map(product).transpose()
}

/// One product, its row locked until the end of the transaction.
pub async fn lock(tx: &mut Tx, id: ProductId) -> Result<Option<Product>, StoreError> {
    let sql = match tx.engine() {
        Engine::Sqlite => concat!("SELECT ", columns!(), " FROM products WHERE product_id = $1"),
        Engine::Postgres => concat!("SELECT ", columns!(), " FROM products WHERE product_id = $1 FOR UPDATE"),
    };
    tx.optional(sql, &[(&id.0).into()]).await?.as_ref().map(product).transpose()
}

/// The product on sale with this article number.
pub async fn find_by_sku(session: &mut Session, sku: &str) -> Result<Option<Product>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM products WHERE sku = $1 AND archived_at_ms = 0");
    session.optional(sql, &[sku.into()]).await?.as_ref().map(product).transpose()
}

/// Products in order of their ids, which is the order they were made in.
pub async fn list(
    session: &mut Session,
    filter: &ProductFilter,
    page: &PageRequest<Uuid>,
) -> Result<Vec<Product>, StoreError> {
    let after = page.after.unwrap_or(Uuid::nil());
    let mut sql = concat!("SELECT ", columns!(), " FROM products WHERE product_id > $1").to_owned();
    let mut args: Vec<Arg<'_>> = vec![(&after).into(), page.limit().into()];
    if !filter.include_archived {
        sql.push_str(" AND archived_at_ms = 0");
    }
    if filter.low_stock_only {
        sql.push_str(" AND stock <= low_stock_threshold");
    }
    if let Some(sku) = &filter.sku {
        sql.push_str(" AND sku = $3");
        args.push(sku.into());
    }
    sql.push_str(" ORDER BY product_id LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(product).collect()
}

/// Which of these products exist and are not archived.
pub async fn on_sale(session: &mut Session, ids: &[ProductId]) -> Result<HashSet<ProductId>, StoreError> {
    let mut found = HashSet::new();
    for chunk in ids.chunks(IDS_PER_STATEMENT) {
        let places: Vec<String> = (1..=chunk.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT product_id FROM products WHERE archived_at_ms = 0 AND product_id IN ({})",
            places.join(", ")
        );
        let args: Vec<Arg<'_>> = chunk.iter().map(|id| (&id.0).into()).collect();
        for row in session.all(AssertSqlSafe(sql), &args).await? {
            found.insert(ProductId(row.columns().array()?));
        }
    }
    Ok(found)
}

/// Adds a product. `Taken(Sku)` when another one on sale has its article number.
pub async fn insert(tx: &mut Tx, p: &Product) -> Result<(), StoreError> {
    let sql = concat!(
        "INSERT INTO products (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
    );
    tx.execute(
        sql,
        &[
            (&p.id.0).into(),
            (&p.sku).into(),
            (&p.name).into(),
            (&p.description).into(),
            p.currency.as_str().into(),
            p.price_minor.into(),
            p.stock.into(),
            p.low_stock_threshold.into(),
            p.version.into(),
            p.created_at_ms.into(),
            p.updated_at_ms.into(),
            p.archived_at_ms.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Writes everything of a product but its stock. `Taken(Sku)` as for [`insert`].
pub async fn update(tx: &mut Tx, p: &Product) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE products SET sku = $2, name = $3, description = $4, currency = $5, price_minor = $6, \
         low_stock_threshold = $7, version = $8, updated_at_ms = $9 WHERE product_id = $1",
        &[
            (&p.id.0).into(),
            (&p.sku).into(),
            (&p.name).into(),
            (&p.description).into(),
            p.currency.as_str().into(),
            p.price_minor.into(),
            p.low_stock_threshold.into(),
            p.version.into(),
            p.updated_at_ms.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Takes a product out of sale, once.
pub async fn archive(tx: &mut Tx, id: ProductId, now_ms: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE products SET archived_at_ms = $2, updated_at_ms = $2, version = version + 1 \
         WHERE product_id = $1 AND archived_at_ms = 0",
        &[(&id.0).into(), now_ms.into()],
    )
    .await?;
    Ok(())
}
