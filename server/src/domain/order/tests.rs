//! Promises of the pure decision over orders.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
