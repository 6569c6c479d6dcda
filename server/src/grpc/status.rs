//! The one place where a failure becomes a `tonic::Status`.

use std::collections::HashMap;

use http::HeaderMap;
use tonic::{Code as GrpcCode, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{
    error::{ApiError, Code, DEFAULT_RETRY_AFTER, MAX_VIOLATIONS, Reason, Retry},
    telemetry,
};

/// `google.rpc.ErrorInfo.domain` of every answer.
pub const DOMAIN: &str = "vendfleet.dev";

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        log(&error);
        let mut details = ErrorDetails::new();
        let mut metadata: HashMap<String, String> =
            error.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if let Some(trace) = telemetry::current() {
            metadata.insert("trace_id".to_owned(), trace.id);
        }
        details.set_error_info(error.reason.name(), DOMAIN, metadata);
        if !error.violations.is_empty() {
            let violations = error.violations.into_iter().take(MAX_VIOLATIONS);
            let violations = violations.map(|v| FieldViolation::new(v.field, v.rule)).collect::<Vec<_>>();
            details.set_bad_request(violations);
        }
        let retry_after = match error.reason.retry() {
            Retry::Backoff => Some(error.retry_after.unwrap_or(DEFAULT_RETRY_AFTER)),
            Retry::No | Retry::Reread => error.retry_after,
        };
        if let Some(delay) = retry_after {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(grpc_code(error.reason.code()), error.message, details)
    }
}

/// What tonic itself refused, in our terms: it knows no reasons. `None` when the status is one of ours already.
pub fn complete(status: &Status, method: &str, limit_bytes: usize) -> Option<ApiError> {
    if !status.details().is_empty() {
        return None;
    }
    let text = status.message();
    // The protocol of health is not ours, and neither are its reasons.
    if status.code() == GrpcCode::NotFound && method.trim_start_matches('/').starts_with("grpc.health.") {
        return None;
    }
    Some(match status.code() {
        GrpcCode::OutOfRange if text.contains("message length too large") => {
            ApiError::new(Reason::MessageTooLarge, format!("a request here has at most {limit_bytes} bytes"))
                .with("limit_bytes", limit_bytes)
        }
        GrpcCode::Unimplemented => unimplemented(method),
        // prost's decode errors, a missing message, a wrong frame: all of them are bytes that aren't the message.
        GrpcCode::Internal | GrpcCode::InvalidArgument if is_undecodable(text) => {
            ApiError::new(Reason::MalformedMessage, "the bytes are not the message that this call takes")
        }
        GrpcCode::Cancelled => ApiError::unavailable("the call was cancelled under way"),
        _ => ApiError::internal(format!("status without a reason: {:?} {text}", status.code())),
    })
}

/// The end of a stream that simply ends.
pub fn ended() -> Status {
    Status::ok("")
}

/// How a call ended, as its answer's headers say.
pub fn code(headers: &HeaderMap) -> GrpcCode {
    headers.get(Status::GRPC_STATUS).map_or(GrpcCode::Ok, |code| GrpcCode::from_bytes(code.as_bytes()))
}

/// The failure in an answer's headers that carries no reason, when it is one.
pub fn unexplained(headers: &HeaderMap) -> Option<Status> {
    if code(headers) == GrpcCode::Ok || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return None;
    }
    Status::from_header_map(headers)
}

/// Keeps what is different in every failure out of the connection's table of headers seen before (HPACK), where it would only
/// push out what comes again.
pub fn keep_out_of_table(headers: &mut HeaderMap) {
    if let Some(details) = headers.get_mut(Status::GRPC_STATUS_DETAILS) {
        details.set_sensitive(true);
    }
}

/// The call, `vendfleet.v1.Service/Method`, is not known, or not done yet.
pub fn unimplemented(method: &str) -> ApiError {
    // The method is the caller's own text: it goes back bounded.
    let shown: String = method.trim_start_matches('/').chars().take(128).collect();
    ApiError::new(Reason::Unimplemented, format!("this server does not do {shown}")).with("method", shown)
}

fn is_undecodable(text: &str) -> bool {
    ["decode", "protobuf", "Missing request message", "compression flag", "Unexpected EOF", "missing request"]
        .iter()
        .any(|part| text.contains(part))
}

fn log(error: &ApiError) {
    let reason = error.reason.name();
    let cause = error.cause().map(tracing::field::display);
    match error.reason.code() {
        Code::Internal => tracing::error!(reason, cause, "{}", error.message),
        Code::Unavailable => tracing::warn!(reason, cause, "{}", error.message),
        _ => tracing::debug!(reason, cause, "{}", error.message),
    }
}

fn grpc_code(code: Code) -> GrpcCode {
    match code {
        Code::InvalidArgument => GrpcCode::InvalidArgument,
        Code::DeadlineExceeded => GrpcCode::DeadlineExceeded,
        Code::NotFound => GrpcCode::NotFound,
        Code::AlreadyExists => GrpcCode::AlreadyExists,
        Code::PermissionDenied => GrpcCode::PermissionDenied,
        Code::ResourceExhausted => GrpcCode::ResourceExhausted,
        Code::FailedPrecondition => GrpcCode::FailedPrecondition,
        Code::Aborted => GrpcCode::Aborted,
        Code::OutOfRange => GrpcCode::OutOfRange,
        Code::Unimplemented => GrpcCode::Unimplemented,
        Code::Internal => GrpcCode::Internal,
        Code::Unavailable => GrpcCode::Unavailable,
        Code::Unauthenticated => GrpcCode::Unauthenticated,
    }
}
