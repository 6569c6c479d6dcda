//! Log lines, and the trace id that ties them to calls.

mod log;
#[cfg(test)]
mod tests;
mod trace;

pub use log::init;
pub use trace::{Trace, current};
