//! What the gateway tells by itself: signed webhooks, sent over a plain connection.

use super::ledger::{Payment, Status};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

static EVENTS: AtomicU64 = AtomicU64::new(1);

/// A webhook to send; every field can be changed first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// Tells repeats.
    pub event_id: String,
    /// The idempotency key of the payment.
    pub payment_key: String,
    /// The gateway's name for it.
    pub payment_id: String,
    /// The contract's word.
    pub status: String,
    /// ISO 4217.
    pub currency: String,
    /// Amount.
    pub minor_units: i64,
}

impl Webhook {
    /// About a payment as it is.
    pub fn about(payment: &Payment) -> Self {
        Self {
            event_id: format!("evt_{}", EVENTS.fetch_add(1, Ordering::Relaxed)),
            payment_key: payment.key.clone(),
            payment_id: payment.payment_id.clone(),
            status: payment.status.word().to_owned(),
            currency: payment.currency.clone(),
            minor_units: payment.minor_units,
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn saying(self, status: Status) -> Self {
        Self { status: status.word().to_owned(), ..self }
    }

    /// The body, JSON.
    pub fn body(&self) -> String {
        serde_json::json!({
            "event_id": self.event_id,
            "payment_key": self.payment_key,
            "payment_id": self.payment_id,
            "status": self.status,
            "amount": { "currency_code": self.currency, "minor_units": self.minor_units },
        })
        .to_string()
    }

    /// The signature header's value for this body at this time, seconds since the Unix epoch.
    pub fn signature(secret: &str, at_s: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{at_s}.{body}").as_bytes());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        format!("t={at_s},v1={}", hex::encode(digest))
    }

    /// Signs it now and posts it to a server's HTTP address; gives the HTTP status.
    pub async fn send(&self, server: SocketAddr, secret: &str) -> u16 {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let body = self.body();
        let signature = Self::signature(secret, i64::try_from(now_s).unwrap(), &body);
        post(server, "/webhooks/payments", &[("Webhook-Signature", &signature)], body.as_bytes()).await.0
    }
}

/// One POST over a connection of its own: status and body of the answer.
pub async fn post(server: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses by the head alone may close before it has read the body.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no HTTP answer: {answer:?}")), body.to_owned())
}
