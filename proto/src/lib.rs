//! The `vendfleet.v1` contract: the code generated from `vendfleet/v1/*.proto`, and its descriptors for reflection.
#![allow(clippy::all, clippy::pedantic, missing_docs)]

/// Package `vendfleet.v1`: messages, clients and servers.
pub mod v1 {
    tonic::include_proto!("vendfleet.v1");
}

/// The serialised `FileDescriptorSet` of the whole contract, with comments, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vendfleet.v1.bin"));
