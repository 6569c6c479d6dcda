//! What an error says to a program.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Code, reason, metadata, the fields it names with the rule each broke, and when to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// gRPC code.
    pub code: Code,
    /// `ErrorInfo.reason`.
    pub reason: String,
    /// `BadRequest`: field and rule.
    pub fields: Vec<(String, String)>,
    /// `ErrorInfo.metadata`.
    pub metadata: HashMap<String, String>,
    /// `RetryInfo`.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// One value of the metadata; empty when it is not there.
    pub fn said(&self, key: &str) -> &str {
        self.metadata.get(key).map_or("", String::as_str)
    }
}

/// Reads an error. Panics when it carries no `ErrorInfo`: every error must.
pub fn refusal(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("an error without ErrorInfo: {status:?}"));
    let fields = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    Refusal {
        code: status.code(),
        reason: info.reason.clone(),
        fields: fields.iter().map(|f| (f.field.clone(), f.description.clone())).collect(),
        metadata: info.metadata.clone(),
        retry_after: details.retry_info().and_then(|info| info.retry_delay),
    }
}
