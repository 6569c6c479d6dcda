//! Something to sell: what a fresh embedded server begins with, unless `server.sample_data` is off.

use sha2::{Digest as _, Sha256};
use vend_core::{
    config::{CashConfig, Config, OfflineBudget, Product as ConfigProduct, Slot, Tube},
    id::ConfigId,
    money::Currency,
    record::UnknownPolicy,
};

use crate::{
    domain::{
        catalog::{NewProduct, Price, Product, ProductFilter},
        fleet::NewConfig,
        page::PageRequest,
        request::RequestKey,
        text::{Text, Within},
    },
    error::ApiError,
    operations::{Deps, catalog, fleet},
    store::{End, fleet::configs},
};

/// Who made it, as the database shows.
const BY: &str = "sample";
/// The group without a name: its config is what a machine gets when no other is meant for it.
const NO_GROUP: &str = "";
/// Article number, name, price in euro cents.
const PRODUCTS: [(&str, &str, i64); 8] = [
    ("WATER-50", "Still water 0.5 l", 120),
    ("SPARK-50", "Sparkling water 0.5 l", 130),
    ("COLA-33", "Cola 0.33 l", 180),
    ("JUICE-33", "Apple juice 0.33 l", 200),
    ("CHIPS-40", "Salted chips 40 g", 150),
    ("NUTS-50", "Roasted nuts 50 g", 220),
    ("CHOC-45", "Chocolate bar 45 g", 160),
    ("GUM-14", "Chewing gum", 100),
];
/// First central stock of each, units.
const STOCK: i64 = 500;
/// Alert at so many units.
const LOW_STOCK: i64 = 50;
/// Units a slot holds, and is filled up to.
const SLOT_UNITS: u32 = 10;

/// Makes sample products and a sample config for machines that no other config is meant for, when there is nothing but samples and no such config yet. Each step is safe to
/// repeat, so a start that was cut short is finished by the next one.
pub(super) async fn make(deps: &Deps) -> Result<(), ApiError> {
    let any = ProductFilter { include_archived: true, sku: None, low_stock_only: false };
    let page = PageRequest { size: PRODUCTS.len() + 1, after: None };
    let known = catalog::list_products(deps, &any, &page).await?;
    let ours = |product: &Product| PRODUCTS.iter().any(|(sku, ..)| product.sku == *sku);
    let fallback = configs::of_group(&mut deps.store.read().await?, NO_GROUP).await?;
    if fallback.is_some() || known.items.len() > PRODUCTS.len() || !known.items.iter().all(ours) {
        return Ok(());
    }
    let euro = Currency::parse("EUR").expect("a currency code");
    let mut products = Vec::with_capacity(PRODUCTS.len());
    for (sku, name, price_minor) in PRODUCTS {
        let new = NewProduct {
            sku: text(sku),
            name: text(name),
            description: text(""),
            price: Price { currency: euro, minor: within(price_minor) },
            initial_stock: within(STOCK),
            low_stock_threshold: within(LOW_STOCK),
        };
        products.push(catalog::create_product(deps, key("CreateProduct", sku), new).await?);
    }
    let slots = products.iter().zip(PRODUCTS).zip(11..).map(|((product, (_, _, price_minor)), slot)| Slot {
        slot,
        product: product.id,
        price_minor,
        capacity: SLOT_UNITS,
        par: SLOT_UNITS,
    });
    let accepted = vec![10, 20, 50, 100, 200, 500];
    let tubes = [10, 20, 50, 100].map(|denomination| Tube { denomination, capacity: 50 });
    let config = Config {
        id: ConfigId([0; 16]),
        currency: euro,
        products: products
            .iter()
            .map(|product| ConfigProduct { id: product.id, name: product.name.clone() })
            .collect(),
        slots: slots.collect(),
        cash: CashConfig { accepted, tubes: tubes.to_vec(), max_credit_minor: 1_000 },
        offline_cashless: OfflineBudget {
            per_sale_minor: 500,
            total_minor: 5_000,
            count: 20,
            age_ms: 86_400_000,
        },
        unknown_policy: UnknownPolicy::Refund,
        selection_timeout_ms: 30_000,
    };
    let new = NewConfig { name: text("Sample"), note: text(""), config, by: BY.to_owned() };
    let made = fleet::create_config(deps, key("CreateConfig", "sample"), new).await?;
    let fallback = (made.id, deps.context.now_ms());
    deps.store
        .run_tx("sample_config", fallback, |tx, (config, now_ms)| {
            Box::pin(async move {
                configs::set_group(tx, NO_GROUP, *config, *now_ms).await?;
                Ok(End::Commit(()))
            })
        })
        .await?;
    tracing::info!(products = products.len(), "made sample products and a sample config");
    Ok(())
}

/// The same key for the same step at every start.
fn key(method: &'static str, step: &str) -> RequestKey {
    let fingerprint: [u8; 32] = Sha256::digest([method, step].join("/")).into();
    let mut id = [0; 16];
    id.copy_from_slice(&fingerprint[..16]);
    let request_id = uuid::Builder::from_custom_bytes(id).into_uuid();
    RequestKey { caller: BY.to_owned(), method, request_id, fingerprint }
}

fn text<const MIN: usize, const MAX: usize>(text: &str) -> Text<MIN, MAX> {
    Text::parse(text).expect("sample texts are short")
}

fn within<const MIN: i64, const MAX: i64>(number: i64) -> Within<MIN, MAX> {
    Within::parse(number).expect("sample numbers are small")
}
