//! The Vendfleet server as a library: `grpc -> operations -> {domain, store}`, plus what every server needs around it
//! (one config, TLS, credentials, limits, health, metrics, drain).
//!
//! **Architecture Invariant**: `domain` is pure (no async, no SQL, no generated types); `sqlx` appears only under
//! `store`; `tonic` and generated types only under `grpc` and in the composition root (`serve`).

pub mod auth;
pub mod config;
pub mod context;
pub mod data_dir;
pub mod domain;
pub mod error;
pub mod grpc;
pub mod health;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod operations;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod tls;
