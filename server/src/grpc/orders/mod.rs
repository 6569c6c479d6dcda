//! `OrderService`.

mod acting;
pub(crate) mod out;
mod parse;
mod watch;

use crate::domain::ids::OrderId;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::grpc::request::person;
use crate::operations::{Deps, orders};
pub(crate) use acting::Acting;
use out::order_out;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use vendfleet_proto::v1::{self, order_service_server::OrderService};

/// Orders of a page when none is asked for, and most.
const PAGE_SIZES: (usize, usize) = (15, 100);

/// The orders, over gRPC.
#[derive(Clone, Debug)]
pub struct OrdersGrpc {
    deps: Deps,
}

impl OrdersGrpc {
    /// The service over these.
    #[must_use]
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

#[tonic::async_trait]
impl OrderService for OrdersGrpc {
    async fn create_order(
        &self,
        request: Request<v1::CreateOrderRequest>,
    ) -> Result<Response<v1::CreateOrderResponse>, Status> {
        let caller = person(request.extensions())?;
        let message = request.into_inner();
        let mut fields = Fields::default();
        let acting = Acting::parse(&mut fields, &caller, &message.customer_id)?;
        let new = acting.and_then(|acting| parse::new_order(&mut fields, acting.own(), &message));
        let (order, already_existed) = orders::create_order(&self.deps, fields.finish(new)?).await?;
        Ok(Response::new(v1::CreateOrderResponse { order: Some(order_out(&order)), already_existed }))
    }

    async fn get_order(
        &self,
        request: Request<v1::GetOrderRequest>,
    ) -> Result<Response<v1::GetOrderResponse>, Status> {
        let caller = person(request.extensions())?;
        let message = request.get_ref();
        let mut fields = Fields::default();
        let acting = Acting::parse(&mut fields, &caller, &message.customer_id)?;
        let id = fields.uuid("order_id", &message.order_id).map(OrderId);
        let (id, acting) = fields.finish(id.zip(acting))?;
        let order = orders::get_order(&self.deps, id, acting.whose().as_deref()).await?;
        Ok(Response::new(v1::GetOrderResponse { order: Some(order_out(&order)) }))
    }

    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersRequest>,
    ) -> Result<Response<v1::ListOrdersResponse>, Status> {
        let caller = person(request.extensions())?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let acting = Acting::parse(&mut fields, &caller, &message.customer_id)?;
        let token = std::mem::take(&mut message.page_token);
        let size = std::mem::take(&mut message.page_size);
        let filter = acting.and_then(|acting| parse::filter(&mut fields, acting.whose(), &message));
        // The filter that holds, not the one that was written: a token is no one else's key.
        message.customer_id = filter.as_ref().and_then(|filter| filter.customer.clone()).unwrap_or_default();
        let list = ListCall::new(&self.deps.key, "ListOrders", &message);
        let page = list.request::<Uuid>(&mut fields, size, &token, PAGE_SIZES)?;
        let page = orders::list_orders(&self.deps, &fields.finish(filter)?, &page).await?;
        let next_page_token = list.token(&page);
        let orders = page.items.iter().map(order_out).collect();
        Ok(Response::new(v1::ListOrdersResponse { orders, next_page_token }))
    }

    async fn cancel_order(
        &self,
        request: Request<v1::CancelOrderRequest>,
    ) -> Result<Response<v1::CancelOrderResponse>, Status> {
        let caller = person(request.extensions())?;
        let message = request.get_ref();
        let mut fields = Fields::default();
        let acting = Acting::parse(&mut fields, &caller, &message.customer_id)?;
        let id = fields.uuid("order_id", &message.order_id).map(OrderId);
        let (id, acting) = fields.finish(id.zip(acting))?;
        let (order, already_cancelled) = orders::cancel_order(&self.deps, id, acting.whose()).await?;
        Ok(Response::new(v1::CancelOrderResponse { order: Some(order_out(&order)), already_cancelled }))
    }

    type WatchOrdersStream = watch::OrderStream;

    async fn watch_orders(
        &self,
        request: Request<v1::WatchOrdersRequest>,
    ) -> Result<Response<Self::WatchOrdersStream>, Status> {
        let caller = person(request.extensions())?;
        let message = request.get_ref();
        let mut fields = Fields::default();
        let acting = Acting::parse(&mut fields, &caller, &message.customer_id)?;
        let order = fields.optional_uuid("order_id", &message.order_id);
        let (order, acting) = fields.finish(order.zip(acting))?;
        let customer = acting.own();
        Ok(Response::new(watch::open(&self.deps, customer, order.map(OrderId), &message.cursor).await?))
    }
}
