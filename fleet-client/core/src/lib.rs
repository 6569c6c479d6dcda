//! The machine: what a vending machine decides, and nothing else.
//!
//! `handle(now, Input) -> effects, in order`. No I/O, no clock, no randomness, no async: time, ids and results come
//! in as inputs, everything the machine wants done goes out as effects. The same code folds slot stock on the server.
#![no_std]
#![warn(missing_docs)]
extern crate alloc;

pub mod config;
pub mod counters;
pub mod id;
pub mod machine;
pub mod money;
pub mod record;
pub mod stock;
pub mod time;
