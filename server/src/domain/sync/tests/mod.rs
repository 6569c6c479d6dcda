//! Each row of the protocol's table against a journal in memory, and random histories against the invariants.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod commands;
mod device;
mod histories;
mod rows;
mod world;
