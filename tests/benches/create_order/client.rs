//! The load generator: unary gRPC on hyper alone, so that as little as possible of two processors goes to asking.

use crate::common::cpu::Cpu;
use crate::figures::Figures;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use vendfleet_proto::v1;

/// How it is driven.
pub struct Load {
    pub connections: usize,
    /// Not counted.
    pub warm_up: Duration,
    pub measured: Duration,
}

/// Where to, as whom, for what.
pub struct Target {
    pub address: SocketAddr,
    pub ca_pem: String,
    pub path: &'static str,
    /// One `authorization` per caller.
    pub authorizations: Vec<HeaderValue>,
    pub product_ids: Vec<String>,
}

/// What came of it.
pub struct Driven {
    pub figures: Figures,
    /// Orders made, the warm-up's too.
    pub orders: usize,
}

/// Every caller asks for an order, waits for the answer, and asks for the next one, until the time is over.
pub async fn drive(target: Target, load: &Load) -> Driven {
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(connect(target.address, &target.ca_pem).await);
    }
    let uri: Uri = format!("https://localhost{}", target.path).parse().unwrap();
    let products: Arc<[String]> = target.product_ids.into();
    let mut callers = JoinSet::new();
    let begin = Instant::now() + load.warm_up;
    let end = begin + load.measured;
    for (at, authorization) in target.authorizations.into_iter().enumerate() {
        let caller = Caller {
            connection: connections[at % connections.len()].clone(),
            uri: uri.clone(),
            authorization,
            products: products.clone(),
        };
        callers.spawn(caller.ask_until(begin, end));
    }
    tokio::time::sleep_until(begin.into()).await;
    let before = Cpu::now();
    tokio::time::sleep_until(end.into()).await;
    let after = Cpu::now();
    let (mut latencies, mut orders) = (Vec::new(), 0);
    while let Some(ended) = callers.join_next().await {
        let (counted, made) = ended.unwrap();
        latencies.extend(counted);
        orders += made;
    }
    let note = after.per_call(before, latencies.len());
    Driven { figures: Figures::of(latencies, load.measured, note), orders }
}

struct Caller {
    connection: SendRequest<Full<Bytes>>,
    uri: Uri,
    authorization: HeaderValue,
    products: Arc<[String]>,
}

impl Caller {
    async fn ask_until(mut self, begin: Instant, end: Instant) -> (Vec<f64>, usize) {
        let (mut latencies, mut orders) = (Vec::new(), 0);
        loop {
            let began = Instant::now();
            if began >= end {
                return (latencies, orders);
            }
            let product = &self.products[rand::random_range(0..self.products.len())];
            let request = v1::CreateOrderRequest {
                idempotency_key: uuid::Uuid::from_u128(rand::random()).to_string(),
                customer_id: String::new(),
                lines: vec![v1::CreateOrderLine { product_id: product.clone(), quantity: 1 }],
                expected_total: None,
            };
            let answer = self.ask(&request).await;
            orders += 1;
            let ended = Instant::now();
            if ended >= begin && ended < end {
                latencies.push((ended - began).as_secs_f64() * 1e3);
            }
            // Looking at each answer would cost the load generator more than it tells.
            if orders % 64 == 1 {
                let answer = v1::CreateOrderResponse::decode(answer).unwrap();
                assert!(!answer.already_existed);
                assert_eq!(answer.order.unwrap().lines.len(), 1);
            }
        }
    }

    async fn ask(&mut self, message: &v1::CreateOrderRequest) -> Bytes {
        let length = message.encoded_len();
        let mut body = BytesMut::with_capacity(5 + length);
        body.put_u8(0);
        body.put_u32(u32::try_from(length).unwrap());
        message.encode(&mut body).unwrap();
        let mut request = Request::post(self.uri.clone()).body(Full::new(body.freeze())).unwrap();
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("authorization", self.authorization.clone());
        self.connection.ready().await.unwrap();
        let answer = self.connection.send_request(request).await.unwrap();
        assert_ok(answer.headers(), false);
        let whole = answer.into_body().collect().await.unwrap();
        assert_ok(whole.trailers().unwrap(), true);
        whole.to_bytes().slice(5..)
    }
}

fn assert_ok(headers: &HeaderMap, last: bool) {
    match headers.get("grpc-status") {
        Some(status) if status == "0" => {}
        None if !last => {}
        _ => panic!("a call failed: {headers:?}"),
    }
}

async fn connect(address: SocketAddr, ca_pem: &str) -> SendRequest<Full<Bytes>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}
