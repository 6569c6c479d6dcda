//! Unary gRPC on h2 alone, over TLS: as little as possible of two processors goes to asking.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{SendRequest, handshake};
use http::{HeaderMap, HeaderValue, Request, Uri};
use prost::Message;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tonic::Status;

/// A connection with its caller's token. Cheap to clone.
#[derive(Clone)]
pub struct Wire {
    sender: SendRequest<Bytes>,
    authorization: HeaderValue,
}

/// What a call came to.
pub enum Reply {
    Answer(Bytes),
    /// Headers or trailers with the status.
    Failed(HeaderMap),
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
        let (sender, connection) = handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let authorization = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        Self { sender, authorization }
    }

    /// Asks, and waits for the whole answer.
    pub async fn ask(&mut self, path: &Uri, message: &impl Message) -> Reply {
        self.exchange(path, framed(message)).await
    }

    fn request(&self, path: &Uri) -> Request<()> {
        let mut request = Request::post(path.clone()).body(()).unwrap();
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("authorization", self.authorization.clone());
        request
    }

    /// Asks with a framed message, and waits for the whole answer.
    pub async fn exchange(&self, path: &Uri, message: Bytes) -> Reply {
        let request = self.request(path);
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (answer, mut rest) = sender.send_request(request, false).unwrap();
        rest.send_data(message, true).unwrap();
        let (head, mut body) = answer.await.unwrap().into_parts();
        if failed(&head.headers) {
            return Reply::Failed(head.headers);
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            whole.extend_from_slice(&piece);
        }
        match body.trailers().await.unwrap() {
            Some(trailers) if failed(&trailers) => Reply::Failed(trailers),
            _ => Reply::Answer(whole.freeze().slice(5..)),
        }
    }
}

/// As gRPC frames it.
pub fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut body = BytesMut::with_capacity(5 + length);
    body.put_u8(0);
    body.put_u32(u32::try_from(length).unwrap());
    message.encode(&mut body).unwrap();
    body.freeze()
}

fn failed(headers: &HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status != "0")
}

/// Where a method is asked.
pub fn path(method: &str) -> Uri {
    format!("https://localhost{method}").parse().unwrap()
}
