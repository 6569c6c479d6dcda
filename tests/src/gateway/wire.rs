//! HTTP/1.1 by hand: a library would not hang up in the middle of an answer, or answer twice.

use super::ledger::{Payment, Status};
use super::{API_KEY, Act, Call, Manner, Op, State, Step};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

pub(super) async fn serve(state: Arc<Mutex<State>>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        // Dropped with this task: connections end with the gateway.
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            connections.spawn(talk(stream, state.clone()));
            while connections.try_join_next().is_some() {}
        }
    });
    (address, serving)
}

async fn talk(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        if !answer(&mut stream, &request, &state).await {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut words = lines.first()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request { method, path, headers, body: Vec::new() };
    request.body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

/// Whether the connection may go on.
async fn answer(stream: &mut BufReader<TcpStream>, request: &Request, state: &Mutex<State>) -> bool {
    if request.header("authorization") != format!("Bearer {API_KEY}") {
        return write(stream, 401, &error("unauthorised")).await;
    }
    let Some((op, key)) = operation(request) else { return write(stream, 404, &error("no_such_call")).await };
    if request.header("idempotency-key") != key {
        return write(stream, 400, &error("idempotency_key_missing")).await;
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let (step, known) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = state.calls.iter().filter(|call| call.op == op && call.key == key).count();
        let traceparent = request.header("traceparent").to_owned();
        let call = Call { op, key: key.clone(), nth, traceparent };
        let step = state.step(&call);
        state.calls.push(call);
        let known = act(&mut state, op, &key, &body, step.act);
        (step, known)
    };
    seen(stream, &step, known, &key).await
}

/// Which call it is, and its key.
fn operation(request: &Request) -> Option<(Op, String)> {
    let rest = request.path.strip_prefix("/v1/payments")?;
    let mut parts = rest.split('/').skip(1);
    match (request.method.as_str(), parts.next(), parts.next()) {
        ("POST", None, None) => Some((Op::Authorise, request.header("idempotency-key").to_owned())),
        ("GET", Some(key), None) => Some((Op::Query, key.to_owned())),
        ("POST", Some(key), Some(verb)) => {
            let op = match verb {
                "capture" => Op::Capture,
                "void" => Op::Void,
                "refund" => Op::Refund,
                _ => return None,
            };
            Some((op, key.to_owned()))
        }
        _ => None,
    }
}

fn act(state: &mut State, op: Op, key: &str, body: &Value, act: Act) -> Option<Payment> {
    let currency = body["amount"]["currency_code"].as_str().unwrap_or_default();
    let minor = body["amount"]["minor_units"].as_i64().unwrap_or_default();
    let books = &mut state.books;
    match (act, op) {
        (Act::Nothing, _) | (_, Op::Query) => books.find(key),
        (act, Op::Authorise) => {
            let capture = body["capture"].as_bool().unwrap_or_default();
            Some(books.authorise(key, currency, minor, capture, act == Act::Approve))
        }
        (Act::Decline, _) => books.find(key),
        (Act::Approve, Op::Capture) => books.capture(key),
        (Act::Approve, Op::Void) => Some(books.void(key, currency, minor)),
        (Act::Approve, Op::Refund) => books.refund(key),
    }
}

fn error(code: &str) -> Vec<u8> {
    json!({ "error": { "code": code, "message": "as the script says" } }).to_string().into_bytes()
}

fn shown(payment: &Payment) -> Value {
    let detail = if payment.status == Status::Declined { "insufficient funds" } else { "" };
    json!({
        "payment_key": payment.key,
        "payment_id": payment.payment_id,
        "status": payment.status.word(),
        "amount": { "currency_code": payment.currency, "minor_units": payment.minor_units },
        "detail": detail,
    })
}

async fn seen(stream: &mut BufReader<TcpStream>, step: &Step, known: Option<Payment>, key: &str) -> bool {
    let mut body = known.as_ref().map(shown);
    match &step.manner {
        Manner::Proper | Manner::Twice | Manner::HangUpMidAnswer => {}
        Manner::After(pause) => tokio::time::sleep(*pause).await,
        Manner::Silence => {
            // Until the caller goes away.
            let _ = stream.read(&mut [0; 1]).await;
            return false;
        }
        Manner::HangUp => return false,
        Manner::Status(status) => return write(stream, *status, &error("scripted")).await,
        Manner::Garbage => return write(stream, 200, b"<html>It works!</html>").await,
        Manner::OtherShape => return write(stream, 200, b"{\"ok\":true}").await,
        Manner::Huge(bytes) => return write(stream, 200, &vec![b' '; *bytes]).await,
        Manner::Redirect(to) => {
            let head = format!("HTTP/1.1 307 Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            return stream.get_mut().write_all(head.as_bytes()).await.is_ok();
        }
        Manner::WrongAmount => {
            let said = known.as_ref().map_or(1, |payment| payment.minor_units + 1);
            set(&mut body, "/amount/minor_units", json!(said));
        }
        Manner::WrongCurrency => set(&mut body, "/amount/currency_code", json!("XTS")),
        Manner::WrongKey => set(&mut body, "/payment_key", json!("018f0000-0000-7000-8000-000000000000")),
        Manner::Says(status) => set(&mut body, "/status", json!(status.word())),
        Manner::Pending => {
            let pending = json!({ "payment_key": key, "status": "pending" }).to_string();
            return write(stream, 202, pending.as_bytes()).await;
        }
    }
    let (status, bytes) = match body {
        Some(body) => (200, body.to_string().into_bytes()),
        None => (404, error("payment_not_found")),
    };
    match step.manner {
        Manner::HangUpMidAnswer => {
            let head = head(status, bytes.len());
            let _ = stream.get_mut().write_all(head.as_bytes()).await;
            let _ = stream.get_mut().write_all(&bytes[..bytes.len() / 2]).await;
            false
        }
        Manner::Twice => write(stream, status, &bytes).await && write(stream, status, &bytes).await,
        _ => write(stream, status, &bytes).await,
    }
}

fn set(body: &mut Option<Value>, pointer: &str, value: Value) {
    if let Some(place) = body.as_mut().and_then(|body| body.pointer_mut(pointer)) {
        *place = value;
    }
}

fn head(status: u16, bytes: usize) -> String {
    format!(
        "HTTP/1.1 {status} As scripted\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n"
    )
}

async fn write(stream: &mut BufReader<TcpStream>, status: u16, body: &[u8]) -> bool {
    let mut bytes = head(status, body.len()).into_bytes();
    bytes.extend_from_slice(body);
    stream.get_mut().write_all(&bytes).await.is_ok()
}
