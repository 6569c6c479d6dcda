//! A stored record's meaning, as this server reads it today.

use crate::domain::sync::{BadBody, VerdictReason};
use vend_core::id::TransactionId;
use vend_core::record::Record;

/// What a record says, or why it says nothing.
pub(super) fn read_body(kind: u32, schema: u32, body: &[u8]) -> Result<Record, BadBody> {
    vendfleet_wire::decode(kind, schema, body).map_err(|error| BadBody {
        reason: VerdictReason::of_body(&error.field, error.is_other_kind()),
        detail: error.to_string(),
    })
}

/// The same transaction counts under another name.
pub(super) fn counts_already(transaction: TransactionId) -> BadBody {
    BadBody {
        reason: VerdictReason::DuplicateTransaction,
        detail: format!("transaction_id {} already counts for this kind", hex::encode(transaction.0)),
    }
}
