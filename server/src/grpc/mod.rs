//! The edge: generated types in, typed requests to operations, typed answers out.
//!
//! **Architecture Invariant**: `tonic` and generated types live here and in the composition root only, and [`status`] is
//! the one module that makes a `tonic::Status`.

pub mod catalog;
mod fields;
pub mod fleet;
pub mod layers;
pub mod machine_sync;
mod page;
mod request;
pub mod status;
