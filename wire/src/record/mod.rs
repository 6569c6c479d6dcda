//! Bodies: the meaning of a record and its bytes.

mod decode;
mod encode;

pub use decode::{decode, kind_from_number};
pub(crate) use decode::{payment_from_proto, policy_from_proto};
pub use encode::{Encoded, body_to_proto, encode};
pub(crate) use encode::{payment_to_proto, policy_to_proto};
