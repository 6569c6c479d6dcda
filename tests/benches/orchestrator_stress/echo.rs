//! A bare tonic server: TLS, HTTP/2, prost, an answer as large as that of StartWork, and nothing else.

use crate::crowd::{Spent, at_once, timed};
use crate::tally::{Call, Tally};
use crate::wire::{Wire, framed, path};
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
            let codec = ProstCodec::<v1::StartWorkResponse, v1::StartWorkRequest>::default();
            Ok(tonic::server::Grpc::new(codec).unary(Answer, request).await)
        })
    }
}

struct Answer;

impl tower::Service<Request<v1::StartWorkRequest>> for Answer {
    type Response = Response<v1::StartWorkResponse>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<v1::StartWorkRequest>) -> Self::Future {
        let session = v1::MachineSession {
            session_id: Uuid::nil().to_string(),
            machine_id: Uuid::nil().to_string(),
            customer_id: request.into_inner().customer_id,
            lease_end_time_ms: 1_790_000_000_000,
            create_time_ms: 1_790_000_000_000,
            trace_id: "0123456789abcdef0123456789abcdef".to_owned(),
            ..Default::default()
        };
        let answer = v1::StartWorkResponse {
            session: Some(session),
            session_token: "x".repeat(64),
            already_existed: false,
        };
        std::future::ready(Ok(Response::new(answer)))
    }
}

/// So many callers at once, one call each, over as many connections as the real thing has.
pub fn run(
    clients: &Runtime,
    servers: &Runtime,
    connections: usize,
    sizes: &[usize],
    rounds: usize,
) -> Vec<(usize, Tally)> {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (address, stop) = servers.block_on(start(&certified));
    let tallies = clients.block_on(async {
        let mut wires = Vec::new();
        for _ in 0..connections {
            // As long as a real token.
            wires.push(Wire::connect(address, &certified.cert.pem(), &"x".repeat(350)).await);
        }
        burst(&wires, connections).await;
        let mut tallies = Vec::new();
        for size in sizes {
            let mut tally = Tally::default();
            for _ in 0..rounds {
                let (calls, spent) = burst(&wires, *size).await;
                tally.add(&calls, spent);
            }
            tallies.push((*size, tally));
        }
        tallies
    });
    drop(stop);
    tallies
}

async fn burst(wires: &[Wire], callers: usize) -> (Vec<Call>, Spent) {
    let method = path("/bench.Echo/Echo");
    at_once(wires, callers, |mut wire, n| {
        let request = framed(&v1::StartWorkRequest {
            request_id: Uuid::now_v7().to_string(),
            customer_id: format!("customer-{n}"),
            ..Default::default()
        });
        let method = method.clone();
        async move { timed::<v1::StartWorkResponse>(&mut wire, "echo", &method, request).await.0 }
    })
    .await
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
