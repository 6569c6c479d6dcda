//! Promises of the pure decision over orders: the rows of its table, and random histories against the invariants.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod histories;
mod rows;
mod world;
