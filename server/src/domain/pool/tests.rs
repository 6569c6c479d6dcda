//! Promises of the pure decision over the pool.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod fair;
mod histories;
mod purchases;
mod real;
mod street;
mod world;
