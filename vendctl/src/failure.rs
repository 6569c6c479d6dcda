//! What can go wrong, what is said about it, and how the command then ends.

use crate::exit::Exit;
use crate::output::text::printable;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command or its input is wrong; nothing was sent.
    #[error("{0}")]
    Usage(String),
    /// The call failed.
    #[error("{}", .0.message)]
    Call(Box<Refusal>),
    /// The server's answer breaks the contract.
    #[error("the server's answer breaks the contract: {0}")]
    Contract(String),
    /// The result can't be written.
    #[error("the result can't be written: {0}")]
    Output(#[from] io::Error),
}

/// A call that failed, as the server put it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    /// An `ErrorReason` without its prefix; without one, e.g. when no server was reached, the gRPC code's name.
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Field paths and the rules they break.
    pub(crate) fields: Vec<(String, String)>,
    /// Values for programs, `trace_id` apart.
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// The write's request id: with it, repeating is safe.
    pub(crate) request_id: Option<String>,
    /// Nobody would answer differently however often asked, e.g. the certificate is not trusted.
    pub(crate) hopeless: bool,
}

impl Refusal {
    pub(crate) fn new(status: &Status) -> Self {
        let details = status.get_error_details();
        let mut metadata = BTreeMap::new();
        let mut reason = code_name(status.code()).to_owned();
        if let Some(info) = details.error_info() {
            reason.clone_from(&info.reason);
            metadata.extend(info.metadata.clone());
        }
        let from_header = || Some(status.metadata().get("x-trace-id")?.to_str().ok()?.to_owned());
        let trace_id = metadata.remove("trace_id").or_else(from_header);
        let fields = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let message = match status.source() {
            Some(source) => chain(source),
            None => status.message().to_owned(),
        };
        Self {
            code: status.code(),
            reason,
            message,
            fields: fields.iter().map(|v| (v.field.clone(), v.description.clone())).collect(),
            metadata,
            trace_id,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            request_id: None,
            hopeless: is_hopeless(status),
        }
    }

    fn exit(&self) -> Exit {
        match self.code {
            Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
            Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => {
                Exit::Unavailable
            }
            Code::Aborted if self.retry_after.is_some() => Exit::Unavailable,
            Code::Aborted
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Unimplemented => Exit::Refused,
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Exit::Failed,
        }
    }

    /// Whether the call may have been carried out all the same.
    fn is_unknown(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal
        )
    }

    fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("reason".into(), self.reason.clone().into());
        object.insert("code".into(), code_name(self.code).into());
        object.insert("message".into(), self.message.clone().into());
        let field = |(field, rule): &(String, String)| json!({ "field": field, "rule": rule });
        object.insert("fields".into(), self.fields.iter().map(field).collect::<Vec<_>>().into());
        object.insert("metadata".into(), json!(self.metadata));
        object.insert("trace_id".into(), json!(self.trace_id));
        let retry_after_ms =
            self.retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        object.insert("retry_after_ms".into(), json!(retry_after_ms));
        object.insert("request_id".into(), json!(self.request_id));
        Value::Object(object)
    }

    fn explain(&self, err: &mut dyn Write) -> io::Result<()> {
        writeln!(err, "vendctl: {}: {}", printable(&self.reason), printable(&self.message))?;
        for (field, rule) in &self.fields {
            writeln!(err, "  {}: {}", printable(field), printable(rule))?;
        }
        for (key, value) in &self.metadata {
            writeln!(err, "  {} = {}", printable(key), printable(value))?;
        }
        if let Some(delay) = self.retry_after {
            writeln!(err, "  may succeed after {} ms", delay.as_millis())?;
        }
        if let Some(request_id) = self.request_id.as_ref().filter(|_| self.is_unknown()) {
            writeln!(err, "  it may have been done: to repeat it safely, add --request-id {request_id}")?;
        }
        if let Some(trace_id) = &self.trace_id {
            writeln!(err, "  trace {}", printable(trace_id))?;
        }
        if self.hopeless {
            writeln!(
                err,
                "  name the server's CA with --ca FILE (a development server keeps it in DATA_DIR/tls/ca.pem)"
            )?;
        }
        if self.code == Code::Unauthenticated {
            writeln!(
                err,
                "  give a token with --token-file FILE or VENDCTL_TOKEN; `vendfleet token` makes one"
            )?;
        }
        Ok(())
    }
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// A field that must be there is not.
    pub(crate) fn missing(field: &str) -> Self {
        Self::Contract(format!("{field} is missing"))
    }

    /// Whether a write that failed by this may have happened.
    pub(crate) fn may_have_been_done(&self) -> bool {
        matches!(self, Self::Call(refusal) if refusal.is_unknown())
    }

    /// Says what went wrong, and how the command ends by it.
    pub(crate) fn report(&self, json: bool, err: &mut dyn Write) -> Exit {
        let exit = match self {
            Self::Usage(_) => Exit::Usage,
            Self::Call(refusal) => refusal.exit(),
            // Who closed the pipe has read enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Ok,
            Self::Contract(_) | Self::Output(_) => Exit::Failed,
        };
        let said = match self {
            Self::Call(refusal) if json => writeln!(err, "{}", json!({ "error": refusal.to_json() })),
            Self::Call(refusal) => refusal.explain(err),
            other if json => {
                let reason = if exit == Exit::Usage { "USAGE" } else { "FAILED" };
                writeln!(err, "{}", json!({ "error": { "reason": reason, "message": other.to_string() } }))
            }
            other => writeln!(err, "vendctl: {}", printable(&other.to_string())),
        };
        // There is no third place to say that stderr is gone; the exit code still tells.
        drop(said);
        exit
    }
}

/// An error with its causes, each said once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

/// A handshake that failed fails again: rustls reports it as invalid data.
fn is_hopeless(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(cause) = source {
        if cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::InvalidData) {
            return true;
        }
        source = cause.source();
    }
    false
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests;
