//! One module per verb: takes a typed request, asks the store, decides with the domain, answers with a value or an `ApiError`.

pub mod catalog;
mod deps;
pub mod fleet;
mod request;
pub mod sync;
pub mod watch;

pub use deps::{Deps, Settings, SignCertificate, SignedCertificate};
