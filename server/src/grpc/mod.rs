//! The edge: generated types in, typed requests to operations, typed answers out.
//!
//! **Architecture Invariant**: `tonic` and generated types live here and in the composition root only, and [`status`] is
//! the one module that makes a `tonic::Status`.

pub mod catalog;
pub mod events;
mod fields;
pub mod fleet;
pub mod layers;
pub mod machine_sync;
pub mod orchestrator;
pub mod orders;
mod page;
mod request;
pub mod status;
