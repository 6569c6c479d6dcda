//! A bare tonic server: TLS, HTTP/2, prost, an answer of the size of a real one, and nothing else.

use crate::client::{self, Load, Target};
use crate::figures::Figures;
use crate::{CALLERS, PRODUCTS};
use http::HeaderValue;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use uuid::Uuid;
use vendfleet_proto::v1;

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<v1::CreateOrderResponse, v1::CreateOrderRequest>::default();
            Ok(tonic::server::Grpc::new(codec).unary(Answer, request).await)
        })
    }
}

struct Answer;

impl tower::Service<Request<v1::CreateOrderRequest>> for Answer {
    type Response = Response<v1::CreateOrderResponse>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<v1::CreateOrderRequest>) -> Self::Future {
        std::future::ready(Ok(Response::new(answer(request.into_inner()))))
    }
}

/// As large as the answer to a real order.
fn answer(request: v1::CreateOrderRequest) -> v1::CreateOrderResponse {
    const NOW_MS: i64 = 1_790_000_000_000;
    let price = || Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 150 });
    let line = request.lines.into_iter().next().unwrap();
    let order = v1::Order {
        order_id: Uuid::nil().to_string(),
        customer_id: "customer-17".to_owned(),
        idempotency_key: request.idempotency_key,
        status: v1::OrderStatus::Pending.into(),
        payment_status: v1::PaymentStatus::Pending.into(),
        lines: vec![v1::OrderLine {
            product_id: line.product_id,
            sku: "bench-0017".to_owned(),
            name: "Product 17".to_owned(),
            unit_price: price(),
            quantity: line.quantity,
            line_total: price(),
        }],
        total: price(),
        create_time_ms: NOW_MS,
        update_time_ms: NOW_MS,
        trace_id: "0123456789abcdef0123456789abcdef".to_owned(),
        ..v1::Order::default()
    };
    v1::CreateOrderResponse { order: Some(order), already_existed: false }
}

/// Calls per second through it.
pub fn run(clients: &Runtime, servers: &Runtime, load: &Load) -> Figures {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (address, stop) = servers.block_on(start(&certified));
    // As long as a real token.
    let authorization = HeaderValue::try_from(format!("Bearer {}", "x".repeat(350))).unwrap();
    let target = Target {
        address,
        ca_pem: certified.cert.pem(),
        path: "/bench.Echo/Echo",
        authorizations: vec![authorization; CALLERS],
        product_ids: (0..PRODUCTS).map(|_| Uuid::now_v7().to_string()).collect(),
    };
    let driven = clients.block_on(client::drive(target, load));
    drop(stop);
    driven.figures
}

async fn start(certified: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (SocketAddr, oneshot::Sender<()>) {
    let identity = Identity::from_pem(certified.cert.pem(), certified.signing_key.serialize_pem());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))
        .unwrap()
        .tcp_nodelay(true)
        .max_concurrent_streams(256)
        .add_service(Echo)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            let _ = stopped.await;
        });
    tokio::spawn(server);
    (address, stop)
}
