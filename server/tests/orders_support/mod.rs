//! A shop over a stage: customers and services that order, called as the edge calls the services.
#![allow(dead_code, missing_docs, unreachable_pub)]

use crate::fleet_support::{Stage, id, operator};
use server::auth::{Caller, Person, Role, Scope};
use server::grpc::{catalog::CatalogGrpc, orders::OrdersGrpc};
use server::operations::Deps;
use tonic::{Request, Status};
use vendfleet_proto::v1::{
    self, catalog_service_server::CatalogService as _, order_service_server::OrderService as _,
};

pub struct Shop {
    pub orders: OrdersGrpc,
    pub catalog: CatalogGrpc,
}

impl Shop {
    pub fn new(stage: &Stage) -> Self {
        Self::on(&stage.deps)
    }

    pub fn on(deps: &Deps) -> Self {
        Self { orders: OrdersGrpc::new(deps.clone()), catalog: CatalogGrpc::new(deps.clone()) }
    }

    /// Everybody's orders, as a service sees them.
    pub async fn list_all(&self, request: v1::ListOrdersRequest) -> v1::ListOrdersResponse {
        self.orders.list_orders(service(true, request)).await.unwrap().into_inner()
    }

    /// The order, and whether it was there already.
    pub async fn order(
        &self,
        subject: &str,
        key: &str,
        lines: &[(&v1::Product, u32)],
    ) -> Result<(v1::Order, bool), Status> {
        let request = create(key, lines);
        let made = self.orders.create_order(customer(subject, request)).await?.into_inner();
        Ok((made.order.unwrap(), made.already_existed))
    }

    pub async fn get(&self, subject: &str, order_id: &str) -> Result<v1::Order, Status> {
        let request = v1::GetOrderRequest { order_id: order_id.to_owned(), customer_id: String::new() };
        let found = self.orders.get_order(customer(subject, request)).await?;
        Ok(found.into_inner().order.unwrap())
    }

    pub async fn list(
        &self,
        subject: &str,
        request: v1::ListOrdersRequest,
    ) -> Result<v1::ListOrdersResponse, Status> {
        Ok(self.orders.list_orders(customer(subject, request)).await?.into_inner())
    }

    /// The order, and whether it was cancelled already.
    pub async fn cancel(&self, subject: &str, order_id: &str) -> Result<(v1::Order, bool), Status> {
        let request = v1::CancelOrderRequest { order_id: order_id.to_owned(), customer_id: String::new() };
        let done = self.orders.cancel_order(customer(subject, request)).await?.into_inner();
        Ok((done.order.unwrap(), done.already_cancelled))
    }

    pub async fn product(&self, product: &v1::Product) -> v1::Product {
        let request = v1::GetProductRequest { product_id: product.product_id.clone() };
        self.catalog.get_product(operator(request)).await.unwrap().into_inner().product.unwrap()
    }

    pub async fn stock(&self, product: &v1::Product) -> i64 {
        self.product(product).await.stock
    }

    pub async fn product_in(&self, currency: &str, sku: &str, stock: i64) -> v1::Product {
        let new = v1::CreateProductRequest {
            request_id: id(),
            sku: sku.to_owned(),
            name: sku.to_owned(),
            price: Some(v1::Money { currency_code: currency.to_owned(), minor_units: 150 }),
            initial_stock: stock,
            ..Default::default()
        };
        self.catalog.create_product(operator(new)).await.unwrap().into_inner().product.unwrap()
    }

    pub async fn adjust(&self, product: &v1::Product, delta: i64) {
        let adjust = v1::AdjustStockRequest {
            request_id: id(),
            product_id: product.product_id.clone(),
            delta,
            reason: v1::StockAdjustmentReason::Received.into(),
            ..Default::default()
        };
        self.catalog.adjust_stock(operator(adjust)).await.unwrap();
    }

    pub async fn reprice(&self, product: &v1::Product, minor_units: i64) {
        let update = v1::UpdateProductRequest {
            request_id: id(),
            product_id: product.product_id.clone(),
            etag: self.product(product).await.etag,
            price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units }),
            ..Default::default()
        };
        self.catalog.update_product(operator(update)).await.unwrap();
    }

    pub async fn archive(&self, product: &v1::Product) {
        let archive = v1::ArchiveProductRequest { product_id: product.product_id.clone() };
        self.catalog.archive_product(operator(archive)).await.unwrap();
    }
}

pub fn create(key: &str, lines: &[(&v1::Product, u32)]) -> v1::CreateOrderRequest {
    let line = |(product, quantity): &(&v1::Product, u32)| v1::CreateOrderLine {
        product_id: product.product_id.clone(),
        quantity: *quantity,
    };
    v1::CreateOrderRequest {
        idempotency_key: key.to_owned(),
        customer_id: String::new(),
        lines: lines.iter().map(line).collect(),
        expected_total: None,
    }
}

pub fn customer<T>(subject: &str, message: T) -> Request<T> {
    called_by(subject, Role::Customer, Vec::new(), message)
}

/// A service, with or without the scope to act for customers.
pub fn service<T>(on_behalf: bool, message: T) -> Request<T> {
    let scopes = if on_behalf { vec![Scope::OrdersOnBehalf] } else { Vec::new() };
    called_by("shop", Role::Service, scopes, message)
}

fn called_by<T>(subject: &str, role: Role, scopes: Vec<Scope>, message: T) -> Request<T> {
    let person = Person { subject: subject.to_owned(), role, scopes };
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller::Person(person));
    request
}
