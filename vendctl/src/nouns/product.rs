//! `vendctl product`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, money};
use crate::update;
use clap::{Args, Subcommand};
use vendfleet_proto::v1::{
    AdjustStockRequest, ArchiveProductRequest, CreateProductRequest, GetProductRequest, ListProductsRequest,
    Money, Product, UpdateProductRequest,
};

const MAX_PAGE: usize = 500;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Products, in order of creation.
    List(List),
    /// One product.
    Get(One),
    /// Makes a product with its first stock.
    Create(Create),
    /// Changes what a product is called and costs, never its stock.
    Update(Update),
    /// Adds to or takes from central stock.
    Stock(Stock),
    /// Takes a product out of sale for good.
    Archive(One),
}

#[derive(Args)]
pub(crate) struct List {
    /// Archived ones too.
    #[arg(long)]
    archived: bool,
    /// Only the one with this SKU.
    #[arg(long, default_value = "", value_name = "TEXT")]
    sku: String,
    /// Only those at or below their threshold.
    #[arg(long)]
    low_stock: bool,
}

#[derive(Args)]
pub(crate) struct One {
    /// The product's id.
    #[arg(value_name = "PRODUCT", value_parser = arg::id)]
    product: String,
}

#[derive(Args)]
pub(crate) struct Create {
    /// Your article number, 1 to 64 bytes.
    sku: String,
    /// Shown name, 1 to 64 bytes.
    name: String,
    /// Price of one unit in minor units: 250 is 2.50 EUR.
    #[arg(long, value_name = "MINOR_UNITS")]
    price_minor: i64,
    /// ISO 4217 code of the price.
    #[arg(long, value_parser = arg::currency)]
    currency: String,
    /// Free text.
    #[arg(long, default_value = "", value_name = "TEXT")]
    description: String,
    /// First central stock, units.
    #[arg(long, default_value_t = 0, value_name = "UNITS")]
    stock: i64,
    /// Alert at this many units or fewer.
    #[arg(long, default_value_t = 0, value_name = "UNITS")]
    low_stock: i64,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Update {
    /// The product's id.
    #[arg(value_name = "PRODUCT", value_parser = arg::id)]
    product: String,
    /// Change it only if it is still as when this etag was read [default: as it is now].
    #[arg(long)]
    etag: Option<String>,
    /// New article number.
    #[arg(long, group = "change", value_name = "TEXT")]
    sku: Option<String>,
    /// New name.
    #[arg(long, group = "change", value_name = "TEXT")]
    name: Option<String>,
    /// New free text.
    #[arg(long, group = "change", value_name = "TEXT")]
    description: Option<String>,
    /// New price in minor units.
    #[arg(long, group = "change", value_name = "MINOR_UNITS", requires = "currency")]
    price_minor: Option<i64>,
    /// ISO 4217 code of the new price.
    #[arg(long, value_parser = arg::currency, requires = "price_minor")]
    currency: Option<String>,
    /// New threshold of the alert, units.
    #[arg(long, group = "change", value_name = "UNITS")]
    low_stock: Option<i64>,
}

#[derive(Args)]
pub(crate) struct Stock {
    /// The product's id.
    #[arg(value_name = "PRODUCT", value_parser = arg::id)]
    product: String,
    /// Units to add, or to take with a minus: 24, -3.
    #[arg(allow_negative_numbers = true, value_name = "UNITS")]
    delta: i64,
    /// Why.
    #[arg(long, value_parser = arg::choice("StockAdjustmentReason"))]
    reason: i32,
    /// Free text.
    #[arg(long, default_value = "", value_name = "TEXT")]
    note: String,
}

impl Row for Product {
    const COLUMNS: &'static [Column] = &[
        left("PRODUCT"),
        left("SKU"),
        left("NAME"),
        right("PRICE"),
        right("STOCK"),
        right("ALERT AT"),
        left("STATE"),
    ];

    fn cells(&self) -> Vec<String> {
        let state = if self.archived {
            "archived"
        } else if self.stock <= self.low_stock_threshold {
            "low"
        } else {
            "ok"
        };
        vec![
            self.product_id.clone(),
            self.sku.clone(),
            self.name.clone(),
            self.price.as_ref().map_or_else(String::new, |p| money::format(p.minor_units, &p.currency_code)),
            self.stock.to_string(),
            self.low_stock_threshold.to_string(),
            state.to_owned(),
        ]
    }
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::List(args) => list(args, session, output).await,
        Verb::Get(One { product }) => output.one(&get(product, session).await?),
        Verb::Create(args) => {
            let request = CreateProductRequest {
                request_id: session.request_id(),
                sku: args.sku,
                name: args.name,
                description: args.description,
                price: Some(Money { currency_code: args.currency, minor_units: args.price_minor }),
                initial_stock: args.stock,
                low_stock_threshold: args.low_stock,
            };
            let answer = session.catalog_write(request, async |c, r| c.create_product(r).await).await?;
            output.one(&answer.product.ok_or_else(|| Failure::missing("product"))?)
        }
        Verb::Update(args) => update(args, session, output).await,
        Verb::Stock(args) => {
            let request = AdjustStockRequest {
                request_id: session.request_id(),
                product_id: args.product,
                delta: args.delta,
                reason: args.reason,
                note: args.note,
            };
            output.one(&session.catalog_write(request, async |c, r| c.adjust_stock(r).await).await?)
        }
        Verb::Archive(One { product: product_id }) => {
            let request = ArchiveProductRequest { product_id };
            let answer = session.catalog(request, async |c, r| c.archive_product(r).await).await?;
            output.one(&answer.product.ok_or_else(|| Failure::missing("product"))?)
        }
    }
}

async fn list(args: List, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let filter = ListProductsRequest {
        include_archived: args.archived,
        sku: args.sku,
        low_stock_only: args.low_stock,
        ..ListProductsRequest::default()
    };
    let fetch = async |page_size, page_token| {
        let request = ListProductsRequest { page_size, page_token, ..filter.clone() };
        let page = session.catalog(request, async |c, r| c.list_products(r).await).await?;
        Ok((page.products, page.next_page_token))
    };
    output.list(&session.pages(MAX_PAGE, fetch).await?)
}

async fn get(product_id: String, session: &Session<'_>) -> Result<Product, Failure> {
    let request = GetProductRequest { product_id };
    let answer = session.catalog(request, async |c, r| c.get_product(r).await).await?;
    answer.product.ok_or_else(|| Failure::missing("product"))
}

async fn update(args: Update, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let present = async || Ok(get(args.product.clone(), session).await?.etag);
    let etag = update::etag(args.etag, session, present).await?;
    let price = args.price_minor.zip(args.currency);
    let request = UpdateProductRequest {
        request_id: session.request_id(),
        product_id: args.product,
        etag: etag.clone(),
        sku: args.sku,
        name: args.name,
        description: args.description,
        price: price.map(|(minor_units, currency_code)| Money { currency_code, minor_units }),
        low_stock_threshold: args.low_stock,
    };
    let answer = session.catalog_write(request, async |c, r| c.update_product(r).await).await;
    let answer = update::told(answer, &etag, output)?;
    output.one(&answer.product.ok_or_else(|| Failure::missing("product"))?)
}
