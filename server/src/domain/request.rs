//! A request id and what it was first used for: how a repeated call is told from another one with the same id.

use uuid::Uuid;

/// How long request ids are kept: 30 days, ms.
pub const REQUEST_ID_KEPT_MS: i64 = 2_592_000_000;

/// Names one call that is not idempotent by nature. Unique per caller and method.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestKey {
    /// Who calls: `Caller::name`.
    pub caller: String,
    /// The call, e.g. `CreateProduct`.
    pub method: &'static str,
    /// Made by the caller.
    pub request_id: Uuid,
    /// SHA-256 of the request without its id.
    pub fingerprint: [u8; 32],
}

/// What a request id was used for before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownRequest {
    /// SHA-256 of that request without its id.
    pub fingerprint: [u8; 32],
    /// What it made or changed.
    pub resource_id: String,
    /// What else it was answered with, as the call keeps it; mostly empty.
    pub response: Vec<u8>,
}
