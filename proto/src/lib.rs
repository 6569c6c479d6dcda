//! The `vendfleet.v1` contract: the code generated from `vendfleet/v1/*.proto`, and its descriptors for reflection.
#![allow(clippy::all, clippy::pedantic, missing_docs)]

pub mod codec;

/// Package `vendfleet.v1`: messages, clients and servers.
pub mod v1 {
    tonic::include_proto!("vendfleet.v1");
}

/// The serialised `FileDescriptorSet` of the whole contract, with comments, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vendfleet.v1.bin"));

/// Full names of all services of the contract, as gRPC health and reflection name them.
pub const SERVICE_NAMES: [&str; 6] = [
    v1::machine_sync_service_server::SERVICE_NAME,
    v1::order_service_server::SERVICE_NAME,
    v1::orchestrator_service_server::SERVICE_NAME,
    v1::catalog_service_server::SERVICE_NAME,
    v1::fleet_service_server::SERVICE_NAME,
    v1::event_service_server::SERVICE_NAME,
];

/// `google.rpc.ErrorInfo.domain` of every error.
pub const ERROR_DOMAIN: &str = "vendfleet.dev";

impl v1::ErrorReason {
    /// `google.rpc.ErrorInfo.reason`: the name without the enum's prefix.
    pub fn wire_name(self) -> &'static str {
        bare(self.as_str_name(), "ERROR_REASON_")
    }

    /// The reason with this wire name.
    pub fn from_wire_name(name: &str) -> Option<Self> {
        Self::from_str_name(&format!("ERROR_REASON_{name}"))
    }
}

impl v1::VerdictReason {
    /// `SyncVerdict.reason` and `DeadLetter.reason`: the name without the enum's prefix.
    pub fn wire_name(self) -> &'static str {
        bare(self.as_str_name(), "VERDICT_REASON_")
    }

    /// The reason with this wire name.
    pub fn from_wire_name(name: &str) -> Option<Self> {
        Self::from_str_name(&format!("VERDICT_REASON_{name}"))
    }
}

fn bare(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}
