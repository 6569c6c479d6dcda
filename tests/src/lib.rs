//! The harness: what a test needs to meet the real parts, and nothing that pretends to be one.
//!
//! * [`postgres`]: a database of one's own on the PostgreSQL that `./tests/run` starts.
//! * [`server`]: the built `vendfleet serve` as a child process that can be killed, restarted and stopped.
//! * [`client`]: channels to it over TLS, with a token.
//! * [`link`]: a wire between a machine and the server that can be cut, stalled and mended.
//! * [`wait`]: waiting for a condition with a deadline, which is the only waiting there is.
//!
//! Ports are always free ones, paths always temporary, so any number of tests run side by side.
//! What is missing fails a test with what to run; nothing is skipped.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the real clock and environment, and make ids of their own"
)]
#![allow(clippy::unwrap_used, reason = "a harness that can't go on says where and stops the test")]

pub mod client;
pub mod link;
pub mod postgres;
pub mod server;
pub mod wait;
