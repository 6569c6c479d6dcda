//! A client that does over HTTP/2 what a well-behaved library never does.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::JoinHandle,
};

use crate::shell_support::Bench;

pub const WATCH: &str = "/vendfleet.v1.MachineSyncService/Watch";
pub const ENROLL: &str = "/vendfleet.v1.MachineSyncService/Enroll";
pub const SYNC: &str = "/vendfleet.v1.MachineSyncService/Sync";
pub const GET_PRODUCT: &str = "/vendfleet.v1.CatalogService/GetProduct";
pub const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Longest wait for what a test expects.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// One connection. Pings are answered for as long as it is driven.
pub struct Peer {
    pub send: SendRequest<Bytes>,
    pub driver: JoinHandle<()>,
}

/// A socket that is read only so far.
struct Deaf {
    stream: tokio::net::TcpStream,
    left: usize,
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.left == 0 {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// One call on it.
pub struct Asked {
    pub body: Option<SendStream<Bytes>>,
    pub answer: h2::client::ResponseFuture,
}

impl Peer {
    /// A connection whose streams get this window each.
    pub async fn connect(bench: &Bench, window: u32) -> Self {
        Self::connect_until(bench, window, usize::MAX).await
    }

    /// One that reads no more from its socket once it has read so many bytes, and keeps it open.
    pub async fn connect_until(bench: &Bench, window: u32, left: usize) -> Self {
        let stream = tokio::net::TcpStream::connect(bench.running().grpc_address).await.unwrap();
        let (mut builder, stream) = (h2::client::Builder::new(), Deaf { stream, left });
        builder.initial_window_size(window).initial_connection_window_size(window.max(65_535));
        let (send, connection) = builder.handshake(stream).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        Self { send, driver }
    }

    /// Sends headers, and a message unless there is to be none.
    pub async fn ask(&self, path: &str, authorization: Option<&str>, message: Option<Vec<u8>>) -> Asked {
        let mut request = http::Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let mut send = self.send.clone().ready().await.unwrap();
        let (answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
        let body = match message {
            None => Some(body),
            Some(message) => {
                body.send_data(framed(&message), true).unwrap();
                None
            }
        };
        Asked { body, answer }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Asked {
    /// The answer's headers and its body, of which nothing is taken.
    pub async fn opened(self) -> RecvStream {
        let answer = tokio::time::timeout(PATIENCE, self.answer).await.expect("headers in time").unwrap();
        assert!(answer.headers().get("grpc-status").is_none(), "{:?}", answer.headers());
        answer.into_body()
    }

    /// The reason of a refusal in the answer's headers.
    pub async fn refused(self) -> String {
        use tonic_types::StatusExt as _;
        let answer = tokio::time::timeout(PATIENCE, self.answer).await.expect("headers in time").unwrap();
        let status = tonic::Status::from_header_map(answer.headers()).expect("a refusal");
        status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
    }
}

/// Waits for the stream to be reset, or its connection closed, without taking anything.
pub async fn ended(mut body: RecvStream) {
    let end = async {
        loop {
            match body.data().await {
                // What fits the window comes first.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("the stream is ended");
}

pub fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

pub fn product(id: &str) -> Vec<u8> {
    vendfleet_proto::v1::GetProductRequest { product_id: id.to_owned() }.encode_to_vec()
}

/// A number of `/metrics`; 0 while nobody has counted.
pub async fn metric(bench: &Bench, line: &str) -> f64 {
    let (_, text) = bench.http_get("/metrics").await;
    let found = text.lines().find_map(|shown| shown.strip_prefix(line)?.strip_prefix(' '));
    found.map_or(0.0, |number| number.parse().unwrap())
}

pub async fn until_metric(bench: &Bench, line: &str, is: impl Fn(f64) -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let shown = metric(bench, line).await;
        if is(shown) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{line} stays at {shown}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a caller sees who does nothing wrong: forty calls, all answered, each before its patience ends.
pub async fn others_are_unhurt(bench: &Bench) {
    let mut slowest = Duration::ZERO;
    for _ in 0..40 {
        let started = tokio::time::Instant::now();
        bench
            .get_product_with("any", |request| {
                let token = bench.token_of("bystander", server::auth::Role::Customer);
                crate::shell_support::authorize(request, &token);
            })
            .await
            .expect("a caller who does nothing wrong is answered");
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "the slowest of forty calls took {slowest:?}");
}
