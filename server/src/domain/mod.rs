//! What is decided, and nothing else: values in, values out.
//!
//! **Architecture Invariant:** nothing here is async, speaks SQL or knows a generated type.

pub mod catalog;
pub mod command;
pub mod event;
pub mod fleet;
pub mod ids;
pub mod order;
pub mod page;
pub mod payment;
pub mod pool;
pub mod request;
pub mod share;
pub mod stock;
pub mod sync;
pub mod text;
