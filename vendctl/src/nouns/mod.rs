//! One noun, one file: its arguments, its rows, and what it asks the server.

pub(crate) mod alerts;
pub(crate) mod claim;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod credential;
pub(crate) mod dead_letters;
pub(crate) mod drift;
pub(crate) mod epochs;
pub(crate) mod event;
pub(crate) mod gaps;
pub(crate) mod inventory;
pub(crate) mod machine;
pub(crate) mod order;
pub(crate) mod product;
pub(crate) mod purchase;
pub(crate) mod quarantine;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod split;
pub(crate) mod status;
pub(crate) mod totals;
pub(crate) mod transactions;
