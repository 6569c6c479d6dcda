//! Unary gRPC on hyper alone, over TLS: as little as possible of two processors goes to asking.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::Status;

/// A call that takes longer is over for its caller.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A connection with its caller's token. Cheap to clone.
#[derive(Clone)]
pub struct Wire {
    sender: SendRequest<Full<Bytes>>,
    authorization: HeaderValue,
}

/// What a call came to.
pub enum Reply {
    Answer(Bytes),
    /// Headers or trailers with the status.
    Failed(HeaderMap),
    TimedOut,
}

impl Reply {
    /// The answer, or the reason of the refusal.
    pub fn read<M: Message + Default>(self) -> Result<M, String> {
        match self {
            Self::Answer(body) => Ok(M::decode(body).unwrap()),
            Self::Failed(headers) => {
                let status = Status::from_header_map(&headers).unwrap();
                Err(vendfleet_tests::refusal::refusal(&status).reason)
            }
            Self::TimedOut => Err("timeout".to_owned()),
        }
    }
}

impl Wire {
    /// Connects, and knows the token that its calls carry.
    pub async fn connect(address: SocketAddr, ca_pem: &str, token: &str) -> Self {
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
        let authorization = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        Self { sender, authorization }
    }

    /// Asks, and waits for the whole answer.
    pub async fn ask(&mut self, path: &Uri, message: &impl Message) -> Reply {
        tokio::time::timeout(TIMEOUT, self.exchange(path, message)).await.unwrap_or(Reply::TimedOut)
    }

    async fn exchange(&mut self, path: &Uri, message: &impl Message) -> Reply {
        let length = message.encoded_len();
        let mut body = BytesMut::with_capacity(5 + length);
        body.put_u8(0);
        body.put_u32(u32::try_from(length).unwrap());
        message.encode(&mut body).unwrap();
        let mut request = Request::post(path.clone()).body(Full::new(body.freeze())).unwrap();
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("authorization", self.authorization.clone());
        self.sender.ready().await.unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        if failed(answer.headers()) {
            return Reply::Failed(answer.headers().clone());
        }
        let whole = answer.into_body().collect().await.unwrap();
        match whole.trailers() {
            Some(trailers) if failed(trailers) => Reply::Failed(trailers.clone()),
            _ => Reply::Answer(whole.to_bytes().slice(5..)),
        }
    }
}

fn failed(headers: &HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status != "0")
}

/// Where a method is asked.
pub fn path(method: &str) -> Uri {
    format!("https://localhost{method}").parse().unwrap()
}
