//! The caller's deadline, and the server's own. tonic's timeout answers CANCELLED; the contract says DEADLINE_EXCEEDED.

use std::time::Duration;

use http::HeaderMap;

use crate::error::{ApiError, Reason};

/// `grpc-timeout`: at most 8 digits and a unit (gRPC over HTTP/2). A malformed one counts as none.
pub(super) fn requested(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let unit = text.chars().last().filter(char::is_ascii)?;
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(number * 3_600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

pub(super) fn exceeded(allowed: Duration) -> ApiError {
    let ms = allowed.as_millis();
    ApiError::new(
        Reason::DeadlineExceeded,
        format!("not done within {ms} ms; repeat a write with the same key"),
    )
}
