//! `CatalogService`.

use crate::domain::catalog::{
    Adjustment, AdjustmentReason, NewAdjustment, NewProduct, Price, Product, ProductChange, ProductFilter,
};
use crate::domain::text::Within;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::grpc::request::{person, request_key};
use crate::operations::{Deps, catalog};
use tonic::{Request, Response, Status};
use uuid::Uuid;
use vend_core::id::ProductId;
use vend_core::money::Currency;
use vendfleet_proto::v1::{self, catalog_service_server::CatalogService};

/// The catalogue, over gRPC.
#[derive(Clone, Debug)]
pub struct CatalogGrpc {
    deps: Deps,
}

impl CatalogGrpc {
    /// The service over these.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

#[tonic::async_trait]
impl CatalogService for CatalogGrpc {
    async fn create_product(
        &self,
        request: Request<v1::CreateProductRequest>,
    ) -> Result<Response<v1::CreateProductResponse>, Status> {
        let caller = person(request.extensions())?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = std::mem::take(&mut message.request_id);
        let key = request_key(&mut fields, &caller, "CreateProduct", &request_id, &message);
        let parsed = key.zip(new_product(&mut fields, &message));
        let (key, new) = fields.finish(parsed)?;
        let product = catalog::create_product(&self.deps, key, new).await?;
        Ok(Response::new(v1::CreateProductResponse { product: Some(product_out(product)) }))
    }

    async fn get_product(
        &self,
        request: Request<v1::GetProductRequest>,
    ) -> Result<Response<v1::GetProductResponse>, Status> {
        let mut fields = Fields::default();
        let id = fields.uuid("product_id", &request.get_ref().product_id).map(product_id);
        let product = catalog::get_product(&self.deps, fields.finish(id)?).await?;
        Ok(Response::new(v1::GetProductResponse { product: Some(product_out(product)) }))
    }

    async fn list_products(
        &self,
        request: Request<v1::ListProductsRequest>,
    ) -> Result<Response<v1::ListProductsResponse>, Status> {
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let token = std::mem::take(&mut message.page_token);
        let size = std::mem::take(&mut message.page_size);
        let list = ListCall::new(&self.deps.key, "ListProducts", &message);
        let sku = fields.optional_text::<64>("sku", &message.sku);
        let page = list.request::<Uuid>(&mut fields, size, &token, (50, 500))?;
        let sku = fields.finish(sku)?;
        let filter = ProductFilter {
            include_archived: message.include_archived,
            sku: sku.map(crate::domain::text::Text::into_string),
            low_stock_only: message.low_stock_only,
        };
        let page = catalog::list_products(&self.deps, &filter, &page).await?;
        let next_page_token = list.token(&page);
        let products = page.items.into_iter().map(product_out).collect();
        Ok(Response::new(v1::ListProductsResponse { products, next_page_token }))
    }

    async fn update_product(
        &self,
        request: Request<v1::UpdateProductRequest>,
    ) -> Result<Response<v1::UpdateProductResponse>, Status> {
        let caller = person(request.extensions())?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = std::mem::take(&mut message.request_id);
        let key = request_key(&mut fields, &caller, "UpdateProduct", &request_id, &message);
        let id = fields.uuid("product_id", &message.product_id).map(product_id);
        let etag = fields.text::<1, 64>("etag", &message.etag);
        let change = product_change(&mut fields, &message);
        let parsed = key.zip(id).zip(etag.zip(change));
        let ((key, id), (etag, change)) = fields.finish(parsed)?;
        let product = catalog::update_product(&self.deps, key, id, etag.as_str(), change).await?;
        Ok(Response::new(v1::UpdateProductResponse { product: Some(product_out(product)) }))
    }

    async fn archive_product(
        &self,
        request: Request<v1::ArchiveProductRequest>,
    ) -> Result<Response<v1::ArchiveProductResponse>, Status> {
        let mut fields = Fields::default();
        let id = fields.uuid("product_id", &request.get_ref().product_id).map(product_id);
        let product = catalog::archive_product(&self.deps, fields.finish(id)?).await?;
        Ok(Response::new(v1::ArchiveProductResponse { product: Some(product_out(product)) }))
    }

    async fn adjust_stock(
        &self,
        request: Request<v1::AdjustStockRequest>,
    ) -> Result<Response<v1::AdjustStockResponse>, Status> {
        let caller = person(request.extensions())?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = std::mem::take(&mut message.request_id);
        let key = request_key(&mut fields, &caller, "AdjustStock", &request_id, &message);
        let new = new_adjustment(&mut fields, &message, caller.subject);
        let parsed = key.zip(new);
        let (key, new) = fields.finish(parsed)?;
        let (product, done) = catalog::adjust_stock(&self.deps, key, new).await?;
        Ok(Response::new(v1::AdjustStockResponse {
            product: Some(product_out(product)),
            adjustment: Some(adjustment_out(done)),
        }))
    }
}

fn product_id(id: Uuid) -> ProductId {
    ProductId(id.into_bytes())
}

fn price(fields: &mut Fields, money: Option<&v1::Money>) -> Option<Price> {
    let Some(money) = money else {
        fields.broke("price", "must be given");
        return None;
    };
    let currency = Currency::parse(&money.currency_code).filter(|c| *c != Currency::NONE);
    let currency = fields.take(
        "price.currency_code",
        currency.ok_or_else(|| "must be an ISO 4217 code: three upper-case letters, not XXX".to_owned()),
    );
    let minor = fields.take("price.minor_units", Within::parse(money.minor_units));
    Some(Price { currency: currency?, minor: minor? })
}

fn new_product(fields: &mut Fields, message: &v1::CreateProductRequest) -> Option<NewProduct> {
    let sku = fields.text("sku", &message.sku);
    let name = fields.text("name", &message.name);
    let description = fields.text("description", &message.description);
    let price = price(fields, message.price.as_ref());
    let initial_stock = fields.within("initial_stock", message.initial_stock);
    let low_stock_threshold = fields.within("low_stock_threshold", message.low_stock_threshold);
    Some(NewProduct {
        sku: sku?,
        name: name?,
        description: description?,
        price: price?,
        initial_stock: initial_stock?,
        low_stock_threshold: low_stock_threshold?,
    })
}

/// `None` only when a rule was broken, which `fields` knows.
fn product_change(fields: &mut Fields, message: &v1::UpdateProductRequest) -> Option<ProductChange> {
    Some(ProductChange {
        sku: message.sku.as_ref().and_then(|sku| fields.text("sku", sku)),
        name: message.name.as_ref().and_then(|name| fields.text("name", name)),
        description: message.description.as_ref().and_then(|text| fields.text("description", text)),
        price: message.price.as_ref().and_then(|money| price(fields, Some(money))),
        low_stock_threshold: message
            .low_stock_threshold
            .and_then(|n| fields.within("low_stock_threshold", n)),
    })
}

fn new_adjustment(
    fields: &mut Fields,
    message: &v1::AdjustStockRequest,
    by: String,
) -> Option<NewAdjustment> {
    const MOST: i64 = crate::domain::catalog::MAX_STOCK;
    let product = fields.uuid("product_id", &message.product_id).map(product_id);
    let delta = match message.delta {
        0 => Err("must not be zero".to_owned()),
        delta => Within::<{ -MOST }, MOST>::parse(delta),
    };
    let delta = fields.take("delta", delta);
    let reason =
        fields.required_member("reason", message.reason, |n| AdjustmentReason::from_number(i64::from(n)));
    let note = fields.text("note", &message.note);
    Some(NewAdjustment { product: product?, delta: delta?.get(), reason: reason?, note: note?, by })
}

pub(crate) fn adjustment_out(done: Adjustment) -> v1::StockAdjustment {
    v1::StockAdjustment {
        adjustment_id: done.id.to_string(),
        product_id: Uuid::from_bytes(done.product.0).to_string(),
        delta: done.delta,
        stock_after: done.stock_after,
        reason: done.reason as i32,
        note: done.note,
        adjusted_by: done.by,
        time_ms: done.at_ms,
    }
}

fn product_out(product: Product) -> v1::Product {
    v1::Product {
        product_id: Uuid::from_bytes(product.id.0).to_string(),
        archived: product.is_archived(),
        etag: product.version.to_string(),
        sku: product.sku,
        name: product.name,
        description: product.description,
        price: Some(v1::Money {
            currency_code: product.currency.as_str().to_owned(),
            minor_units: product.price_minor,
        }),
        stock: product.stock,
        low_stock_threshold: product.low_stock_threshold,
        create_time_ms: product.created_at_ms,
        update_time_ms: product.updated_at_ms,
        archive_time_ms: product.archived_at_ms,
    }
}
