//! Bounds on what one caller, one class of callers, and all of them may ask for.

mod bounded_map;
mod buckets;
mod connections;
mod failures;
mod machine_budgets;
mod network;
mod open_call;
mod places;
mod rate;
#[cfg(test)]
mod tests;

pub use bounded_map::BoundedMap;
pub use buckets::{Buckets, Quota};
pub use connections::{ConnectionBounds, Connections, Cut, OpenConnection, SocketProgress};
pub use failures::{FailedAttempts, Failures};
pub use machine_budgets::{MachineBudgets, OverBudget, Spending};
pub use network::network;
pub use open_call::{OpenCall, StreamEnds};
pub use places::{Class, Place, PlaceKind, Places, Refusal};
pub use rate::{RateClass, RateLimiter, RateRefusal};
