//! The record codec: the only encoder, decoder and hash of what machines write, shared by journal and server.
//!
//! | what | here | on the wire or in the journal |
//! |---|---|---|
//! | a record's body | [`encode`], [`decode`] | `RecordBody` |
//! | a record's name and place in its chain | [`record_hash`], [`verify_chain`] | `Record.hash` |
//! | totals | [`totals_to_proto`], [`totals_from_proto`] | `Totals` |
//! | a machine's config | [`config::encode`], [`config::decode`] | `MachineConfig`, and its SHA-256 |
//! | what a machine remembers | [`state`] | `JournalState`, `JournalConfigs`: never leave the device |
//!
//! Decoding checks every rule that `record.proto` states and answers with a [`BodyError`] that names field and rule. It
//! does no I/O and never panics, whatever the bytes.
//!
//! To add a field: add it to the `.proto` with a new number, to `vend_core::record`, to `record/encode.rs` and
//! `record/decode.rs`; old bytes must still decode, which the golden vectors in `tests/golden/` hold us to.
//!
//! **Architecture Invariant**: knows `vendfleet-proto` and `vend-core`, nobody else; only `fleet-client`, `server` and
//! `tests` may use it.

mod check;
pub mod config;
mod error;
mod hash;
mod record;
pub mod state;
mod totals;

pub use check::{format_uuid, parse_uuid};
pub use error::BodyError;
pub use hash::{BrokenChain, Hash, Link, NO_HASH, record_hash, sha256, verify_chain};
pub use record::{Encoded, body_to_proto, decode, encode, kind_from_number};
pub use totals::{from_proto as totals_from_proto, to_proto as totals_to_proto};

/// Schema of the bodies written here; the only one there is.
pub const SCHEMA: u32 = 1;
/// Longest body of a record, bytes.
pub const MAX_BODY_BYTES: usize = 4096;
/// Most records in one Sync.
pub const MAX_BATCH_RECORDS: usize = 512;
/// Most bytes of bodies in one Sync.
pub const MAX_BATCH_BODY_BYTES: usize = 200_000;
/// Longest serialised `MachineConfig`, bytes.
pub const MAX_CONFIG_BYTES: usize = 65_536;
/// Most slots in a record or a config.
pub const MAX_SLOTS: usize = 256;
/// Most products in a config.
pub const MAX_PRODUCTS: usize = 256;
/// Most denominations in a purse.
pub const MAX_DENOMINATIONS: usize = 32;
/// Most refusals in a config verdict.
pub const MAX_REFUSALS: usize = 64;
