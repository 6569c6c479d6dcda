//! Facts about the server itself.

use crate::domain::ids::Incarnation;
use crate::error::ApiError;
use crate::operations::Deps;

/// Facts about the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerInfo {
    /// Semantic version.
    pub version: &'static str,
    /// This life of the data.
    pub incarnation: Incarnation,
    /// Name of the storage engine.
    pub storage: &'static str,
    /// Last migration applied.
    pub schema_version: i64,
    /// Server time, ms since the Unix epoch.
    pub time_ms: i64,
    /// When this process started, ms since the Unix epoch.
    pub started_at_ms: i64,
    /// Name of this replica.
    pub replica: String,
    /// Full names of the services that answer.
    pub services: Vec<String>,
}

/// Version, incarnation, storage and time of the server.
///
/// # Errors
/// None of its own.
pub async fn server_info(deps: &Deps) -> Result<ServerInfo, ApiError> {
    Ok(ServerInfo {
        version: env!("CARGO_PKG_VERSION"),
        incarnation: deps.store.incarnation().await?,
        storage: deps.store.engine().name(),
        schema_version: deps.store.schema_version().await?,
        time_ms: deps.context.now_ms(),
        started_at_ms: deps.settings.started_at_ms,
        replica: deps.settings.replica.clone(),
        services: deps.settings.services.clone(),
    })
}
