//! What a machine remembers, and its bytes in the journal.

mod decode;
mod encode;

pub use decode::{decode_configs, decode_state};
pub use encode::{encode_configs, encode_state};
