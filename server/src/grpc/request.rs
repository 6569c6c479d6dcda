//! Who calls, and under which request id.

use crate::auth::{Caller, Person};
use crate::domain::request::RequestKey;
use crate::error::{ApiError, Reason};
use crate::grpc::fields::Fields;
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::Extensions;

/// Who calls. The layer that knows credentials put it there; a call without it reached a service by accident.
///
/// # Errors
/// UNAUTHENTICATED.
pub(crate) fn caller(extensions: &Extensions) -> Result<Caller, ApiError> {
    match extensions.get::<Caller>() {
        Some(Caller::Anonymous) | None => {
            Err(ApiError::new(Reason::Unauthenticated, "this call needs a credential"))
        }
        Some(caller) => Ok(caller.clone()),
    }
}

/// The person that calls: what `created_by` and the like say.
///
/// # Errors
/// UNAUTHENTICATED, PERMISSION_DENIED for a machine.
pub(crate) fn person(extensions: &Extensions) -> Result<Person, ApiError> {
    match caller(extensions)? {
        Caller::Person(person) => Ok(person),
        _ => Err(ApiError::new(Reason::PermissionDenied, "this call is for people")
            .with("required_scope", "operator")),
    }
}

/// The request's key. `bare` is the request with its id cleared: the fingerprint is over everything else.
pub(crate) fn request_key(
    fields: &mut Fields,
    caller: &Person,
    method: &'static str,
    request_id: &str,
    bare: &impl Message,
) -> Option<RequestKey> {
    let request_id = fields.uuid("request_id", request_id)?;
    Some(RequestKey {
        caller: Caller::Person(caller.clone()).name(),
        method,
        request_id,
        fingerprint: Sha256::digest(bare.encode_to_vec()).into(),
    })
}
