//! The trace id of a call: taken when it is well formed, made otherwise; W3C `traceparent` likewise.

use std::future::Future;

use tokio::task::futures::TaskLocalFuture;

use crate::context::Context;

/// Longest `x-trace-id` taken, in characters of `[A-Za-z0-9_-]`.
const MAX_TRACE_ID: usize = 64;

tokio::task_local! {
    static CURRENT: Trace;
}

/// What ties a call to its log lines, jobs and events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// What the caller knows it by.
    pub id: String,
    /// W3C trace id, 32 lower-case hex digits.
    pub w3c_trace_id: String,
    /// This server's span in it, 16 lower-case hex digits.
    pub span_id: String,
    /// W3C flags: 1 when the caller records the trace.
    pub flags: u8,
}

impl Trace {
    /// From the headers `x-trace-id` and `traceparent`; what is missing or malformed is made.
    pub fn take(x_trace_id: Option<&str>, traceparent: Option<&str>, context: &Context) -> Self {
        let given = x_trace_id.filter(|id| is_trace_id(id));
        let parent = traceparent.and_then(parse_traceparent);
        let (w3c_trace_id, flags) = match (parent, given) {
            (Some((trace_id, flags)), _) => (trace_id.to_owned(), flags),
            (None, Some(id)) if is_hex(id, 32) => (id.to_owned(), 0),
            _ => (hex::encode(context.random_bytes::<16>()), 0),
        };
        let id = given.map_or_else(|| w3c_trace_id.clone(), ToOwned::to_owned);
        Self { id, w3c_trace_id, span_id: hex::encode(context.random_bytes::<8>()), flags }
    }

    /// The `traceparent` for answers and for calls that follow from this one.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.w3c_trace_id, self.span_id, self.flags)
    }

    /// Runs a future whose [`current`] trace is this one.
    pub fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self, future)
    }

    /// Runs a function whose [`current`] trace is this one.
    pub fn sync_scope<T>(&self, function: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), function)
    }
}

/// The trace of the call being handled on this task; none on background tasks.
pub fn current() -> Option<Trace> {
    CURRENT.try_with(Clone::clone).ok()
}

fn is_trace_id(id: &str) -> bool {
    (1..=MAX_TRACE_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zero (W3C Trace Context, section 3.2).
fn parse_traceparent(text: &str) -> Option<(&str, u8)> {
    let mut parts = text.split('-');
    let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let known = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let ids = is_nonzero_hex(trace_id, 32) && is_nonzero_hex(parent_id, 16);
    let flags = is_hex(flags, 2).then(|| u8::from_str_radix(flags, 16).ok()).flatten()?;
    (known && ids).then_some((trace_id, flags & 1))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_nonzero_hex(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|byte| byte != b'0')
}
