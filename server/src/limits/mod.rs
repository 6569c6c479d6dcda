//! Bounds on what one caller, and all of them, may ask for.

mod bounded_map;
mod rate;
#[cfg(test)]
mod tests;

pub use bounded_map::BoundedMap;
pub use rate::{RateClass, RateLimiter, RateRefusal};
