//! Promises about money: gateways that misbehave, workers that die, late and forged news. On both engines where there is a
//! database.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "fleet_support/mod.rs"]
mod fleet_support;
#[path = "../../tests/src/gateway.rs"]
#[allow(dead_code, unreachable_pub)]
mod gateway;
#[path = "orders_support/mod.rs"]
mod orders_support;
#[path = "../../tests/src/wait.rs"]
#[allow(dead_code, unreachable_pub)]
mod wait;

#[path = "payments/house.rs"]
mod house;
#[path = "payments/letters.rs"]
mod letters;
#[path = "payments/misbehaving.rs"]
mod misbehaving;
#[path = "payments/webhooks.rs"]
mod webhooks;
#[path = "payments/workers.rs"]
mod workers;
