//! The harness: what a test needs to meet the real parts, and nothing that pretends to be one.
//!
//! * [`postgres`]: a database of one's own on the PostgreSQL that `./tests/run` starts.
//! * [`server`]: the built `vendfleet serve` as a child process that can be killed, restarted and stopped.
//! * [`client`]: channels to it over TLS, with a token.
//! * [`link`]: a wire between a machine and the server that can be cut, stalled and mended.
//! * [`fleet`]: all of it together, on either engine, with machines and an operator.
//! * [`gateway`]: a payment gateway that misbehaves on demand and keeps a ledger of every charge.
//! * [`nats`]: a nats-server that a test may kill.
//! * [`device`]: a machine with its real journal and agent, moved step by step.
//! * [`checker`]: whether every durable record of every device is on the server exactly once, and the sums are right.
//! * [`orders`]: one or more servers on one database that sell central stock, their callers, and the checker of orders and stock.
//! * [`private_postgres`]: a PostgreSQL that a test may kill.
//! * [`refusal`]: what an error says to a program.
//! * [`wait`]: waiting for a condition with a deadline, which is the only waiting there is.
//!
//! Ports are always free ones, paths always temporary, so any number of tests run side by side.
//! What is missing fails a test with what to run; nothing is skipped.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the real clock and environment, and make ids of their own"
)]
#![allow(clippy::unwrap_used, reason = "a harness that can't go on says where and stops the test")]

pub mod checker;
pub mod client;
pub mod device;
pub mod fleet;
pub mod gateway;
pub mod link;
pub mod nats;
pub mod orders;
pub mod pool;
pub mod postgres;
pub mod private_postgres;
pub mod refusal;
pub mod server;
pub mod wait;
