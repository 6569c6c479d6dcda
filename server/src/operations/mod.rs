//! One module per verb: takes a typed request, asks the store, decides with the domain, answers with a value or an `ApiError`.

pub mod catalog;
mod commit;
mod deps;
pub mod events;
pub mod fleet;
mod forget_request_ids;
pub mod jobs;
pub mod orders;
pub mod payments;
pub mod pool;
pub mod presence;
pub mod relay;
mod request;
pub mod retention;
mod shares;
pub mod silence;
pub mod space;
pub mod sync;
pub mod watch;
pub mod worker;

pub use deps::{Deps, Moment, Settings, SignCertificate, SignedCertificate};
pub use forget_request_ids::forget_request_ids;
