//! The machine: what a vending machine decides, and nothing else.
//!
//! [`machine::Machine::handle`] takes one [`machine::Input`] and answers with [`machine::Effect`]s, in order, or with a
//! [`machine::Refusal`] that changed nothing. At power-up [`machine::Machine::boot`] rebuilds the machine from what the
//! last commit stored. The same vocabulary serves the server: [`stock::fold`] derives slot levels from records and
//! [`counters::apply`] derives totals, with the code the machine counts with.
//!
//! # What the caller must do
//!
//! Carry effects out in order. [`machine::Effect::Commit`] comes first if there is one: its records get their numbers
//! and its state is stored in one durable transaction, and until that is done nothing after it is started. If it can't
//! be done, stop and boot again from what is stored. Answer every `Dispense`, `PayOut`, `Authorise`, `Settle` and `Void`
//! with its input; an answer that never comes is given up on by [`machine::Input::Tick`].
//!
//! # What it never does
//!
//! - No I/O, no clock, no randomness, no async, no std: moments, fresh ids and results come in, wishes go out.
//! - It never drives a motor, shows a coin or pays one out before that is durable, and never does it twice.
//! - It never takes money it could not give back, never changes a price somebody was shown, and never loses sight of a
//!   coin: [`machine::Books`] balance after every step.
//! - It knows no bytes: records are numbered, encoded and hashed outside (`vendfleet-wire`).
//!
//! # How to add an input
//!
//! A variant in `machine/input.rs`, an arm in `Machine::take`, and a handler in the file of its idea: check everything
//! and refuse first, then change `self`, `turn.write` records, `turn.touch` the durable state, `turn.then` effects. Add
//! it to the generator in `tests/random.rs`, which holds it to every promise at every power cut.
//!
//! # How to add a record
//!
//! A variant in [`record::Body`] with a new [`record::Kind`] number, its meaning for totals in [`counters::apply`] (and
//! the table there) and for levels in [`stock::fold`], then the codec. Keep the body within 4 KiB: bound its lists.
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
